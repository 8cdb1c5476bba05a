"""One run: everything, in an order in which nothing disturbs what comes after it."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tools.bench.bars import make_bars
from tools.bench.fleet import Fleet
from tools.bench.hits import Hits
from tools.bench.libraries import Libraries
from tools.bench.machine import describe_machine, load
from tools.bench.maintenance import measure as measure_maintenance
from tools.bench.misses import measure_misses
from tools.bench.repeats import measure_repeats
from tools.bench.stages import measure_stages
from tools.bench.stampede import measure_stampede
from tools.bench.throughput import measure_throughput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.bench.sampling import Pairs
    from tools.bench.scale import Scale

FORMAT: Final = 1


def run(scale: Scale, parent: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure in a temporary folder below `parent`; return the document that `--json` writes."""
    forget_settings()
    started, sections, load_before = time.monotonic(), {}, load()

    @contextmanager
    def section(name: str) -> Iterator[None]:
        say(name)
        begun = time.monotonic()
        yield
        sections[name] = round(time.monotonic() - begun, 2)

    libraries = Libraries()
    libraries.begin_compiling()
    with tempfile.TemporaryDirectory(prefix="stepaudio-cas-bench-", dir=parent) as name:
        folder = Path(name).resolve()
        with section("libraries"):
            libraries.await_compiling(usual=True)
            hits = Hits(folder, scale, libraries)
        with section("hits on disk"):
            disk = hits.disk()
        with section("hits in memory"):
            memory = hits.memory()
        with section("misses"):
            miss = measure_misses(folder, scale, libraries)
        with section("repeated requests"):
            repeats = measure_repeats(folder, scale)
        with section("stages of a hit"):
            stages = measure_stages(folder, scale)
        with Fleet(max(scale.processes)) as fleet:
            with section("stampede"):
                stampede = measure_stampede(folder, scale, fleet)
            with section("throughput"):
                throughput = measure_throughput(folder, scale, fleet)
        with section("the host's own path"):
            libraries.await_compiling()
            beside_memory, beside_disk = hits.host()
        with section("maintenance"):
            maintenance = [measure_maintenance(folder, scale.entries, scale.runs)]
        machine = {**describe_machine(folder, libraries), "load": [load_before, load()]}
    figures = {
        "memory_hit": _figures(memory | beside_memory),
        "disk_hit": _figures(disk | beside_disk),
        "miss": miss,
        "stampede": stampede,
        "repeats": repeats,
        "throughput": throughput,
        "stages": stages,
        "maintenance": maintenance,
    }
    return {
        "format": FORMAT,
        "scale": scale.name,
        "seconds": round(time.monotonic() - started, 1),
        "sections": sections,
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
