"""Where the time of a request goes: methods that belong to a stage are timed while they run."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.method import HostMethod
from stepaudio_cas.activation.patch import misfit_of_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ENCODE: Final = "encode"
OTHER: Final = "other"
TOTAL: Final = "total"
_TIMED: Final = "__stepaudio_cas_timed__"


class Stopwatch:
    """Times one request at a time, in the thread that it is made in.

    A stage within another is taken from it, so that all of them and `other` add up to the total.
    Where there is a GPU, its work is waited for at each end of a stage, because it would else be
    counted to whichever stage waits for it later.
    """

    def __init__(self, stages: Sequence[str] = (ENCODE,)) -> None:
        self.stages = tuple(stages)
        self._found: dict[str, float] | None = None
        self._running: list[str] = []
        self._since = 0.0
        self._thread = 0

    @contextlib.contextmanager
    def request(self) -> Iterator[dict[str, float]]:
        """Time what happens within; the seconds of each stage are there afterwards."""
        found: dict[str, float] = dict.fromkeys([*self.stages, OTHER], 0.0)
        self._thread, self._running = threading.get_ident(), [OTHER]
        _settle()
        started = self._since = time.perf_counter()
        self._found = found
        try:
            yield found
            _settle()
            self._count()
        finally:
            self._found = None
        found[TOTAL] = time.perf_counter() - started

    def time(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """Return the function, timed as part of a stage while a request is."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._found is None or threading.get_ident() != self._thread:
                return function(*args, **kwargs)
            self._switch(lambda: self._running.append(stage))
            try:
                return function(*args, **kwargs)
            finally:
                self._switch(self._running.pop)

        setattr(timed, _TIMED, stage)
        return timed

    def _switch(self, change: Callable[[], object]) -> None:
        _settle()
        self._count()
        change()

    def _count(self) -> None:
        now = time.perf_counter()
        if self._found is not None:
            self._found[self._running[-1]] += now - self._since
        self._since = now


def watch_cached(stopwatch: Stopwatch) -> None:
    """Time all cached calls of this process as `encode`, whoever holds the methods already."""
    timed = stopwatch.time(HostMethod.__call__, ENCODE)
    HostMethod.__call__ = timed  # type: ignore[method-assign]


def watch(stopwatch: Stopwatch, stages: Mapping[str, Sequence[str]]) -> None:
    """Time the methods that plugins name, where they are.

    A method is named as `module:Class.method`; of the module's name, the end is enough. To be done
    again when the host has loaded more.
    """
    for name, module in list(sys.modules.items()):
        for stage, methods in stages.items():
            for method in methods:
                _watch_one(stopwatch, stage, method, name, module)


def _watch_one(stopwatch: Stopwatch, stage: str, method: str, name: str, module: Any) -> None:
    tail, _, path = method.partition(":")
    if name != tail and not name.endswith(f".{tail}"):
        return
    owner, _, attribute = path.rpartition(".")
    kind = vars(module).get(owner)
    function = vars(kind).get(attribute) if isinstance(kind, type) else None
    if function is not None and not hasattr(function, _TIMED) and not misfit_of_kind(function):
        setattr(kind, attribute, stopwatch.time(function, stage))


def _settle() -> None:
    """Wait for what the GPU still has to do."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
