"""A request as S3 sees it: which bucket and key it is about, its query and its headers.

Path-style (`/bucket/key`) and virtual-hosted (`bucket.localhost`) addresses are both read. What this file does not
do: it reads no body and decides no operation.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Scope

from millrace.runtime.s3.errors import InvalidArgument, InvalidUri
from millrace.runtime.s3.names import whole_number

HOST = "localhost"


@dataclass(slots=True, kw_only=True)
class Request:
    method: str
    resource: str
    """The path as it was sent, for error documents."""
    bucket: str = ""
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """Read beforehand for operations that take a document; never an object's bytes."""
    id: str = field(default_factory=lambda: secrets.token_hex(8).upper())

    @property
    def level(self) -> str:
        return "object" if self.key else "bucket" if self.bucket else "service"

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """A number from the query, cut to `high` as S3 does.

        Raises:
            InvalidArgument: it is not a number, or below `low`.
        """
        text = self.query.get(name)
        if text is None or (text == "" and name != "partNumber"):
            return default
        number = whole_number(text)
        if number is None or number < low:
            raise InvalidArgument(f"{name} is {text[:40]!r}; it must be a whole number from {low} to {high}")
        return min(number, high)


def read_request(scope: Scope) -> Request:
    """
    Raises:
        InvalidUri: the path is not UTF-8.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.partition(b"?")[0]
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        lower, text = name.decode("latin-1").lower(), _decode(value)
        headers[lower] = f"{headers[lower]},{text}" if lower in headers else text
    request = Request(method=scope["method"], resource=raw.decode("latin-1"), headers=headers)
    request.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    try:
        path = unquote_to_bytes(raw).decode("utf-8").removeprefix("/")
    except UnicodeDecodeError as error:
        raise InvalidUri(f"the path {request.resource!r} is not UTF-8 once its escapes are undone") from error
    hosted = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    if hosted.endswith("." + HOST):
        request.bucket, request.key = hosted.removesuffix("." + HOST), path
    else:
        request.bucket, _, request.key = path.partition("/")
    return request


def _decode(value: bytes) -> str:
    """Header bytes as text. Metadata may be UTF-8, which HTTP does not promise."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
