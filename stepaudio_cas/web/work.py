"""Doing what blocks (stores, folders) in a few threads that nobody has to wait for at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stepaudio_cas.web.errors import ApiError, busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.web.pace import Pace

T = TypeVar("T")

THREADS: Final = 3
WAITING: Final = 48
"""So many may wait for a thread; the next ones are told to come again."""

PATIENCE: Final = 20.0


class Work:
    """A bounded number of daemon threads; one that hangs in a dead mount is left behind.

    After each piece of work a thread rests as `pace` says.
    """

    def __init__(self, pace: Pace, *, threads: int = THREADS, waiting: int = WAITING) -> None:
        self.pace = pace
        self._most, self._room = threads, threads + waiting
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._pending = 0

    async def run(self, function: Callable[[], T], *, seconds: float = PATIENCE) -> T:
        """Return what it returns. Raises `ApiError` if there is no room, or it takes too long."""
        if self._pending >= self._room:
            raise busy()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._put(function, loop, done)
        try:
            return await asyncio.wait_for(done, seconds)
        except asyncio.TimeoutError:
            raise ApiError(
                503,
                f"there was no answer from the store within {seconds:g} s",
                "GET api/v1/health says whether it can be reached; cas-tool doctor says more",
            ) from None

    def close(self) -> None:
        """Have the threads end after what they have in hand."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _put(
        self, function: Callable[[], T], loop: asyncio.AbstractEventLoop, done: asyncio.Future[T]
    ) -> None:
        def work() -> None:
            if done.cancelled():
                return
            try:
                result = function()
            except BaseException as error:  # it is whoever waits that it belongs to
                _settle(loop, done.set_exception, done, error)
            else:
                _settle(loop, done.set_result, done, result)

        with self._lock:
            self._pending += 1
            if self._threads < min(self._most, self._pending):
                threading.Thread(target=self._serve, name="stepaudio-cas web", daemon=True).start()
                self._threads += 1
        self._queue.put(work)

    def _serve(self) -> None:
        self.pace.owed()
        while (work := self._queue.get()) is not None:
            try:
                work()
            finally:
                with self._lock:
                    self._pending -= 1
            del work
            self.pace.rest()


def _settle(
    loop: asyncio.AbstractEventLoop, settle: Callable[[Any], None], done: Any, value: Any
) -> None:
    def now() -> None:
        if not done.done():
            settle(value)

    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(now)
