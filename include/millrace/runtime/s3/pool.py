"""The threads in which files are read and written, bytes are hashed and SQLite is asked: never on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 8


class Pool:
    """A bounded pool of this room's own, so that other rooms' work cannot starve it."""

    def __init__(self, threads: int = THREADS) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="s3")

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Begin now; await the result later."""
        return asyncio.wrap_future(self._executor.submit(function, *args, **kwargs))

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.start(function, *args, **kwargs)

    def forget(self, function: Callable[[], None]) -> None:
        """Run without waiting, also when the caller is being cancelled."""
        self._executor.submit(function)

    def close(self) -> None:
        self._executor.shutdown(wait=False)
