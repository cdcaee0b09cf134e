"""Bytes on a socket, for clients that no library would be."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def connected(port: int, seconds: float = 20) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        yield connection


def read(connection: socket.socket) -> bytes:
    """Everything until the other side closes or resets."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            parts.append(data)
    return b"".join(parts)
