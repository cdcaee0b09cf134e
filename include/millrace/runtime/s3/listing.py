"""Listings as S3 pages them: in key order, with everything below a delimiter rolled up into one common prefix.

A common prefix is stepped over with one index seek, however many keys are below it. What this file does not do: no
tokens and no XML.
"""

from __future__ import annotations

from millrace.runtime.s3.index import Index
from millrace.runtime.s3.names import after_all_with_prefix
from millrace.runtime.s3.records import ObjectRecord, Page

_PROBE = 64
"""Rows read at a time when a delimiter may let us skip the rest."""


def list_page(index: Index, bucket: str, prefix: str, delimiter: str, start_after: str, max_keys: int) -> Page:
    """The page after `start_after`, which is a key or a common prefix (then nothing below it is listed again)."""
    within, mark = prefix.encode(), delimiter.encode()
    high = after_all_with_prefix(within)
    low: bytes | None = max(within, _resume(start_after.encode(), within, mark))
    contents: list[ObjectRecord] = []
    prefixes: list[str] = []
    last = ""
    while low is not None and max_keys > 0:
        wanted = max_keys + 1 - len(contents) - len(prefixes)
        batch = index.objects_from(bucket, low, high, min(wanted, _PROBE) if mark else wanted)
        if not batch:
            break
        low = None
        skipping = b"\xff"  # no UTF-8 key starts with this byte
        for record in batch:
            key = record.key.encode()
            if key.startswith(skipping):
                continue
            low = key + b"\0"
            if len(contents) + len(prefixes) == max_keys:
                return Page(contents=contents, prefixes=prefixes, next=last)
            end = key.find(mark, len(within)) if mark else -1
            if end < 0:
                contents.append(record)
                last = record.key
            else:
                skipping = key[: end + len(mark)]
                low = after_all_with_prefix(skipping)
                last = skipping.decode()
                prefixes.append(last)
    return Page(contents=contents, prefixes=prefixes, next=None)


def _resume(start_after: bytes, within: bytes, mark: bytes) -> bytes:
    """The lowest key that may follow `start_after`."""
    if not start_after:
        return b""
    rolled_up = mark and start_after.startswith(within) and start_after.find(mark, len(within)) >= 0
    if rolled_up and start_after.find(mark, len(within)) + len(mark) == len(start_after):
        return after_all_with_prefix(start_after) or start_after + b"\0"
    return start_after + b"\0"
