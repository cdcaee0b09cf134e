"""The Range header. One range is honoured; several, or one that is malformed, are ignored, as S3 does."""

from __future__ import annotations

import re

from millrace.runtime.s3.errors import InvalidRange

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The (offset, length) that a Range header selects; None for the whole object.

    Raises:
        InvalidRange: it begins after the last byte.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        start, end = size - length, size
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < start:
            return None
    if start >= size or start == end:
        raise InvalidRange(
            f"the range {header!r} is outside the object's {size} bytes", content_range=f"bytes */{size}"
        )
    return start, end - start
