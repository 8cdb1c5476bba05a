"""One run: everything, in an order in which nothing disturbs what comes after it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tools.bench.bars import make_bars
from tools.bench.fleet import Fleet
from tools.bench.hits import Hits
from tools.bench.libraries import Libraries
from tools.bench.machine import describe_machine
from tools.bench.misses import measure_misses
from tools.bench.repeats import measure_repeats
from tools.bench.stages import measure_stages
from tools.bench.stampede import measure_stampede
from tools.bench.throughput import measure_throughput

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.bench.sampling import Pairs
    from tools.bench.scale import Scale

FORMAT: Final = 1


def run(scale: Scale, parent: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure in a temporary folder below `parent`; return the document that `--json` writes."""
    forget_settings()
    started = time.monotonic()
    libraries = Libraries()
    libraries.begin_compiling()
    with tempfile.TemporaryDirectory(prefix="stepaudio-cas-bench-", dir=parent) as name:
        folder = Path(name).resolve()
        if libraries.await_compiling(usual=True):
            say("librosa is ready")
        hits = Hits(folder, scale, libraries)
        say("hits on disk")
        disk = hits.disk()
        say("hits in memory")
        memory = hits.memory()
        say("misses")
        miss = measure_misses(folder, scale, libraries)
        say("repeated requests")
        repeats = measure_repeats(folder, scale)
        say("stages of a hit")
        stages = measure_stages(folder, scale)
        with Fleet(max(scale.processes)) as fleet:
            say("stampede")
            stampede = measure_stampede(folder, scale, fleet)
            say("throughput")
            throughput = measure_throughput(folder, scale, fleet)
        say("the host's own path")
        libraries.await_compiling()
        for ours, more in zip((memory, disk), hits.host(), strict=True):
            ours |= more
        machine = describe_machine(folder, libraries)
    figures = {
        "memory_hit": _figures(memory),
        "disk_hit": _figures(disk),
        "miss": miss,
        "stampede": stampede,
        "repeats": repeats,
        "throughput": throughput,
        "stages": stages,
    }
    return {
        "format": FORMAT,
        "scale": scale.name,
        "seconds": round(time.monotonic() - started, 1),
        "machine": machine,
        "missing": libraries.missing,
        "bars": [bar.figures() for bar in make_bars(figures)],
        "figures": figures,
    }


def forget_settings() -> None:
    """Measure the defaults, whatever this shell has set."""
    for name in [name for name in os.environ if name.startswith("STEPAUDIO_CAS")]:
        del os.environ[name]


def _figures(table: dict[str, Pairs]) -> dict[str, Any]:
    return {name: pairs.figures() for name, pairs in table.items()}
