"""Draw the figures of a run: `python -m tools.bench.plots RUN.json`, as SVG, into docs/img.

RUN.json is what `python -m tools.bench --json` wrote. The pictures are text, the same for the same
figures. They have dots, because a bar has no beginning on a logarithmic scale.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "img"
WIDTH: Final = 820
LEFT: Final = 400
RIGHT: Final = 90
ROW: Final = 26
TOP: Final = 46
OURS: Final = "stepaudio-cas"
_STYLE: Final = (
    "text{font:13px sans-serif;fill:#333}.t{font-weight:bold}.n,.s{fill:#666;font-size:11px}"
    ".o{fill:#b3470f;stroke:#b3470f}.x{fill:#2b6f9e;stroke:#2b6f9e}.g{stroke:#ddd}"
    ".b{fill:#fff}text.o{stroke:none}.w{stroke-width:2}"
)


@dataclass(frozen=True)
class Dot:
    """One row: what was measured, its median, and its quartiles."""

    name: str
    value: float
    low: float
    high: float
    ours: bool = False


def main(words: Sequence[str] | None = None) -> int:
    """Draw all that the run has figures for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="what python -m tools.bench --json wrote")
    parser.add_argument("--dir", type=Path, default=FOLDER, help="where to [docs/img]")
    options = parser.parse_args(words)
    run = json.loads(options.run.read_text("utf-8"))
    options.dir.mkdir(parents=True, exist_ok=True)
    for name, text in pictures(run).items():
        (options.dir / name).write_text(text, "utf-8")
        print(options.dir / name)
    return 0


def pictures(run: dict[str, Any]) -> dict[str, str]:
    """Return the pictures of a run, by file name."""
    figures, machine = run["figures"], run["machine"]
    note = (
        f"{machine['when']}, {run['scale']} run, {machine['cores']} cores: median and quartiles."
        " Logarithmic."
    )
    drawn = {
        "memory-hit.svg": ("A hit in memory", _hits(figures["memory_hit"])),
        "disk-hit.svg": ("A hit on disk, memory tier off", _hits(figures["disk_hit"])),
        "miss.svg": ("What a miss adds to an encode", _misses(figures["miss"])),
    }
    return {name: draw(title, note, dots) for name, (title, dots) in drawn.items()}


def _hits(rows: dict[str, Any]) -> list[Dot]:
    """Return what was compared with, and our own hit beside the first of them."""
    first, *others = (row for row in rows.items() if "call by call" not in row[0])
    beside = [_dot(name, row["reference_seconds"]) for name, row in [first, *others]]
    return [_dot(OURS, first[1]["seconds"], ours=True), *sorted(beside, key=lambda dot: dot.value)]


def _misses(rows: dict[str, Any]) -> list[Dot]:
    dots = [_dot(name, row["overhead_seconds"], ours=name == OURS) for name, row in rows.items()]
    return sorted(dots, key=lambda dot: dot.value)


def _dot(name: str, spread: dict[str, float], *, ours: bool = False) -> Dot:
    return Dot(name, spread["median"], spread["low"], spread["high"], ours)


def draw(title: str, note: str, dots: Sequence[Dot]) -> str:
    """Return a picture with a row for each of the dots."""
    lowest, highest = min(dot.low for dot in dots), max(dot.high for dot in dots)
    first, last = floor(log10(lowest)), ceil(log10(highest))
    height = TOP + ROW * len(dots) + 48

    def at(seconds: float) -> str:
        share = (log10(seconds) - first) / (last - first)
        return f"{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect class="b" width="{WIDTH}" height="{height}"/>',
        f'<text class="t" x="12" y="24">{escape(title)}</text>',
    ]
    bottom = TOP + ROW * len(dots)
    for power in range(first, last + 1):
        x = at(10.0**power)
        mark = time_of(10.0**power)
        lines += [
            f'<line class="g" x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{bottom}"/>',
            f'<text class="s" x="{x}" y="{bottom + 16}" text-anchor="middle">{mark}</text>',
        ]
    for number, dot in enumerate(dots):
        lines += _row(dot, TOP + ROW * number + ROW // 2, at)
    lines += [f'<text class="n" x="12" y="{height - 10}">{escape(note)}</text>', "</svg>", ""]
    return "\n".join(lines)


def _row(dot: Dot, y: int, at: Any) -> list[str]:
    kind = "o" if dot.ours else "x"
    name = dot.name if len(dot.name) <= 54 else f"{dot.name[:52]}…"
    right = WIDTH - 12
    return [
        f'<text x="12" y="{y + 4}"><title>{escape(dot.name)}</title>{escape(name)}</text>',
        f'<line class="{kind} w" x1="{at(dot.low)}" x2="{at(dot.high)}" y1="{y}" y2="{y}"/>',
        f'<circle class="{kind}" cx="{at(dot.value)}" cy="{y}" r="4.5"/>',
        f'<text x="{right}" y="{y + 4}" text-anchor="end">{time_of(dot.value)}</text>',
    ]


def time_of(seconds: float) -> str:
    """Write a time as people do."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size * 0.9995:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


if __name__ == "__main__":
    sys.exit(main())
