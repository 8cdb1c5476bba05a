"""`cas-tool doctor`: whether everything works here, each thing with its remedy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import __version__
from stepaudio_cas.cli.checks import configuration, host, interpreter, plugins, stores, tuning
from stepaudio_cas.cli.checks.finding import Finding, State, worst, wrong
from stepaudio_cas.cli.codes import FINE, FOUND
from stepaudio_cas.cli.context import read
from stepaudio_cas.cli.output import Output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from stepaudio_cas.settings import Settings

_COLOURS: Final = {State.OK: "green", State.WARNING: "yellow", State.WRONG: "red"}
_TITLES: Final = {
    "python": "Python",
    "dependency": "Python",
    "activation": "Activation",
    "plugin": "Plugins",
    "host": "Host",
    "setting": "Settings",
    "tuning": "Tuning",
    "store": "Stores",
    "state": "Stores",
}
_OWN_SCHEMES: Final = {"file", "memory", "s3", "s3a"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `doctor`."""
    parser.description = (
        "Say whether activation will happen in an interpreter, which plugins and host classes it\n"
        "would find, whether the stores work and how fast, and what is set wrongly; each with its\n"
        "remedy. Run it where the host runs: same user, same environment, same container."
    )
    parser.epilog = (
        "example:\n  STEPAUDIO_CAS=/srv/voices cas-tool doctor --python /app/venv/bin/python"
        " --host /app\n\nexit codes: 0 fine, perhaps with warnings; 1 something is wrong"
    )
    parser.add_argument("--python", metavar="PATH", help="the host's interpreter [this one]")
    parser.add_argument(
        "--host", metavar="PATH", help="the folder of the host's code, such as /app"
    )


def main(options: argparse.Namespace) -> int:
    """Look at everything, and say what was found."""
    settings, findings, seen = examine(options.python, options.host, options.store)
    output = Output()
    if options.json:
        output.document(_document(settings, findings, seen))
    elif output.terminal:
        _table(output, findings)
    else:
        for finding in findings:
            remedy = f"; remedy: {finding.remedy}" if finding.remedy else ""
            output.line(f"{finding.state.value:8}{finding.name}: {finding.text}{remedy}")
    return FOUND if worst(findings) is State.WRONG else FINE


def examine(
    python: str | None, folder: str | None, store: str | None
) -> tuple[Settings, list[Finding], dict[str, Any]]:
    """Make all checks."""
    settings, problems, environment = read(store)
    command = [python] if python else [sys.executable, *interpreter.own_options()]
    schemes = sorted(_schemes(settings.stores)) if python else []
    findings, seen = interpreter.examine(command, environment, schemes)
    known: list[dict[str, Any]] = []
    if "error" not in seen.get("package", {"error": ""}):
        found, known = plugins.examine(seen, settings.plugins)
        findings += found
    if folder is not None:
        findings += host.examine(folder, known)
    findings += configuration.examine(settings, problems, environment)
    findings += tuning.examine(command, environment)
    findings += _supported(seen.get("schemes", {}), command[0])
    findings += stores.examine(settings)
    return settings, findings, seen


def _schemes(urls: Iterable[str]) -> set[str]:
    found = {url.partition("://")[0] for url in urls if "://" in url}
    return found - _OWN_SCHEMES


def _supported(schemes: dict[str, str], python: str) -> list[Finding]:
    return [
        wrong(
            "store.support",
            f"{scheme}:// cannot be used in {python}: {trouble}",
            "install there what it names",
            subject=scheme,
        )
        for scheme, trouble in schemes.items()
        if trouble
    ]


def _document(
    settings: Settings, findings: Sequence[Finding], seen: dict[str, Any]
) -> dict[str, Any]:
    return {
        "state": worst(list(findings)).value,
        "version": __version__,
        "python": {
            "executable": seen.get("executable"),
            "version": ".".join(map(str, seen.get("version", []))) or None,
        },
        "settings": configuration.effective(settings),
        "findings": [{**f._asdict(), "state": f.state.value} for f in findings],
    }


def _table(output: Output, findings: Sequence[Finding]) -> None:
    title = ""
    for finding in sorted(findings, key=_place):
        if _title(finding) != title:
            title = _title(finding)
            output.line()
            output.line(output.paint(title, "bold"))
        state = output.paint(f"{finding.state.value:9}", _COLOURS[finding.state])
        output.folded(finding.text, first=f"  {state}", width=11)
        if finding.remedy:
            output.folded(finding.remedy, first=" " * 11 + output.paint("→ ", "dim"), width=13)
    counts = {state: sum(f.state is state for f in findings) for state in State}
    output.line()
    output.line(
        f"{counts[State.OK]} ok, {counts[State.WARNING]} to look at, {counts[State.WRONG]} wrong"
    )


def _title(finding: Finding) -> str:
    return _TITLES[finding.name.partition(".")[0]]


def _place(finding: Finding) -> int:
    return list(dict.fromkeys(_TITLES.values())).index(_title(finding))
