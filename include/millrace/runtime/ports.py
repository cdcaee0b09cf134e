"""Ports for processes that will listen in a moment, out of a range that the system itself gives to nobody.

A port that the system picks (bind to 0) may be taken, before the process for which it was picked listens on it, by any
connection that anyone on the machine opens. The ranges here lie below those ports. Who listens where is not kept here.
"""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator


class Ports:
    """A range of ports, handed out one after the other: none a second time before all others have been.

    It starts somewhere in the range, since another runtime on this machine takes from the same range and knows nothing of
    this one.

    Args:
        first: the lowest port.
        last: the highest.
    """

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        start = random.randrange(first, last + 1)  # noqa: S311 - to be elsewhere than others are, not a secret
        self._next: Iterator[int] = itertools.cycle((*range(start, last + 1), *range(first, start)))

    def take(self) -> int:
        """The next port on which nobody listens.

        Raises:
            OSError: there is none.
        """
        for port in itertools.islice(self._next, self._last + 1 - self._first):
            if _is_free(port):
                return port
        raise OSError(f"no port between {self._first} and {self._last} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
