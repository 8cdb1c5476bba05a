"""What has to be reached. Every bar is a number that must not be above its limit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from stepaudio_cas.units import show_seconds
from tools.bench import hits, rivals
from tools.bench.misses import OURS
from tools.bench.repeats import HOST

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
        _spread("miss overhead / 1 s encode", miss, 0.01),
        Bar("encodes of one new key", max(encodes), 1, set(encodes) == {1}),
    ]
    for row in figures["repeats"]:
        name = f"{row['repeated']:.0%} repeats of {show_seconds(row['encode_seconds'])} encodes"
        ratio = row["round_over_encode"]
        if row["encode_seconds"] == HOST and row["ideal"] is not None:
            bars.append(_spread(f"time / ideal time, {name}", ratio, 1 / REQUIRED_SHARE))
        elif row["published"] is not None and row["ideal"] is None:
            value = 1 / row["speedup"]
            bars.append(_bar(f"time / encode time, {name}", value, 1 / row["published"]))
    return bars


def _ratio(name: str, table: dict[str, Any], reference: str, limit: float) -> Bar:
    if reference not in table:
        return Bar(name, None, limit, ok=False)
    return _spread(name, table[reference]["ratio"], limit)


def _spread(name: str, spread: dict[str, float], limit: float) -> Bar:
    return _bar(name, spread["median"], limit, (spread["low"], spread["high"]))


def _bar(
    name: str, value: float, limit: float, quartiles: tuple[float, float] | None = None
) -> Bar:
    return Bar(name, value, limit, value <= limit, quartiles)
