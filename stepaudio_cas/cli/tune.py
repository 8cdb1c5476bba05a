"""`cas-tool tune`: which settings make a host's encoder faster, and leave the voice what it is."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.loading import parse_host
from stepaudio_cas.cli import filters, hosts, plots, tables, tune_plot
from stepaudio_cas.cli.codes import FINE
from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.measure import verdict
from stepaudio_cas.measure.agreement import NUMBERS
from stepaudio_cas.measure.tuned import Measured, Opening, Run, do
from stepaudio_cas.prewarm.workers import Lost, Workers
from stepaudio_cas.settings import PREFIX
from stepaudio_cas.tuning.effects import SKIPPED, UNCHANGED
from stepaudio_cas.tuning.words import NAME, parse, show
from stepaudio_cas.units import show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stepaudio_cas.cli.tables import Advance

Plan = dict[str, Any]
_RUNS: Final = 5
_WARM: Final = 2
"""Runs before those that count: what is compiled is compiled then."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `tune`."""
    parser.description = (
        "Measure a host's encoder as it is and under each setting, each in a new process without\n"
        "the cache: how long it takes, and how far its tokens agree with those of the encoder as\n"
        f"it is, whose own runs differ as well. Prints the {NAME} that is worth having:\n"
        "what is faster, and changes no more than the encoder's own noise does.\n"
        "Nothing else should run on the machine meanwhile."
    )
    parser.epilog = hosts.epilog(
        "cas-tool tune --host 'stepaudio:/app?model=/models' voices/*.wav --plot tune.png\n"
        "  cas-tool tune --host … anna.wav --try encoder=/models/small --try tf32,ort.intra=4\n\n"
        "exit codes: 0 measured; 1 the host could not be loaded or asked; 2 wrong usage"
    )
    parser.add_argument("wavs", nargs="*", metavar="WAV", help="recordings of voices")
    hosts.add(parser, required=True)
    parser.add_argument(
        "--try",
        dest="settings",
        action="append",
        metavar="WORDS",
        help=f"a setting to measure, in the words of {NAME}; may be given more than once"
        " [what may help on this machine]",
    )
    parser.add_argument(
        "--runs",
        type=filters.number(2),
        default=_RUNS,
        metavar="N",
        help=f"of each setting [{_RUNS}]",
    )
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="of tokens that may differ beyond the encoder's own noise [0]",
    )
    plots.add(parser)


def main(options: argparse.Namespace) -> int:
    """Measure, and say what is worth having."""
    plots.check(options.plot)
    wavs = [os.path.abspath(wav) for wav in [*options.wavs, *(options.after or ())]]
    if not wavs:
        raise SettingError("name recordings of voices to measure with")
    for wav in wavs:
        if not os.path.isfile(wav):
            raise SettingError(f"{wav} is not a file")
    plans = [_plan(text) for text in options.settings] if options.settings else _usual()
    bench = _Bench(Opening(parse_host(options.host), tuple(wavs)), options)
    quiet = options.json or options.verbose
    with tables.progress("measuring", quiet=quiet) as advance:
        advance(0, total=(len(plans) + 3) * (options.runs + _WARM))
        found = bench.measure_all(plans, advance)
    found = {"host": options.host, "recordings": wavs, "runs": options.runs, **found}
    _say_all(found, as_document=options.json)
    if options.plot is not None:
        tune_plot.draw(found, options.plot)
    return FINE


class _Bench:
    """Measures the host in processes of their own."""

    def __init__(self, opening: Opening, options: argparse.Namespace) -> None:
        self._opening, self._options = opening, options
        self._untuned: list[list[Measured]] = []

    def measure_all(self, plans: Sequence[Plan], advance: Advance) -> dict[str, Any]:
        """Measure the encoder as it is first and last: what has changed meanwhile is no gain."""
        self._untuned.append(self._as_it_is(advance))
        runs = [(plan, *self._attempt(plan, advance)) for plan in plans]
        self._untuned.append(self._as_it_is(advance))
        settings = [self._judge(*run) for run in runs]
        chosen = verdict.choose(settings)
        if chosen and all(chosen != setting["plan"] for setting in settings):
            settings.append(self._judge(chosen, *self._attempt(chosen, advance)))
        faster = [s for s in settings if s["verdict"] == verdict.FASTER]
        best = max(faster, key=lambda s: float(s["speedup"]), default={"words": ""})
        first, again = (verdict.spread([r.seconds for r in runs]) for runs in self._untuned)
        own = verdict.compare(self._untuned, self._untuned[1], 0.0)
        return {
            "untuned": {
                "seconds": verdict.spread(self._seconds()),
                "first": first,
                "again": again,
                "steady": first["q1"] <= again["q3"] and again["q1"] <= first["q3"],
                "agreement": [c.as_document() for c in own],
                "passed": list(self._untuned[0][0].passed),
            },
            "settings": [{k: v for k, v in s.items() if k != "plan"} for s in settings],
            "recommended": best["words"],
        }

    def _seconds(self) -> list[float]:
        return [run.seconds for process in self._untuned for run in process]

    def _as_it_is(self, advance: Advance) -> list[Measured]:
        runs, trouble = self._attempt({}, advance)
        if trouble:
            raise CasError(trouble)
        if not any(stream for result in runs[0].results for stream in result):
            why = "; ".join(runs[0].passed) or "it makes no call that is cached"
            raise CasError(f"there is nothing to compare: {why}; see cas-tool doctor --host FOLDER")
        return runs

    def _attempt(self, plan: Plan, advance: Advance) -> tuple[list[Measured], str]:
        """Measure in a new process; what goes wrong in it is said, and ends nothing else."""
        runs: list[Measured] = []
        show_all = self._options.verbose
        try:
            with (
                _environment(plan),
                Workers[Run, Measured](self._opening, do, show=show_all) as host,
            ):
                count = self._options.runs
                for number in (*range(count, count + _WARM), *range(count)):
                    [(_, run)] = list(host.run([Run(number)]))
                    trouble = f"the host died: {run.why}" if isinstance(run, Lost) else run.trouble
                    if isinstance(run, Lost) or trouble:
                        return runs, trouble
                    if plan and not _in_force(run):
                        return [run], ""
                    runs += [run] if number < count else []
                    advance()
        except CasError as error:
            return [], str(error)
        return runs, ""

    def _judge(self, plan: Plan, runs: Sequence[Measured], trouble: str) -> dict[str, Any]:
        outcomes = runs[-1].outcomes if runs else ()
        skipped = [o.why for o in outcomes if o.state == SKIPPED]
        found: dict[str, Any] = {
            "plan": plan,
            "words": show(plan),
            "verdict": verdict.FAILED,
            "why": trouble,
            "speedup": 0.0,
            "outcomes": [outcome._asdict() for outcome in outcomes],
        }
        if trouble:
            return found
        if not _in_force(runs[-1]):
            whys = dict.fromkeys(o.why for o in outcomes) or ["the host has nothing it concerns"]
            kind = verdict.IMPOSSIBLE if skipped else verdict.NOTHING
            return {**found, "verdict": kind, "why": "; ".join(whys)}
        compared = verdict.compare(self._untuned, runs, self._options.tolerance)
        seconds = [run.seconds for run in runs]
        speedup = statistics.median(self._seconds()) / max(statistics.median(seconds), 1e-12)
        differs = any(c.differs for c in compared)
        faster = verdict.is_faster(seconds, self._seconds())
        why = "; ".join(filter(None, [verdict.say_difference(compared), *dict.fromkeys(skipped)]))
        return {
            **found,
            "verdict": verdict.CHANGES if differs else (verdict.NOT_FASTER, verdict.FASTER)[faster],
            "why": why,
            "speedup": speedup,
            "seconds": verdict.spread(seconds),
            "agreement": [c.as_document() for c in compared],
        }


def _in_force(run: Measured) -> bool:
    return any(o.state not in {SKIPPED, UNCHANGED} for o in run.outcomes)


@contextlib.contextmanager
def _environment(plan: Plan) -> Iterator[None]:
    """Have processes that are started now find a tuning, and no store, in their environment."""
    wanted = {NAME: show(plan), PREFIX: "memory://", f"{PREFIX}_LOG": "error"}
    before = {name: os.environ.get(name) for name in (*wanted, f"{PREFIX}_CONFIG")}
    os.environ.update(wanted)
    os.environ.pop(f"{PREFIX}_CONFIG", None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _usual() -> list[Plan]:
    """Name what may help, by what this machine has; encoders of other names are yours to try."""
    processors = os.cpu_count() or 1
    counts = [n for n in (2, 4, 8) if n <= processors] or [1]
    texts = [
        "tf32",
        "ort.graph=all",
        *(f"ort.intra={n}" for n in counts),
        f"ort.intra={counts[-1]},ort.inter=2,ort.parallel",
        "ort.providers=cuda:cpu",
        "ort.providers=tensorrt:cuda:cpu",
        "compile",
    ]
    return [_plan(text) for text in texts]


def _plan(text: str) -> Plan:
    plan, troubles = parse(text)
    if troubles:
        raise SettingError(f"--try {text!r}: {troubles[0]}")
    if not plan:
        raise SettingError(f"--try {text!r} asks for nothing")
    return plan


def _say_all(found: Mapping[str, Any], *, as_document: bool) -> None:
    if as_document:
        tables.document(found)
    elif tables.on_terminal():
        _draw(found)
    else:
        tables.line({"words": "", **found["untuned"]})
        for setting in found["settings"]:
            tables.line(setting)
        tables.line({"recommended": found["recommended"]})


def _draw(found: Mapping[str, Any]) -> None:
    untuned = found["untuned"]
    names = [c["name"] for c in untuned["agreement"]]
    own = {c["name"]: _agreement(c, "own") for c in untuned["agreement"]}
    rows = [("as it is", _times(untuned["seconds"]), "1.00x", *(own[n] for n in names), "")]
    for setting in found["settings"]:
        shares = {c["name"]: _agreement(c, "other") for c in setting.get("agreement", ())}
        rows.append(
            (
                setting["words"],
                _times(setting["seconds"]) if "seconds" in setting else "-",
                f"{setting['speedup']:.2f}x" if "seconds" in setting else "-",
                *(shares.get(name, "-") for name in names),
                setting["verdict"],
            )
        )
    columns = ("SETTING", "SECONDS", "SPEED-UP", *map(str.upper, names), "")
    tables.rows(columns, rows, right=columns[1:-1])
    tables.say(
        f"median of {found['runs']} runs over all recordings, and its quartiles; agreement with the"
        " encoder as it is, whose own runs agree as its line says"
    )
    for setting in found["settings"]:
        if setting["why"]:
            tables.say(f"{setting['words']}: {setting['verdict']}: {setting['why']}")
    if not untuned["steady"]:
        first, again = (_times(untuned[which]) for which in ("first", "again"))
        tables.say(f"the machine was not steady: as it is, at first {first}, at last {again}")
    for passed in untuned["passed"]:
        tables.say(f"not compared: {passed}")
    tables.say()
    if found["recommended"]:
        tables.say(f"export {NAME}={found['recommended']}", style="bold")
    else:
        tables.say("nothing that was tried is worth having here")


def _times(found: Mapping[str, float]) -> str:
    low, high = show_seconds(found["q1"]), show_seconds(found["q3"])
    return f"{show_seconds(found['median'])} ({low} - {high})"


def _agreement(compared: Mapping[str, Any], which: str) -> str:
    value = compared[which]
    return f"{value:.5f}" if compared["kind"] == NUMBERS else f"{value:.1%}"


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, such as 0.01")
    return share
