"""A bounded queue of work that no caller waits for: uploads, promotions."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from stepaudio_cas._fork import survive_fork

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ITEMS: Final = 256
MAX_BYTES: Final = 64 << 20


class Background:
    """One daemon thread that works through a bounded queue in order.

    What does not fit is refused at once. A forked child starts with an empty queue, since the
    parent still has the work.
    """

    def __init__(self, *, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[tuple[Callable[[], None], int]] = deque()
        self._bytes = 0
        self._working = False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._queue) + self._working

    def submit(self, work: Callable[[], None], size: int = 0) -> bool:
        """Queue work that holds `size` bytes; return whether there was room."""
        with self._changed:
            if len(self._queue) >= self._max_items or self._bytes + size > self._max_bytes:
                return False
            if self._thread is None and not self._start():
                return False
            self._queue.append((work, size))
            self._bytes += size
            self._changed.notify_all()
            return True

    def flush(self, seconds: float) -> int:
        """Wait until the queue is empty; return how much is still in it after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue and not self._working, seconds)
            return len(self)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._work, name="stepaudio-cas queue", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is going down
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue:
                    self._changed.wait()
                work, size = self._queue.popleft()
                self._working = True
            with contextlib.suppress(BaseException):  # work reports its own failures
                work()
            with self._changed:
                self._bytes -= size
                self._working = False
                self._changed.notify_all()
