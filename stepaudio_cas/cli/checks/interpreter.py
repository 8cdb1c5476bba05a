"""Whether activation will happen in an interpreter: found out by starting it, twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import __version__
from stepaudio_cas.cli.checks import probe
from stepaudio_cas.cli.checks.finding import Finding, ok, warning, wrong
from stepaudio_cas.settings import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SECONDS: Final = 60
_OLDEST: Final = (3, 10)
_START_FILES_FROM: Final = (3, 15)
_RUN: Final = "cas-tool run -- COMMAND"
_OWN_OPTIONS: Final = {
    "-S": "no_site",
    "-I": "isolated",
    "-E": "ignore_environment",
    "-s": "no_user_site",
}
Seen = dict[str, Any]


class Unanswered(Exception):  # noqa: N818 - says what happened
    """The interpreter could not be asked."""


def own_options() -> list[str]:
    """Say with which options this interpreter was started, as far as they matter here."""
    return [option for option, flag in _OWN_OPTIONS.items() if getattr(sys.flags, flag)]


def ask(
    python: Sequence[str], environment: Mapping[str, str], schemes: Sequence[str] = ()
) -> tuple[Seen, str]:
    """Run the probe in an interpreter; return what it saw, and what was on stderr."""
    text = Path(str(probe.__file__)).read_text(encoding="utf-8")
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that is asked about
            [*python, "-c", text, *schemes],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise Unanswered(str(error.strerror)) from None
    except subprocess.TimeoutExpired:
        raise Unanswered(f"it did not answer within {_SECONDS} s") from None
    for line in done.stdout.splitlines():
        if line.startswith(probe.MARK):
            seen: Seen = json.loads(line.removeprefix(probe.MARK))
            return seen, done.stderr.strip()
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    raise Unanswered(f"exit code {done.returncode}: {last:.200}")


def examine(
    python: Sequence[str], environment: Mapping[str, str], schemes: Sequence[str] = ()
) -> tuple[list[Finding], Seen]:
    """Start the interpreter with the variable set, and without it; judge what is seen."""
    off = {n: v for n, v in environment.items() if n not in {PREFIX, f"{PREFIX}_CONFIG"}}
    off.pop("_STEPAUDIO_CAS_FOLDERS", None)
    try:
        on_seen, said = ask(python, {**off, PREFIX: "1"}, schemes)
        off_seen, _ = ask(python, off)
    except Unanswered as answer:
        text = f"{python[0]} cannot be asked: {answer}"
        return [wrong("python.run", text, "give a Python interpreter: --python PATH")], {}
    findings = list(_judge(on_seen, off_seen, said))
    return findings, on_seen


def _judge(seen: Seen, off: Seen, said: str) -> Iterator[Finding]:
    python, version = seen["executable"], ".".join(map(str, seen["version"]))
    if tuple(seen["version"]) < _OLDEST:
        yield wrong(
            "python.version",
            f"{python} is Python {version}; 3.10 or later is needed",
            "use a later Python for the host",
        )
        return
    yield ok("python.version", f"{python} is Python {version}")
    if seen["flags"]["S"]:
        yield wrong(
            "activation.site",
            "this interpreter runs with -S: it reads no start-up files",
            f"leave -S out, or start the host by {_RUN}",
        )
    package = seen["package"]
    if "error" in package:
        yield wrong(
            "activation.installed",
            f"stepaudio-cas is not installed there: {package['error']}",
            f"{python} -m pip install stepaudio-cas",
        )
        return
    yield _installed(package, python)
    yield from _dependencies(seen)
    yield from _activation(seen, off, said)


def _installed(package: dict[str, str], python: str) -> Finding:
    text = f"stepaudio-cas {package['version']} in {os.path.dirname(package['file'])}"
    if package["version"] == __version__:
        return ok("activation.installed", text)
    return warning(
        "activation.installed",
        f"{text}; this cas-tool is {__version__}",
        f"{python} -m pip install --upgrade stepaudio-cas",
    )


def _dependencies(seen: Seen) -> Iterator[Finding]:
    bounds = _bounds(seen["requires"])
    for name, found in sorted(seen["dependencies"].items()):
        install = f"{seen['executable']} -m pip install '{name}{bounds.get(name, '')}'"
        if "error" in found:
            text = f"{name} cannot be used: {found['error']}"
            yield wrong("dependency", text, install, subject=name)
        elif _older(found["version"], bounds.get(name, "").removeprefix(">=")):
            text = f"{name} {found['version']} is too old: {bounds[name]}"
            yield wrong("dependency", text, install, subject=name)
        else:
            yield ok("dependency", f"{name} {found['version']}", subject=name)


def _bounds(requires: Sequence[str]) -> dict[str, str]:
    found = (re.match(r"([\w.-]+)\s*(>=[\d.]+)?", text) for text in requires if ";" not in text)
    return {match[1].lower(): match[2] or "" for match in found if match}


def _older(version: str, bound: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text.partition("+")[0])]

    return bool(bound and numbers(version)) and numbers(version) < numbers(bound)


def _activation(seen: Seen, off: Seen, said: str) -> Iterator[Finding]:
    late = tuple(seen["version"]) >= _START_FILES_FROM
    name = f"zzz_stepaudio_cas.{'start' if late else 'pth'}"
    folders = seen["start_files"][name]
    if folders:
        yield ok("activation.start_file", f"{name} is in {', '.join(folders)}")
    elif not seen["flags"]["S"]:
        yield wrong(
            "activation.start_file",
            f"{name} is in none of {', '.join(seen['site_folders']) or 'no site-packages'}: what is"
            " only on PYTHONPATH, or copied, starts nothing",
            f"{seen['executable']} -m pip install stepaudio-cas, or start the host by {_RUN}",
        )
    yield _switched_on(seen, said)
    if off["modules"]:
        yield wrong(
            "activation.off",
            f"with {PREFIX} unset, {off['modules'][0]} is imported all the same",
            "something else imports us at start-up: look at sitecustomize and at other .pth files",
        )
    else:
        yield ok("activation.off", f"with {PREFIX} unset, nothing of ours is imported")


def _switched_on(seen: Seen, said: str) -> Finding:
    if seen["finders"] == 1:
        return ok("activation.on", f"with {PREFIX} set, host modules are watched for")
    if seen["finders"] > 1:
        return wrong(
            "activation.on",
            f"{seen['finders']} finders watch for host modules",
            "two copies of stepaudio-cas are installed: uninstall one",
        )
    why = f": {said.splitlines()[0]}" if said else ""
    again = "" if seen["flags"]["S"] else "install stepaudio-cas again, or "
    return wrong(
        "activation.on",
        f"with {PREFIX} set, nothing watches for host modules{why}",
        f"{again}start the host by {_RUN}",
    )
