"""What the signature of a request says of its body, and holding the body against it as it arrives.

`SIGNED` carries it from whoever verified the signature to whoever takes in the body, however many hands the request goes
through between. Where no signature is verified it is None, and nothing is hashed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from millrace.runtime.s3.errors import S3Error

STREAMING_SIGNED = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
TRAILER_SIGNATURE = "x-amz-trailer-signature"
_EMPTY = hashlib.sha256().hexdigest()
_EXTENSION = re.compile(rb"\s*;\s*chunk-signature=([0-9a-f]{64})\s*")


class PayloadMismatch(S3Error):
    code, status = "XAmzContentSHA256Mismatch", 400


class ChunkSignatureMismatch(S3Error):
    code, status = "SignatureDoesNotMatch", 403


class SignedHash:
    """The body has one hash, and it was signed."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._hasher = hashlib.sha256()

    def update(self, data: bytes) -> None:
        self._hasher.update(data)

    def finish(self) -> None:
        """
        Raises:
            PayloadMismatch: the body is another one.
        """
        if not hmac.compare_digest(self._hasher.hexdigest(), self._digest):
            raise PayloadMismatch("The provided 'x-amz-content-sha256' header does not match what was computed.")


@dataclass(slots=True)
class SignedChunks:
    """Each chunk of an aws-chunked body is signed, and each signature covers the one before it.

    Args:
        previous: at first the signature of the request itself.
        signs_trailers: whether the trailing headers are signed too; without it there may be none.
    """

    key: bytes = field(repr=False)
    timestamp: str
    scope: str
    previous: str
    signs_trailers: bool
    _claimed: str = ""
    _hasher: hashlib._Hash = field(default_factory=hashlib.sha256)

    def begin(self, extension: bytes) -> None:
        """A chunk begins; `extension` is what follows its size.

        Raises:
            ChunkSignatureMismatch: it has no signature.
        """
        match = _EXTENSION.fullmatch(extension)
        if match is None:
            raise ChunkSignatureMismatch("x-amz-content-sha256 promises signed chunks, and one has no chunk-signature")
        self._claimed = match[1].decode()
        self._hasher = hashlib.sha256()

    def update(self, piece: memoryview) -> None:
        self._hasher.update(piece)

    def end(self) -> None:
        """
        Raises:
            ChunkSignatureMismatch: the chunk is not the one that was signed.
        """
        self._follow("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY}\n{self._hasher.hexdigest()}", self._claimed)

    def finish(self, trailers: Mapping[str, str]) -> None:
        """
        Raises:
            ChunkSignatureMismatch: there are trailing headers that were not signed.
        """
        signed = {name: value for name, value in trailers.items() if name != TRAILER_SIGNATURE}
        if not self.signs_trailers:
            if signed:
                raise ChunkSignatureMismatch(f"the trailing headers {', '.join(sorted(signed))[:200]} are not signed")
            return
        text = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        digest = hashlib.sha256(text.encode("latin-1")).hexdigest()
        self._follow("AWS4-HMAC-SHA256-TRAILER", digest, trailers.get(TRAILER_SIGNATURE, ""))

    def _follow(self, algorithm: str, what: str, claimed: str) -> None:
        text = f"{algorithm}\n{self.timestamp}\n{self.scope}\n{self.previous}\n{what}"
        computed = hmac.digest(self.key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(computed.encode(), claimed.encode()):
            raise ChunkSignatureMismatch("a chunk (or the trailing headers) of the body is not what was signed")
        self.previous = computed


Payload = SignedHash | SignedChunks

SIGNED: ContextVar[Payload | None] = ContextVar("SIGNED", default=None)
"""What is known of the present request's body."""
