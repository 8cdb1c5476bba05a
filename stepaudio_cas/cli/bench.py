"""`cas-tool bench`: say where a host's time goes, and what the cache makes of it."""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.loading import parse_host
from stepaudio_cas.cli import bench_plot, context, filters, hosts, plots, tables
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.errors import CasError
from stepaudio_cas.measure import recordings, summary
from stepaudio_cas.measure.host import Opening
from stepaudio_cas.measure.requests import (
    ALONE,
    CACHED,
    COLD,
    REPEATS,
    Failed,
    Requests,
    Round,
    Stages,
    Warm,
)
from stepaudio_cas.measure.stopwatch import ENCODE, OTHER, TOTAL
from stepaudio_cas.prewarm.workers import Lost, Workers
from stepaudio_cas.units import show_seconds, show_spread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

Steps = Workers[Any, Any]
_RUNS: Final = 5
_REQUESTS: Final = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `bench`."""
    parser.description = (
        "Say where a host's time goes (encoding, language model, vocoder, the rest) without the\n"
        "cache, for a new voice and for a known one, and how throughput and latency change with\n"
        "the share of requests that are repeated. The host is loaded in a process of its own, on\n"
        "a store that is removed afterwards. New voices are the recordings with a few lowest bits\n"
        "changed. Nothing else should run on the machine meanwhile."
    )
    parser.epilog = hosts.epilog(
        "cas-tool bench --host 'stepaudio:/app?model=/models' anna.wav --plot bench.png",
        whole=True,
    )
    parser.add_argument("wavs", nargs="*", metavar="WAV", help="recordings [two that are made up]")
    hosts.add(parser, required=True)
    parser.add_argument(
        "--encode", action="store_true", help="only what encodes a voice, as prewarm loads it"
    )
    parser.add_argument(
        "--runs",
        type=filters.number(1),
        default=_RUNS,
        metavar="N",
        help=f"for the stages [{_RUNS}]",
    )
    parser.add_argument(
        "--requests",
        type=filters.number(1),
        default=_REQUESTS,
        metavar="N",
        help=f"at each share of repeats, at least [{_REQUESTS}]",
    )
    plots.add(parser)


def main(options: argparse.Namespace) -> int:
    """Measure, and say what was found."""
    plots.check(options.plot)
    spec = parse_host(options.host, whole=not options.encode)
    wavs = [*options.wavs, *(options.after or ())]
    recordings.check(wavs)
    with tempfile.TemporaryDirectory(prefix="stepaudio-cas-bench-") as folder:
        store = context.absolute(options.store) if options.store is not None else f"{folder}/store"
        voices = tuple(wavs or recordings.generate(folder))
        opening = Opening(spec, store, voices, folder)
        with Workers[Any, Any](opening, Requests(), show=options.verbose) as host:
            quiet = options.json or options.verbose
            found = _measure(host, options, quiet=quiet)
    found = {"host": options.host, "recordings": wavs or "made up", **found}
    _say_all(found, as_document=options.json)
    if options.plot is not None:
        bench_plot.draw(found, options.plot)
    return _verdict(found, whole=not options.encode)


def _measure(host: Steps, options: argparse.Namespace, *, quiet: bool) -> dict[str, Any]:
    plan = {share: math.ceil(options.requests / sum(REPEATS[share])) for share in REPEATS}
    with tables.progress("measuring", quiet=quiet) as advance:
        advance(0, total=1 + options.runs + sum(plan.values()))
        machine = _do(host, Warm())
        advance()
        runs = []
        for turn in range(options.runs):
            runs.append(_do(host, Stages(turn)))
            advance()
        stages = summary.stages(runs)
        saved = summary.saved_share(stages)
        rows = []
        for repeated, rounds in plan.items():
            measured = []
            for turn in range(rounds):
                measured.append(_do(host, Round(turn, repeated)))
                advance()
            rows.append(summary.throughput(repeated, measured, saved))
    return {
        "runs": options.runs,
        "stages": stages,
        "encode_share": summary.encode_share(stages),
        "throughput": rows,
        "calls": {name: max(run["counts"].get(name, 0) for run in runs) for name in _names(runs)},
        "machine": machine,
    }


def _names(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({name for run in runs for name in run["counts"]})


def _do(host: Steps, item: Any) -> Any:
    """Have the host's process do something, and wait for it."""
    [(_, result)] = list(host.run([item]))
    if isinstance(result, Lost):
        raise CasError(f"the host did not survive it: {result.why}; --verbose shows what it said")
    if isinstance(result, Failed):
        raise CasError(result.why)
    return result


def _say_all(found: Mapping[str, Any], *, as_document: bool) -> None:
    if as_document:
        tables.document(found)
    elif tables.on_terminal():
        _draw(found)
    else:
        for way, stages in found["stages"].items():
            for stage, seconds in stages.items():
                tables.line({"way": way, "stage": stage, **seconds})
        for row in found["throughput"]:
            tables.line(row)


def _draw(found: Mapping[str, Any]) -> None:
    stages = found["stages"]
    lines = [
        (stage, *(_spread(stages[way][stage]) for way in (ALONE, COLD, CACHED)))
        for stage in stages[ALONE]
    ]
    columns = ("STAGE", *(name.upper() for name in bench_plot.WAYS.values()))
    tables.rows(columns, lines, right=columns[1:])
    tables.say(f"median of {found['runs']}, and from least to most")
    tables.say()
    columns = ("REPEATS", "REQ/S", "SPEED-UP", "1/(1-R)", "AT BEST", "P50", "P95", "P99")
    tables.rows(columns, map(_row, found["throughput"]), right=columns)
    requests = min(row["requests"] for row in found["throughput"])
    tables.say(
        f"one request at a time, at least {requests} in a row; SPEED-UP is over the same requests"
        " without the cache, made in between;"
        f" AT BEST is what is possible where {found['encode_share']:.0%} of a request is"
        " encoding, and a hit takes what it takes"
    )


def _row(row: Mapping[str, Any]) -> list[str]:
    speed = row["speedup"]
    return [
        f"{row['repeated']:.0%}",
        f"{row['per_second']:.1f}",
        f"{_times(speed['median'])} ({_bare(speed['min'])}-{_bare(speed['max'])})",
        _times(row["ideal"]),
        _times(row["reachable"]),
        *(show_seconds(seconds) for seconds in row["latency"].values()),
    ]


def _times(value: float | None) -> str:
    return "-" if value is None else f"{_bare(value)}x"


def _bare(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _spread(found: Mapping[str, float]) -> str:
    return show_spread(found["median"], found["min"], found["max"])


def _verdict(found: Mapping[str, Any], *, whole: bool) -> int:
    """Say what keeps the figures from meaning what they seem to; fail if nothing was cached."""
    calls, stages = found["calls"], found["stages"][ALONE]
    if whole and set(stages) <= {ENCODE, OTHER, TOTAL}:
        _say("only encoding is told from the rest: no plugin names another stage of this host")
    passed = [name.partition(".")[2] for name in calls if name.startswith("bypass.")]
    if passed:
        _say(f"some calls were passed through: {', '.join(passed)}; see cas-tool doctor")
    if calls.get("misses"):
        _say("a known voice was encoded again; see cas-tool doctor")
    if not calls.get("hits"):
        _say("no call of this host was cached; see cas-tool doctor --host FOLDER")
        return FOUND
    return FINE


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"cas-tool: {tables.clean(text)}", file=sys.stderr)  # noqa: T201 - a tool talks
