"""Processes that each load a host once and then do one thing after the other.

A host that dies on a recording takes only its process with it: the recording is named, and the
next one goes to a new process. What a host prints never reaches our own output.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from stepaudio_cas.errors import CasError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from types import TracebackType

    from stepaudio_cas.prewarm.copies import Copies

Item = TypeVar("Item")
Result = TypeVar("Result")

_READY, _DONE, _UNLOADABLE, _CLOSED = "ready", "done", "unloadable", "closed"
_STOP: Final = None


class Lost(NamedTuple):
    """What stands for a result when the process died on an item."""

    why: str


class _Worker:
    """One process, and the item it has in hand."""

    def __init__(self, process: SpawnProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.item: Any = None
        self.ready = False
        self.busy = False


class Workers(Generic[Item, Result]):
    """Some processes, started as there is work for them. Use it as a context manager.

    `load` makes the host in the process, `do` is called with the host and an item. Both are
    pickled. Raises `CasError` when a host cannot be loaded. What is left in `copies` by a process
    that has ended is removed.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        do: Callable[[Any, Item], Result],
        jobs: int = 1,
        *,
        show: bool = False,
        copies: Copies | None = None,
    ) -> None:
        self._load, self._do, self._jobs, self._show = load, do, jobs, show
        self._copies = copies
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._queue: deque[Item] = deque()
        self.unwritten = 0
        """Processes that ended without having written everything to the slower stores."""

    def __enter__(self) -> Workers[Item, Result]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish(now=kind is not None)

    @property
    def pending(self) -> int:
        """How many items have been given whose results have not been heard."""
        return len(self._queue) + sum(worker.busy for worker in self._workers)

    @property
    def in_hand(self) -> list[Item]:
        """The items that processes are at."""
        return [worker.item for worker in self._workers if worker.busy]

    @property
    def loaded(self) -> bool:
        """Whether some process has loaded its host."""
        return any(worker.ready for worker in self._workers)

    def drop(self) -> None:
        """Forget what no process has begun with."""
        self._queue.clear()

    def kill(self, item: Item) -> None:
        """End the process that is at an item; the item is heard of as lost."""
        for worker in self._workers:
            if worker.busy and worker.item == item:
                worker.process.kill()

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Result | Lost]]:
        """Yield each item with its result, in the order in which they are done.

        No more items are taken than the processes have in hand, and one for each to go on with.
        """
        for item in items:
            self.give(item)
            while self.pending >= 2 * self._jobs:
                yield from self.hear()
        while self.pending:
            yield from self.hear()

    def give(self, item: Item) -> None:
        """Have something done as soon as a process is free."""
        self._queue.append(item)
        self._hand_out()

    def hear(
        self, timeout: float | None = None, also: Sequence[int] = ()
    ) -> list[tuple[Item, Result | Lost]]:
        """Wait until a process says something, and return what is done by then: maybe nothing.

        What can be read from a descriptor in `also` ends the wait as well.
        """
        pipes: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
        done = []
        for pipe in wait([*pipes, *also], timeout):
            result = self._hear(pipes[pipe]) if pipe in pipes else None
            if result is not None:
                done.append(result)
        self._hand_out()
        return done

    def finish(self, *, now: bool = False) -> list[tuple[Item, Result | Lost]]:
        """End the processes, and return the results of what they had in hand.

        Each finishes that, and writes what is still to be written. With `now` they are killed,
        which leaves every store whole, too.
        """
        self._queue.clear()
        done = []
        for worker in self._workers:
            if now or not worker.ready:
                worker.process.kill()
            else:
                with contextlib.suppress(OSError):  # it has died
                    worker.pipe.send(_STOP)
        while self._workers:
            worker = self._workers[-1]
            if now:
                self.unwritten += worker.ready
            else:
                done += self._last_words(worker)
            self._workers.pop()
            self._ended(worker)
            worker.pipe.close()
        if self._copies is not None:
            self._copies.close()
        return done

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._queue and worker.ready and not worker.busy:
                worker.item, worker.busy = self._queue.popleft(), True
                with contextlib.suppress(OSError):  # it has died: that is heard next
                    worker.pipe.send((worker.item,))
        loading = sum(not worker.ready for worker in self._workers)
        while len(self._workers) < self._jobs and loading < len(self._queue):
            self._start()
            loading += 1

    def _ended(self, worker: _Worker) -> None:
        worker.process.join()
        if self._copies is not None and worker.process.pid is not None:
            self._copies.clear(worker.process.pid)

    def _start(self) -> None:
        if self._copies is not None:
            self._copies.open()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._load, self._do, self._show)
        )
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _hear(self, worker: _Worker) -> tuple[Item, Result | Lost] | None:
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            return self._dead(worker)
        if kind == _UNLOADABLE:
            usage, text = value
            raise SettingError(text) if usage else CasError(text)
        if kind == _READY:
            worker.ready = True
            return None
        item, worker.item, worker.busy = worker.item, None, False
        return item, value

    def _dead(self, worker: _Worker) -> tuple[Item, Result | Lost] | None:
        self._workers.remove(worker)
        self._ended(worker)
        why = f"its process died ({_ending(worker.process.exitcode)})"
        if not worker.ready:
            raise CasError(f"the host cannot be loaded: {why}; --verbose shows what it said")
        return (worker.item, Lost(why)) if worker.busy else None

    def _last_words(self, worker: _Worker) -> list[tuple[Item, Result | Lost]]:
        done: list[tuple[Item, Result | Lost]] = []
        written = not worker.ready
        with contextlib.suppress(EOFError, OSError):
            while worker.ready:
                kind, value = worker.pipe.recv()
                if kind == _CLOSED:
                    written = bool(value)
                    break
                done.append((worker.item, value))
        self.unwritten += not written
        return done


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _work(
    pipe: Connection, load: Callable[[], Any], do: Callable[[Any, Any], Any], show: bool
) -> None:
    """Be a process: load, do what comes until told to stop, close."""
    _end_with(multiprocessing.parent_process())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; our parent decides
    _silence(show)
    try:
        host = load()
    except BaseException as error:
        usage = isinstance(error, SettingError)
        text = str(error) if isinstance(error, CasError) else f"{type(error).__name__}: {error}"
        pipe.send((_UNLOADABLE, (usage, text)))
        return
    pipe.send((_READY, None))
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while (message := pipe.recv()) is not _STOP:
            pipe.send((_DONE, do(host, message[0])))
    written = host.close()
    with contextlib.suppress(OSError):
        pipe.send((_CLOSED, written))


def _end_with(parent: Any) -> None:
    """End this process when its parent has, whatever the host is doing then.

    Nobody would end a host that hangs, nor hear of what it does. Every store stays whole.
    """
    if parent is None:
        return

    def wait_and_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_end, name="stepaudio-cas parent", daemon=True).start()
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl  # noqa: PLC0415 - not everywhere

        # On Linux, even if the host never lets a thread of ours run: the pipe of which our parent
        # has the other end kills us when that is closed.
        fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)


def _silence(show: bool) -> None:
    """Lead what the host prints to stderr if it is to be shown, and else nowhere."""
    if not show:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    os.dup2(2, 1)
