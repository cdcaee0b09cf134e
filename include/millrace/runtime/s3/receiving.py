"""Taking in an object's bytes: decoding, counting, hashing and writing them as they arrive.

A `Receiver` is synchronous and runs in the pool. A body of up to 1 MiB is read from the network first and taken in
with a single hop; a larger one is fed to the receiver about 1 MiB at a time, reading ahead while a batch is written.
What is not finished is discarded. What this file does not do: it commits nothing itself; the operation does, in
`finish`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.types import Receive

from millrace.runtime.s3 import checksums
from millrace.runtime.s3.blobs import CHUNK, Staged
from millrace.runtime.s3.chunked import ChunkedDecoder
from millrace.runtime.s3.errors import (
    BadDigest,
    EntityTooLarge,
    IncompleteBody,
    InvalidArgument,
    InvalidRequest,
    MissingContentLength,
)
from millrace.runtime.s3.names import whole_number
from millrace.runtime.s3.payload import SIGNED, Payload, SignedChunks, SignedHash
from millrace.runtime.s3.pool import Pool

T = TypeVar("T")
MAX_PUT = 5 * 1024**3


class ClientGone(Exception):
    """The client closed the connection before its body was whole: there is nobody to answer."""


@dataclass(slots=True)
class Received:
    """A body that is whole and is what its headers and trailers say."""

    staged: Staged
    checksums: dict[str, str] = field(default_factory=dict)


class Receiver:
    """One body. `feed` and `finish` are called in order; `discard` may be called at any time, and after a commit."""

    def __init__(self, headers: Mapping[str, str], stage: Callable[[], Staged], extra_kind: str | None = None) -> None:
        """`extra_kind` is a checksum to compute although the request carries none.

        Raises:
            InvalidDigest, InvalidRequest, InvalidArgument, EntityTooLarge, MissingContentLength
        """
        self._stage = stage
        self._staged: Staged | None = None
        self._discarded = False
        encoded = "aws-chunked" in headers.get("content-encoding", "") or headers.get(
            "x-amz-content-sha256", ""
        ).startswith("STREAMING-")
        self._decoder = ChunkedDecoder() if encoded else None
        self._signed: SignedHash | None = None
        self._size = _declared_size(headers, "x-amz-decoded-content-length" if encoded else "content-length")
        if self._size is None and not encoded and "chunked" not in headers.get("transfer-encoding", ""):
            raise MissingContentLength("the request has neither Content-Length nor a chunked Transfer-Encoding")
        self._md5 = checksums.content_md5(headers)
        self._claimed = checksums.from_headers(headers)
        trailer = headers.get("x-amz-trailer", "").strip().lower()
        self._promised = checksums.kind_named(trailer.removeprefix(checksums.HEADER) or None)
        kinds = {*self._claimed, self._promised, extra_kind}
        self._hashers = {kind: checksums.COMPUTED[kind]() for kind in kinds if kind in checksums.COMPUTED}

    def hold_against(self, signed: Payload | None) -> None:
        """Also refuse a body that is not the one that was signed. Before the first `feed`.

        Raises:
            InvalidRequest: chunks were signed, and the body has none.
        """
        if isinstance(signed, SignedChunks):
            if self._decoder is None:
                raise InvalidRequest("the request's chunks are signed, and its body is not aws-chunked")
            self._decoder = ChunkedDecoder(signed)
        else:
            self._signed = signed

    def feed(self, batch: list[bytes]) -> None:
        """
        Raises:
            EntityTooLarge, InvalidRequest (broken chunk framing), InsufficientStorage, ChunkSignatureMismatch
        """
        if self._staged is None:
            self._staged = self._stage()
            if self._discarded:
                self._staged.discard()
        for data in batch:
            if self._signed is not None:
                self._signed.update(data)
            for piece in self._decoder.feed(data) if self._decoder else [data]:
                self._staged.write(piece)
                for hasher in self._hashers.values():
                    hasher.update(piece)
        if self._staged.size > MAX_PUT:
            raise _too_large(self._staged.size)

    def finish(self) -> Received:
        """
        Raises:
            IncompleteBody, BadDigest, InvalidRequest (a promised trailer is missing), PayloadMismatch,
            ChunkSignatureMismatch
        """
        assert self._staged is not None  # noqa: S101 - `feed` is always called before, if only with nothing
        claimed = self._claimed
        if self._signed is not None:
            self._signed.finish()
        if self._decoder is not None:
            self._decoder.finish()
            claimed = claimed | checksums.from_headers(self._decoder.trailers)
        if self._size is not None and self._staged.size != self._size:
            raise IncompleteBody(f"the body has {self._staged.size} bytes and its headers promise {self._size}")
        if self._promised is not None and self._promised not in claimed:
            raise InvalidRequest(f"x-amz-trailer promises {checksums.HEADER}{self._promised}, and it did not come")
        if self._md5 is not None and self._md5 != self._staged.md5:
            raise BadDigest(f"Content-MD5 is not that of the body, whose MD5 is {self._staged.etag} in hex")
        computed = {kind: checksums.encode(hasher.digest()) for kind, hasher in self._hashers.items()}
        for kind, value in claimed.items():
            if computed.get(kind, value) != value:
                raise BadDigest(f"the body's {kind} is {computed[kind]!r}, not {value!r} as the request says")
        return Received(self._staged, claimed | computed)

    def discard(self) -> None:
        self._discarded = True
        if self._staged is not None:
            self._staged.discard()


async def receive_object(
    headers: Mapping[str, str],
    begin: Callable[[], Receiver],
    finish: Callable[[Received], T],
    receive: Receive,
    pool: Pool,
) -> T:
    """Take in a body: `begin` makes its receiver, `finish` commits what it received; both run in the pool.

    What the request's signature says of the body (`SIGNED`) is held against it before `finish`.

    Raises:
        ClientGone: the body ended early. And what `begin`, the receiver and `finish` raise.
    """
    signed = SIGNED.get()
    length = _declared_size(headers, "content-length")
    if length is not None and length <= CHUNK:
        batch: list[bytes] = []
        while await _receive_into(batch, receive):
            pass
        return await pool.run(_take_in, begin, batch, finish, signed)
    receiver = await pool.run(begin)
    receiver.hold_against(signed)
    writing: asyncio.Future[None] | None = None
    try:
        more = True
        while more:
            batch = []
            more = await _receive_into(batch, receive)
            while more and sum(map(len, batch)) < CHUNK:
                more = await _receive_into(batch, receive)
            if writing is not None:
                await writing
            writing = pool.start(receiver.feed, batch)
        assert writing is not None  # noqa: S101 - the loop has run once
        await writing
        return await pool.run(lambda: finish(receiver.finish()))
    finally:
        if writing is not None:
            writing.cancel()
        pool.forget(receiver.discard)


async def _receive_into(batch: list[bytes], receive: Receive) -> bool:
    """Add what has come to the batch; whether more is to come."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    if data := message.get("body", b""):
        batch.append(data)
    return bool(message.get("more_body", False))


def _take_in(
    begin: Callable[[], Receiver], body: list[bytes], finish: Callable[[Received], T], signed: Payload | None
) -> T:
    receiver = begin()
    try:
        receiver.hold_against(signed)
        receiver.feed(body)
        return finish(receiver.finish())
    finally:
        receiver.discard()


def _declared_size(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    number = whole_number(text)
    if number is None:
        raise InvalidArgument(f"{name} is {text[:40]!r}; it must be a whole number")
    if number > MAX_PUT:
        raise _too_large(number)
    return number


def _too_large(size: int) -> EntityTooLarge:
    return EntityTooLarge(
        f"the body has {size} bytes or more; one PUT takes at most {MAX_PUT}: use a multipart upload",
        connection="close",
    )
