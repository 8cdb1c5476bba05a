"""A benchmark that has a section of docs/benchmarks.md for itself: options, bars, output."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.bench import docs, machine, report
from tools.bench.bars import Bar
from tools.bench.libraries import Libraries
from tools.bench.scale import FULL, QUICK, SCALES
from tools.bench.suite import forget_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.bench.scale import Scale


class Section(NamedTuple):
    """`measure` returns figures, `judge` the bars, and `render` the Markdown below these."""

    name: str
    summary: str
    measure: Callable[[Path, Scale, Libraries], dict[str, Any]]
    judge: Callable[[dict[str, Any]], list[Bar]]
    render: Callable[[dict[str, Any]], str]

    @property
    def begin(self) -> str:
        """The line above the section."""
        return f"<!-- tools/bench/{self.name} begin: written by the tool, do not edit -->"

    @property
    def end(self) -> str:
        """The line below it."""
        return f"<!-- tools/bench/{self.name} end -->"


def run(section: Section, arguments: list[str] | None = None) -> int:
    """Measure, print Markdown, write what else is asked for."""
    options = _parser(section).parse_args(arguments)
    try:
        if options.update_docs is not None:
            docs.check_page(options.update_docs, section.begin, section.end)
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    forget_settings()
    scale, libraries, load_before = SCALES[options.scale], Libraries(), machine.load()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stepaudio-cas-bench-", dir=options.dir) as name:
        folder = Path(name).resolve()
        figures = section.measure(folder, scale, libraries)
        about = machine.describe_machine(folder, libraries)
    document = {
        "scale": scale.name,
        "seconds": round(time.monotonic() - started, 1),
        "machine": {**about, "load": [load_before, machine.load()]},
        "missing": libraries.missing,
        "bars": [bar.figures() for bar in section.judge(figures)],
        "figures": figures,
    }
    text = show(section, document)
    print(text, end="")
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.update_docs is not None:
        docs.update_page(options.update_docs, text, section.begin, section.end)
    missed = [bar["name"] for bar in document["bars"] if not bar["ok"]]
    if missed:
        print(f"bench: not reached: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed and options.check else 0


def show(section: Section, document: dict[str, Any]) -> str:
    """Write a document as Markdown."""
    parts = [
        report.show_machine(document),
        report.show_missing(document["missing"]),
        report.bars_table(document["bars"]),
        section.render(document["figures"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def ratio_bar(name: str, ratio: dict[str, float] | None, limit: float) -> Bar:
    """Judge the median of a ratio; what was not measured is not reached."""
    if ratio is None:
        return Bar(name, None, limit, ok=False)
    value = ratio["median"]
    return Bar(name, value, limit, value <= limit, (ratio["low"], ratio["high"]))


def _parser(section: Section) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"bench {section.name}", description=section.summary)
    parser.set_defaults(scale=FULL.name)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_const", dest="scale", const=QUICK.name,
        help="fewer repetitions of everything",
    )  # fmt: skip
    size.add_argument(
        "--scale", choices=list(SCALES), help="the size by name; `tiny` only shows that it works"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument(
        "--update-docs", type=Path, nargs="?", const=docs.PAGE, metavar="FILE",
        help="rewrite the section of docs/benchmarks.md, or of FILE",
    )  # fmt: skip
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where local stores go")
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not reached")
    return parser
