"""Threads that do one store's work, so that the caller never waits past its deadline."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_THREADS: Final = 16
_IDLE_SECONDS: Final = 60.0


class Task:
    """A function on its way through a worker."""

    __slots__ = ("_done", "_error", "_function", "_result", "abandoned", "started")

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._done = threading.Lock()
        self._done.acquire()
        self._result: Any = None
        self._error: BaseException | None = None
        self.abandoned = False
        self.started = False

    def run(self) -> None:
        """Do it, in the worker."""
        self.started = True
        try:
            self._result = self._function()
        except BaseException as error:  # delivered to the caller by `wait`
            self._error = error
        self._done.release()

    def wait(self, seconds: float) -> Any:
        """Return the result, raise what the function raised, or `Unavailable` when time is up."""
        if not self._done.acquire(timeout=seconds):
            self.abandoned = True
            raise Unavailable("timeout" if self.started else "busy", f"after {seconds:.3g} s")
        if self._error is None:
            return self._result
        if not isinstance(self._error, Exception):  # an exit or a panic is not the caller's
            raise Unavailable("store", repr(self._error)) from self._error
        raise self._error


class Workers:
    """A bounded pool of daemon threads.

    A thread that hangs in a dead store is abandoned with its task and does not keep the process
    from exiting. When all hang, callers get `Unavailable("busy")` at their deadline, and no thread
    is added to the pile. Threads that have had nothing to do for a minute end, except the last: at
    the end of the interpreter, when there is still something to write, no thread can be started.
    """

    def __init__(self, name: str, *, max_threads: int = MAX_THREADS) -> None:
        self._name = name
        self._max_threads = max_threads
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting = 0

    def call(self, function: Callable[[], Any], deadline: float) -> Any:
        """Run `function` in a worker and return its result.

        Raises what it raises, or `Unavailable` when `deadline` seconds have passed.
        """
        return self.start(function).wait(deadline)

    def start(self, function: Callable[[], Any]) -> Task:
        """Hand `function` to a worker, and go on."""
        task = Task(function)
        with self._lock:
            # One more task than there are waiting workers asks for one more worker.
            self._waiting -= 1
            if self._waiting < 0 and self._threads < self._max_threads:
                self._add_thread()
        self._tasks.put(task)
        return task

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # out of threads, or the interpreter is going down
            if not self._threads:
                self._waiting += 1
                raise Unavailable("no-threads", str(error)) from None
        else:
            self._threads += 1

    def _work(self) -> None:
        tasks = self._tasks
        while True:
            with self._lock:
                self._waiting += 1
            task = self._next(tasks)
            if task is None:
                return
            if not task.abandoned:
                task.run()
            del task

    def _next(self, tasks: SimpleQueue[Task]) -> Task | None:
        """Wait for a task; None when this worker is not needed any more."""
        while True:
            try:
                return tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._threads > 1 and self._waiting > 0:
                        self._threads -= 1
                        self._waiting -= 1
                        return None
