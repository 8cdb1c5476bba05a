"""Everybody wants the same new voice at once: how often is it encoded?"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import stepaudio_cas as cas
from tools.bench.fleet import in_threads
from tools.bench.subject import SAMPLE_RATE, busy, bytes_of, cached_by, encode, make_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.bench.fleet import Fleet
    from tools.bench.scale import Scale

_ENCODE_SECONDS: Final = 0.1


def measure_stampede(
    folder: Path, scale: Scale, fleet: Fleet, root: str | None = None
) -> dict[str, Any]:
    """Count the encodes and the different results, for one new key after another.

    `root` is the store that all processes share, on disk if it is not given.
    """
    threads, processes = max(scale.threads), max(scale.processes)
    encodes, results, errors = [], [], 0
    for clip_number in range(1, scale.rounds + 1):
        journal = folder / f"encodes-{clip_number}"
        found = fleet.run(
            race,
            processes,
            root=root or str(folder / "stampede"),
            journal=str(journal),
            clip_number=clip_number,
            threads=threads,
        )
        encodes.append(len(journal.read_bytes()))
        results.append(len(set().union(*(values for values, _ in found))))
        errors += sum(failures for _, failures in found)
    return {
        "threads": threads,
        "processes": processes,
        "rounds": scale.rounds,
        "encodes": encodes,
        "different_results": results,
        "errors": errors,
    }


def race(
    meet: Callable[[], None],
    *,
    number: int,
    root: str,
    journal: str,
    clip_number: int,
    threads: int,
) -> tuple[set[str], int]:
    """Ask for one clip in all threads; every encode leaves a byte in the journal."""
    clip = make_clip(clip_number)
    data, mine = bytes_of(make_clip()), count()

    def slow(audio: Any, sample_rate: int) -> Any:
        file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, b".")
        os.close(file)
        busy(data, _ENCODE_SECONDS)
        speech, vq02, vq06 = encode(audio, sample_rate)
        return speech, vq02, [*vq06, number, next(mine)]  # like dither: no two runs agree

    with cas.open(root, log="off") as cache:
        function = cached_by(cache, slow)
        values = in_threads(threads, lambda _: repr(function(clip, SAMPLE_RATE)), meet)
        return set(values), int(cache.stats()["errors"])
