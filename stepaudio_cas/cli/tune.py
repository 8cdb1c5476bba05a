"""`cas-tool tune`: which settings make a host's encoder faster, and leave the voice what it is."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.activation.loading import parse_host
from stepaudio_cas.cli import filters, hosts, plots, tables, tune_plot
from stepaudio_cas.cli.codes import FINE
from stepaudio_cas.cli.tune_bench import Bench
from stepaudio_cas.errors import SettingError
from stepaudio_cas.measure.agreement import NUMBERS
from stepaudio_cas.measure.tuned import Opening
from stepaudio_cas.tuning.words import NAME, parse
from stepaudio_cas.units import show_spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepaudio_cas.cli.tune_bench import Plan

_RUNS: Final = 5
_PLACES: Final = ("encoder", "ort.engines")
"""Words whose value may be a folder."""


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
    opening = Opening(parse_host(options.host), tuple(wavs))
    quiet = options.json or options.verbose
    with tables.progress("measuring", quiet=quiet) as advance:
        bench = Bench(opening, options.runs, options.tolerance, advance, show=options.verbose)
        found = bench.measure_all(plans)
    found = {"host": options.host, "recordings": wavs, "runs": options.runs, **found}
    _say_all(found, as_document=options.json)
    if options.plot is not None:
        tune_plot.draw(found, options.plot)
    return FINE


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
    for word in _PLACES:
        if os.path.isdir(plan.get(word, "")):  # the host may be started elsewhere
            plan[word] = os.path.abspath(plan[word])
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
        if "again" in setting:
            tables.say(f"{setting['words']}: {_again(setting['again'])}")
    if not untuned["steady"]:
        first, again = (_times(untuned[which]) for which in ("first", "again"))
        tables.say(f"the machine was not steady: as it is, at first {first}, at last {again}")
    for passed in untuned["passed"]:
        tables.say(f"not compared: {passed}")
    tables.say()
    if found["recommended"]:
        tables.say(f"export {NAME}={shlex.quote(found['recommended'])}", style="bold")
    else:
        tables.say("nothing that was tried is worth having here")


def _again(found: Mapping[str, Any]) -> str:
    return (
        f"turn about with the encoder as it is: {found['speedup']:.2f}x, faster in"
        f" {found['faster']} of {found['turns']} turns"
    )


def _times(found: Mapping[str, float]) -> str:
    return show_spread(found["median"], found["q1"], found["q3"])


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
