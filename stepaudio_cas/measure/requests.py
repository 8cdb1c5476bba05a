"""What is done in the process of a host that is measured: a few requests at a time."""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.errors import CasError

if TYPE_CHECKING:
    from stepaudio_cas.measure.host import Measured

REPEATS: Final = {0.0: (1, 0), 0.5: (1, 1), 0.8: (1, 4), 1.0: (0, 5)}
"""How many new and how many repeated requests are in a round, by the share of the latter."""

ALONE: Final = "alone"
COLD: Final = "cold"
CACHED: Final = "cached"


class Warm(NamedTuple):
    """Have the host load what it loads at its first request, and meet each of the recordings."""


class Stages(NamedTuple):
    """Time the stages of a request: without a cache, met for the first time, and again."""

    turn: int


class Round(NamedTuple):
    """Time requests of which a share is repeated, and one without a cache beside them."""

    turn: int
    repeated: float


class Failed(NamedTuple):
    """What stands for a result when the host could not do it."""

    why: str


class Requests:
    """Does these things with a host. It is handed to its process, so it holds nothing."""

    def __call__(self, host: Measured, item: Warm | Stages | Round) -> Any:
        """Return what has been measured."""
        try:
            if isinstance(item, Warm):
                return _warm(host)
            return _stages(host, item) if isinstance(item, Stages) else _round(host, item)
        except CasError as error:
            return Failed(str(error))


def _warm(host: Measured) -> dict[str, Any]:
    for turn in range(len(host.recordings)):
        met = host.recordings.new(turn)
        host.ask(met, cached=False)
        host.look()
        host.ask(met)
        host.ask(met)
        host.met.append(met)
    return _machine()


def _stages(host: Measured, item: Stages) -> dict[str, Any]:
    found: dict[str, Any] = {}
    recording = host.recordings.new(item.turn)
    before = host.counts()
    for name in (ALONE, COLD, CACHED):
        if name == CACHED:
            before = host.counts()
        with host.stopwatch.request() as stages:
            host.ask(recording, cached=name != ALONE)
        found[name] = stages
    after = host.counts()
    counts = {name: number - before.get(name, 0) for name, number in after.items()}
    return {**found, "counts": {name: number for name, number in counts.items() if number}}


def _round(host: Measured, item: Round) -> dict[str, Any]:
    """Ask, all of the same recording, or of its variants.

    The request without a cache comes before the others, or after them, in turn.
    """
    new, repeated = REPEATS[item.repeated]
    turn, last = divmod(item.turn, 2)
    paths = [host.recordings.new(turn) for _ in range(new)]
    paths += [host.met[turn % len(host.met)]] * repeated
    other = host.recordings.new(turn)
    alone = 0.0 if last else _time(host, other, cached=False)
    latencies = [_time(host, path) for path in paths]
    if last:
        alone = _time(host, other, cached=False)
    return {"alone": alone, "latencies": latencies}


def _time(host: Measured, path: str, *, cached: bool = True) -> float:
    started = time.perf_counter()
    host.ask(path, cached=cached)
    return time.perf_counter() - started


def _machine() -> dict[str, Any]:
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = str(torch.__version__)
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found
