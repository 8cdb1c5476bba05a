"""What `STEPAUDIO_CAS_TUNE` asks for, and whether the host's interpreter can do it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Final

from stepaudio_cas.cli.checks.finding import Finding, ok, warning, wrong
from stepaudio_cas.settings import OFF, PREFIX
from stepaudio_cas.tuning.words import NAME, show, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SECONDS: Final = 300
_MARK: Final = "stepaudio-cas tuning: "
_ASK: Final = f"""
import json, sys
if sys.path and not sys.path[0]:
    del sys.path[0]
from stepaudio_cas.activation.tuning import examine
from stepaudio_cas.tuning.words import wanted
print({_MARK!r} + json.dumps(examine(wanted()[0])), flush=True)
"""
_REMEDY: Final = f"provide what it lacks, or leave the word out of {NAME}: it changes nothing"


def examine(python: Sequence[str], environment: Mapping[str, str]) -> list[Finding]:
    """Ask the interpreter about each word; with the variable unset there is nothing to say."""
    plan, troubles = wanted(environment)
    findings = [
        wrong("tuning.word", trouble, "correct the word, or remove it", subject=NAME)
        for trouble in troubles
    ]
    if not plan:
        return findings
    if environment.get(PREFIX, "").strip().lower() in OFF:
        text = f"{NAME} is set, but {PREFIX} is not: nothing is tuned"
        remedy = f"set {PREFIX} as well; with {PREFIX}_MODE=off nothing is cached"
        findings.append(warning("tuning.switch", text, remedy))
    try:
        answer = _ask(python, environment)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        text = f"{python[0]} cannot be asked about {show(plan)}: {error}"
        return [*findings, wrong("tuning", text, "see what it says about Python above")]
    return [*findings, *_judge(plan, answer)]


def _ask(python: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    done = subprocess.run(  # noqa: S603 - the interpreter that is asked about
        [*python, "-c", _ASK],
        env={**environment, f"{PREFIX}_LOG": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        text=True,
        errors="replace",
    )
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            answer: dict[str, str] = json.loads(line.removeprefix(_MARK))
            return answer
    raise ValueError((done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200])


def _judge(plan: Mapping[str, object], answer: Mapping[str, str]) -> Iterator[Finding]:
    for word in plan:
        text, why = show(plan, word), answer.get(word, "")
        if why:
            yield warning("tuning", f"{text} is skipped: {why}", _REMEDY, subject=word)
        else:
            yield ok("tuning", f"{text} is possible here", subject=word)
