"""What `cas-tool bench` has measured, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepaudio_cas.cli import plots
from stepaudio_cas.measure.requests import ALONE, CACHED, COLD
from stepaudio_cas.measure.stopwatch import TOTAL
from stepaudio_cas.units import show_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

WAYS = {ALONE: "without cache", COLD: "a new voice", CACHED: "known voice"}


def draw(found: Mapping[str, Any], path: str) -> None:
    """Draw where the time goes, how throughput grows with repeats, and how long requests take."""
    figure, (where, faster, waits) = plots.figure(3, found["host"].partition("?")[0])
    _stages(where, found["stages"])
    _speedup(faster, found["throughput"])
    _latency(waits, found["throughput"])
    plots.save(figure, path)


def _stages(panel: Any, stages: Mapping[str, Any]) -> None:
    ways = list(WAYS)
    below = [0.0] * len(ways)
    for number, stage in enumerate(name for name in stages[ALONE] if name != TOTAL):
        heights = [1e3 * stages[way][stage]["median"] for way in ways]
        colour = plots.COLOURS[number % len(plots.COLOURS)]
        panel.bar(list(WAYS.values()), heights, 0.6, bottom=below, label=stage, color=colour)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    for place, way in enumerate(ways):
        total = {name: 1e3 * value for name, value in stages[way][TOTAL].items()}
        low, high = total["median"] - total["min"], total["max"] - total["median"]
        panel.errorbar(
            place, total["median"], [[low], [high]], color=plots.INK, capsize=3, linewidth=1
        )
        text = show_seconds(stages[way][TOTAL]["median"])
        panel.annotate(
            text, (place, total["max"]), (0, 4), textcoords="offset points", ha="center", fontsize=9
        )
    panel.set_title("one request: median, least and most", fontsize=10)
    panel.set_ylabel("ms")
    panel.legend(frameon=False, fontsize=9)


def _speedup(panel: Any, rows: list[Mapping[str, Any]]) -> None:
    labels = [f"{row['repeated']:.0%}" for row in rows]
    medians = [row["speedup"]["median"] for row in rows]
    low = [row["speedup"]["median"] - row["speedup"]["min"] for row in rows]
    high = [row["speedup"]["max"] - row["speedup"]["median"] for row in rows]
    bars = panel.bar(
        labels, medians, 0.6, yerr=[low, high], capsize=3, color=plots.COLOURS[0], ecolor=plots.INK
    )
    labels = [f"{value:.1f}x" for value in medians]
    panel.bar_label(bars, labels, padding=14, color=plots.INK, fontsize=9)
    panel.margins(y=0.15)
    for name, label, style in (
        ("ideal", "1/(1-r)", {"marker": "_", "s": 260, "color": plots.COLOURS[1]}),
        ("reachable", "reachable here", {"marker": "x", "s": 40, "color": plots.COLOURS[2]}),
    ):
        there = {place: row[name] for place, row in enumerate(rows) if row[name] is not None}
        panel.scatter(there.keys(), there.values(), label=label, linewidth=2, zorder=3, **style)
    panel.set_yscale("log")
    _plain_numbers(panel)
    panel.set_title("throughput, times that without cache", fontsize=10)
    panel.set_xlabel("repeated requests")
    panel.legend(frameon=False, fontsize=9, loc="upper left")


def _latency(panel: Any, rows: list[Mapping[str, Any]]) -> None:
    labels = [f"{row['repeated']:.0%}" for row in rows]
    for colour, part in zip(plots.COLOURS, rows[0]["latency"], strict=False):
        values = [1e3 * row["latency"][part] for row in rows]
        panel.plot(labels, values, marker="o", color=colour, label=part)
    panel.set_yscale("log")
    _plain_numbers(panel)
    panel.set_title("latency of a request", fontsize=10)
    panel.set_ylabel("ms")
    panel.set_xlabel("repeated requests")
    panel.legend(frameon=False, fontsize=9)


def _plain_numbers(panel: Any) -> None:
    """Write 0.5, not 5 x 10^-1."""
    from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415 - only for pictures

    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
