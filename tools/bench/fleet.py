"""Processes that work at the same moment, each in as many threads as wanted."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

_READY: Final = "ready"
_GO: Final = "go"
_PATIENCE: Final = 180.0


class Fleet:
    """Worker processes, started once and given one task after another.

    A task is a function of a module. It is called with `meet` and keyword arguments, prepares,
    calls `meet()`, which returns in all workers at the same time, and returns what it found.
    """

    def __init__(self, size: int) -> None:
        # Every worker is forked from a clean process that has imported what all of them need.
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tools.bench.stampede", "tools.bench.throughput"])
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(OSError):  # it has died, and been reported
                pipe.send(None)
            pipe.close()
        for process in self._processes:
            process.join(_PATIENCE)

    def run(self, task: Callable[..., Any], workers: int, **arguments: Any) -> list[Any]:
        """Have `workers` of the processes do the same thing at once."""
        pipes = self._pipes[:workers]
        for number, pipe in enumerate(pipes):
            pipe.send((task, {"number": number, **arguments}))
        for pipe in pipes:
            _receive(pipe)
        for pipe in pipes:
            pipe.send(_GO)
        return [_receive(pipe) for pipe in pipes]


def in_threads(count: int, function: Callable[[int], Any], meet: Callable[[], None]) -> list[Any]:
    """Call `function(0)`, `function(1)` … in threads that all set off when `meet` returns."""
    ready, go = threading.Barrier(count + 1), threading.Event()
    found: list[Any] = [None] * count

    def run(number: int) -> None:
        ready.wait()
        go.wait()
        try:
            found[number] = function(number)
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    ready.wait()
    meet()
    go.set()
    for thread in threads:
        thread.join()
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome
    return found


def _work(pipe: Connection) -> None:
    def meet() -> None:
        pipe.send((_READY, None))
        pipe.recv()

    while (order := pipe.recv()) is not None:
        task, arguments = order
        try:
            pipe.send(("done", task(meet, **arguments)))
        except Exception:
            pipe.send(("failed", traceback.format_exc()))


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(_PATIENCE):
        raise TimeoutError(f"a worker process has said nothing for {_PATIENCE:.0f} s")
    kind, outcome = pipe.recv()
    if kind == "failed":
        raise RuntimeError(f"in a worker process:\n{outcome}")
    return outcome
