"""Hits a second with many threads and processes, beside bare hashing done the same way."""

from __future__ import annotations

import statistics
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

import stepaudio_cas as cas
from tools.bench.fleet import in_threads
from tools.bench.subject import SAMPLE_RATE, bytes_of, cached_by, make_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.bench.fleet import Fleet
    from tools.bench.scale import Scale

_CLIPS: Final = 8
_SETTINGS: Final[dict[str, dict[str, Any]]] = {"memory": {}, "disk": {"memory": 0}}
_BARE: Final = "blake3"
_KINDS: Final = (_BARE, *_SETTINGS)


def measure_throughput(folder: Path, scale: Scale, fleet: Fleet) -> list[dict[str, Any]]:
    """Measure every row of the table; within one, hashing and hits take turns."""
    rows = []
    for processes in scale.processes:
        for threads in scale.threads:
            row: dict[str, Any] = {"processes": processes, "threads": threads}
            rates: dict[str, list[float]] = {what: [] for what in _KINDS}
            not_hits = 0
            for _ in range(scale.turns):
                for what in _KINDS:
                    found = fleet.run(
                        repeat,
                        processes,
                        what=what,
                        root=str(folder / "throughput"),
                        threads=threads,
                        seconds=scale.seconds,
                    )
                    rates[what].append(sum(calls / seconds for calls, seconds, _ in found))
                    not_hits += sum(others for *_, others in found)
            for what, found_rates in rates.items():
                row[f"{what}_per_second"] = statistics.median(found_rates)
            rows.append({**row, "not_hits": not_hits})
    return rows


def repeat(
    meet: Callable[[], None], *, number: int, what: str, root: str, threads: int, seconds: float
) -> tuple[int, float, int]:
    """Call for so long; return the calls, the time they took, and how many were no hits."""
    del number
    if what == _BARE:
        return *_run(lambda clip: blake3(bytes_of(clip)).digest(), threads, seconds, meet), 0
    with cas.open(root, log="off", **_SETTINGS[what]) as cache:
        function = cached_by(cache)
        for clip in _clips():
            function(clip, SAMPLE_RATE)
        before = cache.stats()["hits"]
        calls, took = _run(lambda clip: function(clip, SAMPLE_RATE), threads, seconds, meet)
        return calls, took, calls - int(cache.stats()["hits"] - before)


@lru_cache(maxsize=1)
def _clips() -> list[Any]:
    return [make_clip(number) for number in range(_CLIPS)]


def _run(
    function: Callable[[Any], Any], threads: int, seconds: float, meet: Callable[[], None]
) -> tuple[int, float]:
    clips = _clips()
    until = 0.0

    def work(offset: int) -> int:
        calls = 0
        while time.perf_counter() < until:
            function(clips[(offset + calls) % _CLIPS])
            calls += 1
        return calls

    def set_off() -> None:
        nonlocal until
        meet()
        until = time.perf_counter() + seconds

    calls = sum(in_threads(threads, work, set_off))
    return calls, time.perf_counter() - until + seconds
