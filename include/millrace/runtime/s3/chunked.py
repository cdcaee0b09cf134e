"""The `aws-chunked` content encoding: sized chunks, optionally signed, and trailing headers.

Signatures of chunks and trailers are verified when the request's own signature was (`payload.py`), and else only parsed.
What this file does not do: HTTP's own chunked transfer encoding, which the server has undone before.
"""

from __future__ import annotations

import re

from millrace.runtime.s3.errors import IncompleteBody, InvalidRequest
from millrace.runtime.s3.payload import SignedChunks

_MAX_LINE = 8192
_MAX_TRAILERS = 64
_SIZE = re.compile(rb"[0-9a-fA-F]+")


class ChunkedDecoder:
    """Fed pieces of the body as they arrive, returns the pieces of the content that they hold.

    With `signed` the content is what was signed once `finish` has returned, and not before.
    """

    def __init__(self, signed: SignedChunks | None = None) -> None:
        self.trailers: dict[str, str] = {}
        self._signed = signed
        self._rest = b""
        self._remaining = 0
        """Content bytes that the present chunk still lacks."""
        self._in_trailers = False
        self._ends_chunk = False
        self._finished = False

    def feed(self, data: bytes) -> list[memoryview]:
        """
        Raises:
            InvalidRequest: the framing is broken.
            ChunkSignatureMismatch: a chunk is not the one that was signed.
        """
        content: list[memoryview] = []
        view = memoryview(self._rest + data if self._rest else data)
        position = 0
        while not self._finished:
            if self._remaining:
                piece = view[position : position + self._remaining]
                if piece:
                    content.append(piece)
                    if self._signed is not None:
                        self._signed.update(piece)
                    position += len(piece)
                    self._remaining -= len(piece)
                self._ends_chunk = True
                if self._remaining:
                    break
            line = _line(view, position)
            if line is None:
                break
            position += len(line) + 2
            self._take_line(line)
        self._rest = bytes(view[position : position + _MAX_LINE]) if self._finished else bytes(view[position:])
        if self._finished and self._rest.strip():
            raise InvalidRequest(f"the aws-chunked body goes on after its end, with {self._rest[:40]!r}")
        return content

    def finish(self) -> None:
        """
        Raises:
            IncompleteBody: the last chunk has not come.
            ChunkSignatureMismatch: the trailing headers are not those that were signed.
        """
        # Some clients end the body after the last trailer, without the empty line.
        if not self._finished and not (self._in_trailers and not self._rest.strip()):
            raise IncompleteBody("the aws-chunked body ended before its last chunk")
        if self._signed is not None:
            self._signed.finish(self.trailers)

    def _take_line(self, line: bytes) -> None:
        if self._ends_chunk:
            self._ends_chunk = False
            if line:
                raise InvalidRequest(f"an aws-chunked chunk is followed by {line[:40]!r} instead of a line break")
            if self._signed is not None:
                self._signed.end()
        elif self._in_trailers:
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                self.trailers[name.strip().lower()] = value.strip()
            if len(self.trailers) > _MAX_TRAILERS or (line and not colon):
                raise InvalidRequest(f"the trailer {line[:40]!r} has no colon, or is one of over {_MAX_TRAILERS}")
            self._finished = not line
        else:
            size = line.partition(b";")[0].strip()
            if self._signed is not None:
                self._signed.begin(line[len(line.partition(b";")[0]) :])
            if not _SIZE.fullmatch(size):
                raise InvalidRequest(f"{line[:40]!r} is not the size of an aws-chunked chunk")
            self._remaining = int(size, 16)
            self._in_trailers = self._remaining == 0
            if self._in_trailers and self._signed is not None:
                self._signed.end()  # the last chunk is empty, and signed like any other


def _line(view: memoryview, position: int) -> bytes | None:
    """The line at a position, without its line break; None when it has not come whole."""
    window = bytes(view[position : position + _MAX_LINE])
    end = window.find(b"\r\n")
    if end < 0 and len(window) == _MAX_LINE:
        raise InvalidRequest(f"a line of the aws-chunked framing is longer than {_MAX_LINE} bytes")
    return None if end < 0 else window[:end]
