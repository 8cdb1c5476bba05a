"""What has to be reached. Every bar is a number that must not be above its limit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from tools.bench import hits, rivals
from tools.bench.misses import OURS

REQUIRED_SHARE: Final = 0.95


@dataclass(frozen=True)
class Bar:
    """A value and its limit. Without a value, because something is missing, it is not reached."""

    name: str
    value: float | None
    limit: float
    ok: bool
    quartiles: tuple[float, float] | None = None

    def figures(self) -> dict[str, Any]:
        """Say it for JSON."""
        return asdict(self)


def make_bars(figures: dict[str, Any]) -> list[Bar]:
    """Judge the figures of a run."""
    memory, disk = figures["memory_hit"], figures["disk_hit"]
    miss = figures["miss"][OURS]["overhead_seconds"]
    encodes = figures["stampede"]["encodes"]
    bars = [
        _ratio("memory hit / BLAKE3 of the same bytes", memory, hits.BLAKE3, 1.2),
        _ratio("memory hit / the host's own cached path", memory, hits.HOST, 0.1),
        _ratio("disk hit / (BLAKE3 + two bare reads)", disk, hits.FLOOR, 2.0),
        _ratio("disk hit / joblib.Memory", disk, rivals.JOBLIB, 1.0),
        _ratio("disk hit / diskcache", disk, rivals.DISKCACHE, 1.0),
        _bar("miss overhead / 1 s encode", miss["median"], 0.01, (miss["low"], miss["high"])),
        Bar("encodes of one new key", max(encodes), 1, set(encodes) == {1}),
    ]
    for row in figures["repeats"]:
        name = f"{row['repeated']:.0%} repeats"
        if row["ideal"] is not None:
            value, limit = 1 / row["share_of_ideal"], 1 / REQUIRED_SHARE
            bars.append(_bar(f"time of a request at {name} / ideal", value, limit))
        else:
            value, limit = 1 / row["speedup"], 1 / row["published"]
            bars.append(_bar(f"time of a request at {name} / encode", value, limit))
    return bars


def _ratio(name: str, table: dict[str, Any], reference: str, limit: float) -> Bar:
    if reference not in table:
        return Bar(name, None, limit, ok=False)
    ratio = table[reference]["ratio"]
    return _bar(name, ratio["median"], limit, (ratio["low"], ratio["high"]))


def _bar(
    name: str, value: float, limit: float, quartiles: tuple[float, float] | None = None
) -> Bar:
    return Bar(name, value, limit, value <= limit, quartiles)
