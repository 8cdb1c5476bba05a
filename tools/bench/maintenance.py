#!/usr/bin/env python
"""What `cas-tool` takes on stores of many entries, beside a bare walk of the same folders.

    python -m tools.bench.maintenance            # 100,000 and 1,000,000 entries: 8 GB, half an hour
    python -m tools.bench.maintenance --entries 10000,100000

Every command is a process of its own, so that its memory can be told. The walk is one, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from stepaudio_cas.cli.main import VERBS
from stepaudio_cas.units import show_bytes, show_seconds
from tools.bench import docs
from tools.bench.sampling import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
BEGIN: Final = "<!-- tools/bench/maintenance begin: written by the tool, do not edit -->"
END: Final = "<!-- tools/bench/maintenance end -->"
ENTRIES: Final = (100_000, 1_000_000)
RUNS: Final = 5
WALK: Final = "a bare walk"
FIRST: Final = "stats, nothing remembered"
AGAIN: Final = "stats, nothing changed since"
GC: Final = "gc --dry-run, to half the size"
VERIFY: Final = "verify --sample 1/100"
LS: Final = "ls, to a pipe"
SLOW: Final = frozenset({GC, LS})
"""What reads every manifest is run half as often."""

MOST_MEMORY: Final = 200e6
MOST_WALKS: Final = 3.0
MOST_GROWTH: Final = 1.5
"""A plan is linear if ten times the entries take no more than fifteen times as long."""

_WALK: Final = "import os, sys\nfor _ in os.walk(sys.argv[1]): pass"
_PATIENCE: Final = 3600


class Ran(NamedTuple):
    """What a process took."""

    seconds: float
    memory: float


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.update_docs is not None:
            docs.check_page(options.update_docs, BEGIN, END)
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="stepaudio-cas-bench-", dir=options.dir) as name:
        folder = Path(name)
        tables = [measure(folder, entries, options.runs, _say) for entries in options.entries]
    document = {"load": os.getloadavg(), "sizes": tables, "bars": bars(tables)}
    text = render(document)
    print(text, end="")
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.update_docs is not None:
        docs.update_page(options.update_docs, text, BEGIN, END)
    missed = [bar["name"] for bar in document["bars"] if not bar["ok"]]
    if missed:
        print(f"bench: not reached: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed and options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench maintenance", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--entries",
        type=lambda text: tuple(sorted(int(part) for part in text.split(","))),
        default=ENTRIES,
        metavar="N,N",
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each command [{RUNS}]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument(
        "--update-docs", type=Path, nargs="?", const=docs.PAGE, metavar="FILE",
        help="rewrite the section of docs/benchmarks.md, or of FILE",
    )  # fmt: skip
    parser.add_argument("--dir", type=Path, metavar="DIR", help="where the stores go")
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is not reached")
    return parser


def measure(
    folder: Path, entries: int, runs: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Make a store of so many entries, run every command on it, and remove it."""
    store = folder / f"store-{entries}"
    say(f"making {entries:,} entries")
    made = _run([sys.executable, ROOT / "tools/make_store.py", store, "--entries", str(entries)])
    found: dict[str, list[Ran]] = {}
    try:
        size = _size(store)
        for turn in range(runs):
            for name, command in _commands(store, size).items():
                if name in SLOW and turn >= max(runs // 2, 1):
                    continue
                say(f"{entries:,} entries, {turn + 1} of {runs}: {name}")
                if name == FIRST:
                    (store / "v1/state/sizes.json").unlink(missing_ok=True)
                found.setdefault(name, []).append(_run(command))
    finally:
        shutil.rmtree(store, ignore_errors=True)
    walks = [ran.seconds for ran in found[WALK]]
    return {
        "entries": entries,
        "bytes": size,
        "making": made._asdict(),
        "commands": {
            name: {
                "seconds": spread([ran.seconds for ran in every])._asdict(),
                "memory": max(ran.memory for ran in every),
                "walks": spread(
                    [ran.seconds / walk for ran, walk in zip(every, walks, strict=False)]
                )._asdict(),
            }
            for name, every in found.items()
        },
    }


def _commands(store: Path, size: int) -> dict[str, list[Any]]:
    """Name what is measured; a verb that is not there is left out."""
    tool = [sys.executable, "-m", "stepaudio_cas", "--store", store]
    verbs = {
        FIRST: ["stats", "--json"],
        AGAIN: ["stats", "--json"],
        LS: ["ls"],
        GC: ["gc", "--dry-run", "--max-size", str(size // 2), "--json"],
        VERIFY: ["verify", "--sample", "1/100"],
    }
    found = {name: [*tool, *words] for name, words in verbs.items() if words[0] in VERBS}
    return {WALK: [sys.executable, "-c", _WALK, store], **found}


def _size(store: Path) -> int:
    command = [sys.executable, "-m", "stepaudio_cas", "--store", store, "stats", "--json"]
    told = subprocess.run(command, check=True, capture_output=True, env=_environment(), cwd=ROOT)
    return int(json.loads(told.stdout)["bytes"])


def _run(command: Sequence[Any]) -> Ran:
    """Run a process; its memory is that of the largest process of it."""
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=errors,
            env=_environment(), cwd=ROOT,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            text = errors.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(map(str, command))}: {process.returncode}: {text}")
    factor = 1 if sys.platform == "darwin" else 1024
    return Ran(seconds, usage.ru_maxrss * factor)


def _environment() -> dict[str, str]:
    return {name: v for name, v in os.environ.items() if not name.startswith("STEPAUDIO_CAS")}


def bars(sizes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Judge the figures: times at the largest size, growth from the smallest to it."""
    small, large = sizes[0], sizes[-1]
    found = []
    for name in (FIRST, AGAIN):
        walks = large["commands"][name]["walks"]["median"]
        found.append(_bar(f"{name} / {WALK}", walks, MOST_WALKS))
    for name in (FIRST, GC):
        ran = large["commands"].get(name)
        memory = ran["memory"] if ran else None
        found.append(_bar(f"bytes of memory, {name}", memory, MOST_MEMORY))
    if GC in large["commands"] and large is not small:
        each = [t["commands"][GC]["seconds"]["median"] / t["entries"] for t in (small, large)]
        name = f"{GC}: an entry of {large['entries']:,} / an entry of {small['entries']:,}"
        found.append(_bar(name, each[1] / each[0], MOST_GROWTH))
    return found


def _bar(name: str, value: float | None, limit: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "limit": limit,
        "ok": value is not None and value <= limit,
    }


def render(document: dict[str, Any]) -> str:
    """Write the figures as Markdown."""
    load = ", ".join(f"{number:.1f}" for number in document["load"])
    lines = [
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores, load {load}.", "",
        "| bar | value | at most | reached |", "| --- | --- | --- | --- |",
        *(f"| {' | '.join(_judged(bar))} |" for bar in document["bars"]), "",
        table(document["sizes"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def table(sizes: Sequence[dict[str, Any]]) -> str:
    """Write what each command took at each size."""
    lines = [
        "| entries | command | time (quartiles) | in bare walks (quartiles) | memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for size in sizes:
        for name, ran in size["commands"].items():
            cells = (
                f"{size['entries']:,}",
                name,
                _spread(ran["seconds"], show_seconds),
                _spread(ran["walks"], "{:.3g}".format),
                show_bytes(ran["memory"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    made = "; ".join(
        f"{size['entries']:,} in {show_seconds(size['making']['seconds'])}" for size in sizes
    )
    return "\n".join([*lines, "", f"Making the stores: {made}."])


def _spread(found: dict[str, float], show: Callable[[float], str]) -> str:
    return f"{show(found['median'])} ({show(found['low'])}-{show(found['high'])})"


def _judged(bar: dict[str, Any]) -> tuple[str, ...]:
    if bar["value"] is None:
        return bar["name"], "not measured", f"{bar['limit']:g}", "**no**"
    show = show_bytes if bar["limit"] == MOST_MEMORY else "{:.3g}".format
    return bar["name"], show(bar["value"]), show(bar["limit"]), "yes" if bar["ok"] else "**no**"


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"bench: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
