"""AWS Signature Version 4, verified as AWS documents it: in the Authorization header, and in a presigned URL.

Reading and verifying are two steps, because what a request says of its time and its key can be checked before its body
is read, and its signature (outside of S3) only after. What this file does not do: it knows no key's access, and it does
not hold a body against its hash (`authenticator.py` and `s3/payload.py` do). Signature version 2 and the asymmetric
version 4A are refused by name.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW_SECONDS = 15 * 60
MAX_EXPIRES = 7 * 24 * 3600
TIMESTAMP = "%Y%m%dT%H%M%SZ"

Reason = Literal[
    "missing", "unsupported", "malformed", "unsigned headers", "unknown key", "skewed", "expired", "wrong", "body",
    "too large", "denied",
]  # fmt: skip
"""Why a request is refused; `authenticator.py` has the codes that AWS has for each."""

_CREDENTIAL = r"(?P<access_key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request"
_IN_QUERY = re.compile(_CREDENTIAL, re.ASCII)
_IN_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential={_CREDENTIAL}\s*,\s*SignedHeaders=(?P<signed>[^\s,]+)\s*,"
    r"\s*Signature=(?P<signature>[0-9a-f]{64})\s*",
    re.ASCII,
)
_UNRESERVED = "-_.~"


class Refused(Exception):
    """A request that is not let in. The message reaches the client and holds no secret."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request, and what its signature says."""

    method: str
    path: str
    """As it was sent: with its escapes."""
    query: str
    """As it was sent, without the signature."""
    headers: Mapping[str, str]
    """By lower-case name; several of one name are joined, and runs of spaces are one, as they are signed."""
    access_key: str
    timestamp: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    payload: str | None
    """What x-amz-content-sha256 says: a hash, or a word for how the body is signed. None: it is not said."""
    expires: int | None = None
    """Seconds that a presigned URL is good for; None for a signature in the header."""

    @property
    def scope(self) -> str:
        return f"{self.timestamp[:8]}/{self.region}/{self.service}/aws4_request"


def read(scope: Scope) -> SignedRequest:
    """The signature of an ASGI request, not yet verified.

    Raises:
        Refused: there is none, it cannot be read, or it leaves out a header that must be signed.
    """
    headers = _headers(scope)
    raw: bytes = scope.get("raw_path") or quote(scope["path"], safe="/").encode()
    path, query = raw.partition(b"?")[0].decode("latin-1"), scope["query_string"].decode("latin-1")
    pairs = dict(_pairs(query))
    presigned = "X-Amz-Algorithm" in pairs
    if "authorization" in headers and presigned:
        raise Refused("malformed", "the request is signed twice, in its header and in its query; use one of them")
    if "authorization" in headers:
        found = _in_header(headers)
    elif presigned:
        found = _in_query(pairs, headers)
        query = "&".join(part for part in query.split("&") if part.partition("=")[0] != "X-Amz-Signature")
    elif "Signature" in pairs and "AWSAccessKeyId" in pairs:
        raise Refused("unsupported", f"signature version 2 is not supported; use {ALGORITHM} (signature_version s3v4)")
    else:
        raise Refused("missing", "the request is not signed, and this runtime was started with --credentials")
    _check_signed_headers(found["signed"].split(";"), headers, bool(presigned))
    if found["date"] != found["timestamp"][:8]:
        raise Refused("malformed", f"the credential is for {found['date']} and the request of {found['timestamp'][:8]}")
    return SignedRequest(
        method=scope["method"], path=path, query=query, headers=headers, access_key=found["access_key"],
        timestamp=found["timestamp"], region=found["region"], service=found["service"],
        signed_headers=tuple(found["signed"].split(";")), signature=found["signature"],
        payload=found.get("payload"), expires=int(found["expires"]) if presigned else None,
    )  # fmt: skip


def check_time(request: SignedRequest, now: float) -> None:
    """
    Raises:
        Refused: signed too long ago, or too far in the future.
    """
    age = now - _moment(request.timestamp)
    if request.expires is not None and age > request.expires:
        raise Refused("expired", "Request has expired")
    if age < -SKEW_SECONDS or (request.expires is None and age > SKEW_SECONDS):
        ours = datetime.fromtimestamp(now, UTC).strftime(TIMESTAMP)
        raise Refused(
            "skewed",
            f"the request was signed at {request.timestamp} and it is {ours} here: more than {SKEW_SECONDS // 60} "
            "minutes apart; set the clock of one of the two",
        )


def verify(request: SignedRequest, secret_key: str, payload: str) -> None:
    """
    Args:
        payload: the hash of the body, or the word that was signed instead of it.

    Raises:
        Refused: the signature is not that of this request by this secret.
    """
    key = signing_key(secret_key, request.timestamp[:8], request.region, request.service)
    for path, query in _canonical_addresses(request):
        digest = hashlib.sha256(_canonical(request, path, query, payload).encode("latin-1")).hexdigest()
        text = "\n".join((ALGORITHM, request.timestamp, request.scope, digest))
        if hmac.compare_digest(sign(key, text), request.signature):
            return
    raise Refused(
        "wrong",
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method, and that nothing between has changed the request.",
    )


@functools.lru_cache(maxsize=512)
def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """The key of one day, region and service: the same for every request of it."""
    key = b"AWS4" + secret_key.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()


def _in_header(headers: Mapping[str, str]) -> dict[str, str]:
    match = _IN_HEADER.fullmatch(headers["authorization"])
    if match is None:
        first = headers["authorization"].partition(" ")[0]
        if first != ALGORITHM:
            raise Refused("unsupported", f"the authorization mechanism is not supported; use {ALGORITHM}")
        raise Refused("malformed", "Authorization must hold Credential, SignedHeaders and Signature, in this order")
    timestamp = headers.get("x-amz-date") or _iso(headers.get("date", ""))
    _moment(timestamp)
    payload = headers.get("x-amz-content-sha256")
    return {**match.groupdict(), "timestamp": timestamp} | ({} if payload is None else {"payload": payload})


def _in_query(pairs: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    if pairs["X-Amz-Algorithm"] != ALGORITHM:
        raise Refused("unsupported", f"X-Amz-Algorithm must be {ALGORITHM}")
    names = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")
    if lacking := [name for name in names if not pairs.get(name)]:
        raise Refused("malformed", f"the presigned URL has no {lacking[0]}")
    match = _IN_QUERY.fullmatch(pairs["X-Amz-Credential"])
    if match is None:
        raise Refused("malformed", "X-Amz-Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request")
    expires = pairs["X-Amz-Expires"]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 9 and 1 <= int(expires) <= MAX_EXPIRES):
        raise Refused("malformed", f"X-Amz-Expires must be between 1 and {MAX_EXPIRES} seconds")
    _moment(pairs["X-Amz-Date"])
    if not re.fullmatch(r"[0-9a-f]{64}", pairs["X-Amz-Signature"]):
        raise Refused("malformed", "X-Amz-Signature must be 64 hexadecimal digits")
    payload = headers.get("x-amz-content-sha256") or pairs.get("X-Amz-Content-Sha256")
    if payload is None and match["service"] == "s3":
        payload = UNSIGNED  # whoever made the URL did not know the body
    if payload is not None and payload.startswith("STREAMING-"):
        raise Refused("malformed", "a presigned URL takes a whole body, not one of signed chunks")
    return {
        **match.groupdict(), "timestamp": pairs["X-Amz-Date"], "signed": pairs["X-Amz-SignedHeaders"],
        "signature": pairs["X-Amz-Signature"], "expires": expires,
    } | ({} if payload is None else {"payload": payload})  # fmt: skip


def _check_signed_headers(signed: Sequence[str], headers: Mapping[str, str], presigned: bool) -> None:
    """What is not signed could be added by anyone: a copy's source, a target operation."""
    # In the header's way the payload's hash is signed also where its header is not listed.
    free = set() if presigned else {"x-amz-content-sha256", "x-amz-date"}
    wanted = ["host", *(name for name in headers if name.startswith("x-amz-") and name not in free)]
    if unsigned := [name for name in wanted if name not in signed]:
        raise Refused("unsigned headers", f"there are headers that must be signed and are not: {', '.join(unsigned)}")
    if lacking := [name for name in signed if name not in headers]:
        raise Refused("malformed", f"SignedHeaders names headers that are not there: {', '.join(lacking)[:200]}")


def _canonical(request: SignedRequest, path: str, query: str, payload: str) -> str:
    headers = "".join(f"{name}:{request.headers[name]}\n" for name in request.signed_headers)
    return "\n".join((request.method, path, query, headers, ";".join(request.signed_headers), payload))


def _canonical_addresses(request: SignedRequest) -> list[tuple[str, str]]:
    """Path and query as signed: with the escapes that were sent, and with exactly those that AWS asks for.

    Clients differ in this for characters such as `+`, `!` and `%2F`. Both are accepted: they name the same resource.
    """
    exact = quote(unquote_to_bytes(request.path), safe="/" + _UNRESERVED)
    addresses = []
    for path, query in (
        (request.path, sorted(tuple(part.partition("=")[::2]) for part in request.query.split("&") if request.query)),
        (exact, sorted((_escaped(name), _escaped(value)) for name, value in _pairs(request.query))),
    ):
        # S3 takes paths as they are; everywhere else they are normalised, and their escapes escaped once more.
        taken = (path or "/") if request.service == "s3" else quote(_normalised(path), safe="/" + _UNRESERVED)
        addresses.append((taken, "&".join(f"{name}={value}" for name, value in query)))
    return addresses[:1] if addresses[0] == addresses[1] else addresses


def _normalised(path: str) -> str:
    """Without empty segments, `.` and `..`, as RFC 3986 removes them."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _pairs(query: str) -> list[tuple[str, str]]:
    """The query's names and values without escapes; characters are bytes, as in Latin-1."""
    parts = [part.replace("+", " ").partition("=") for part in query.split("&") if part]
    return [(_unescaped(name), _unescaped(value)) for name, _, value in parts]


def _unescaped(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1")


def _escaped(text: str) -> str:
    return quote(text.encode("latin-1"), safe=_UNRESERVED)


def _headers(scope: Scope) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        value = b" ".join(raw_value.split()).decode("latin-1")
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _iso(date: str) -> str:
    """A Date header as the timestamp that is signed for it."""
    try:
        return parsedate_to_datetime(date).astimezone(UTC).strftime(TIMESTAMP)
    except (TypeError, ValueError, OverflowError):
        return date


def _moment(timestamp: str) -> float:
    try:
        return datetime.strptime(timestamp, TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Refused("malformed", "the request must have an X-Amz-Date (or Date), as 20260131T235959Z") from None
