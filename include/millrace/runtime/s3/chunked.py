"""The `aws-chunked` content encoding: sized chunks, optionally signed, and trailing headers.

Signatures are parsed and not verified, since any credentials are accepted. What this file does not do: HTTP's own
chunked transfer encoding, which the server has undone before.
"""

from __future__ import annotations

from millrace.runtime.s3.errors import IncompleteBody, InvalidRequest

_MAX_LINE = 8192


class ChunkedDecoder:
    """Fed pieces of the body as they arrive, returns the pieces of the content that they hold."""

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}
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
        """
        content: list[memoryview] = []
        view = memoryview(self._rest + data if self._rest else data)
        position = 0
        while not self._finished:
            if self._remaining:
                piece = view[position : position + self._remaining]
                if piece:
                    content.append(piece)
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
        self._rest = b"" if self._finished else bytes(view[position:])
        return content

    def finish(self) -> None:
        """
        Raises:
            IncompleteBody: the last chunk has not come.
        """
        # Some clients end the body after the last trailer, without the empty line.
        if not self._finished and not (self._in_trailers and not self._rest.strip()):
            raise IncompleteBody("the aws-chunked body ended before its last chunk")

    def _take_line(self, line: bytes) -> None:
        if self._ends_chunk:
            self._ends_chunk = False
            if line:
                raise InvalidRequest(f"an aws-chunked chunk is followed by {line[:40]!r} instead of a line break")
        elif self._in_trailers:
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                self.trailers[name.strip().lower()] = value.strip()
            self._finished = not line
        else:
            size = line.partition(b";")[0].strip()
            try:
                self._remaining = int(size, 16)
            except ValueError as error:
                raise InvalidRequest(f"{line[:40]!r} is not the size of an aws-chunked chunk") from error
            if self._remaining < 0:
                raise InvalidRequest(f"{line[:40]!r} is not the size of an aws-chunked chunk")
            self._in_trailers = self._remaining == 0


def _line(view: memoryview, position: int) -> bytes | None:
    """The line at a position, without its line break; None when it has not come whole."""
    window = bytes(view[position : position + _MAX_LINE])
    end = window.find(b"\r\n")
    if end < 0 and len(window) == _MAX_LINE:
        raise InvalidRequest(f"a line of the aws-chunked framing is longer than {_MAX_LINE} bytes")
    return None if end < 0 else window[:end]
