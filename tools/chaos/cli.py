"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import stepaudio_cas
from tools.bench import docs
from tools.bench.machine import _processor as processor
from tools.chaos.places import PLACES
from tools.chaos.report import render
from tools.chaos.run import SHORT, Plan, run

BEGIN: Final = "<!-- tools/chaos begin: written by the tool, do not edit -->"
END: Final = "<!-- tools/chaos end -->"
CHAINS: Final = ("redis,s3", "redis,gs")


def main(arguments: list[str] | None = None) -> int:
    """Run, print Markdown, write what else is asked for."""
    options = _parser().parse_args(arguments)
    try:
        if options.update_docs is not None:
            docs.check_page(options.update_docs, BEGIN, END)
        plans = [_plan(options, chain) for chain in options.chain or CHAINS]
    except (OSError, ValueError) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    document = {"machine": _machine(), "runs": [run(plan, _say) for plan in plans]}
    print(render(document), end="")
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.update_docs is not None:
        docs.update_page(options.update_docs, render(document, level=3), BEGIN, END)
    broken = [p["name"] for one in document["runs"] for p in one["promises"] if not p["ok"]]
    if broken:
        print(f"chaos: broken: {'; '.join(broken)}", file=sys.stderr)
    return 1 if broken and options.check else 0


def _plan(options: argparse.Namespace, chain: str) -> Plan:
    names = tuple(chain.split(","))
    if not set(names) <= set(PLACES) or len(set(names)) < len(names):
        raise ValueError(f"--chain {chain}: some of {', '.join(PLACES)}, with commas")
    plan = replace(SHORT if options.short else Plan(), chain=names, seed=options.seed)
    if options.minutes is not None:
        plan = replace(plan, seconds=options.minutes * 60)
    if options.workers is not None:
        plan = replace(plan, workers=options.workers)
    return plan


def _machine() -> dict[str, Any]:
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "stepaudio_cas": stepaudio_cas.__version__,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chaos",
        description="Break the real servers of a fleet under load, and see what is promised kept.",
    )
    parser.add_argument(
        "--minutes", type=float, help="how long servers are broken, for each chain [3]"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what happens, and when")
    parser.add_argument("--workers", type=int, help="processes [8]")
    parser.add_argument(
        "--chain",
        action="append",
        metavar="STORES",
        help="what comes below the disk; may be given again [redis,s3 and then redis,gs]",
    )
    parser.add_argument(
        "--short", action="store_true", help="seconds, and everything faster: for CI"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument(
        "--update-docs", type=Path, nargs="?", const=docs.PAGE, metavar="FILE",
        help="rewrite the marked part of docs/benchmarks.md, or of FILE",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="exit 1 if a promise was broken")
    return parser


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"chaos: {text}", file=sys.stderr)
