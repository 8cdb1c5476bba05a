"""The command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.bench import docs
from tools.bench.report import render
from tools.bench.scale import FULL, QUICK, SCALES


def main(arguments: list[str] | None = None) -> int:
    """Measure, print Markdown, write what else is asked for."""
    options = _parser().parse_args(arguments)
    try:
        if options.update_docs is not None:
            docs.check_page(options.update_docs)
        if options.dir is not None:
            options.dir.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    from tools.bench.suite import run  # not before it is needed: it imports torch

    document = run(SCALES[options.scale], options.dir, _say)
    print(render(document), end="")
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.markdown is not None:
        options.markdown.write_text(render(document), encoding="utf-8")
    if options.update_docs is not None:
        docs.update_page(options.update_docs, render(document, level=3))
    missed = [bar["name"] for bar in document["bars"] if not bar["ok"]]
    if missed:
        print(f"bench: not reached: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed and options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure stepaudio-cas beside what it is to be compared with."
    )
    parser.set_defaults(scale=FULL.name)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick",
        action="store_const",
        dest="scale",
        const=QUICK.name,
        help="fewer repetitions of everything: under 50 s",
    )
    size.add_argument(
        "--scale",
        choices=list(SCALES),
        help="the size by name; `tiny` only shows that the tool works",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what is printed")
    parser.add_argument(
        "--update-docs",
        type=Path,
        nargs="?",
        const=docs.PAGE,
        metavar="FILE",
        help="rewrite the marked part of docs/benchmarks.md, or of FILE",
    )
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="where the stores go; the temporary folder if not"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not reached")
    return parser


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"bench: {text}", file=sys.stderr)
