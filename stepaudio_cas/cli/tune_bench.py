"""How `cas-tool tune` measures: each setting in a process of its own, the best once more in turns.

A machine that gets faster or slower meanwhile makes settings look good that do nothing. So what is
to be recommended is run again beside the encoder as it is, one after the other in turn.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.errors import CasError
from stepaudio_cas.measure import verdict
from stepaudio_cas.measure.tuned import Measured, Opening, Run, do
from stepaudio_cas.prewarm.workers import Lost, Workers
from stepaudio_cas.settings import PREFIX
from stepaudio_cas.tuning.effects import EFFECTIVE, SKIPPED
from stepaudio_cas.tuning.words import NAME, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stepaudio_cas.cli.tables import Advance

Plan = dict[str, Any]
Host = Workers[Run, Measured]
WARM: Final = 2
"""Runs before those that count: what is compiled is compiled then."""

_AGAIN: Final = 3
"""How many settings are measured in turns, best first, until one keeps what it seemed to be."""


class Bench:
    """Measures the host in processes of their own."""

    def __init__(
        self,
        opening: Opening,
        runs: int,
        tolerance: float,
        advance: Advance,
        *,
        show: bool = False,
    ) -> None:
        self._opening, self._runs, self._tolerance = opening, runs, tolerance
        self._advance, self._show = advance, show
        self._untuned: list[list[Measured]] = []

    def measure_all(self, plans: Sequence[Plan]) -> dict[str, Any]:
        """Measure the encoder as it is first and last: what has changed meanwhile is no gain."""
        total = (len(plans) + 2) * (self._runs + WARM)
        self._advance(0, total=total)
        self._untuned.append(self._as_it_is())
        runs = [(plan, *self._attempt(plan)) for plan in plans]
        self._untuned.append(self._as_it_is())
        settings = [self._judge(*run) for run in runs]
        chosen = verdict.choose(settings)
        if chosen and all(chosen != setting["plan"] for setting in settings):
            self._advance(0, total=(total := total + self._runs + WARM))
            settings.append(self._judge(chosen, *self._attempt(chosen)))
        best = self._best(settings, total)
        return {
            "untuned": self._describe(),
            "settings": [{k: v for k, v in s.items() if k != "plan"} for s in settings],
            "recommended": show(best["plan"]) if best is not None else "",
        }

    def _describe(self) -> dict[str, Any]:
        first, again = (verdict.spread([r.seconds for r in runs]) for runs in self._untuned)
        own = verdict.compare(self._untuned, self._untuned[1], 0.0)
        return {
            "seconds": verdict.spread(self._seconds()),
            "first": first,
            "again": again,
            "steady": first["q1"] <= again["q3"] and again["q1"] <= first["q3"],
            "agreement": [c.as_document() for c in own],
            "passed": list(self._untuned[0][0].passed),
        }

    def _best(self, settings: Sequence[dict[str, Any]], total: int) -> dict[str, Any] | None:
        """Return the best that is still faster in turns; the others are said not to be."""
        faster = [s for s in settings if s["verdict"] == verdict.FASTER]
        for setting in sorted(faster, key=lambda s: float(s["speedup"]), reverse=True)[:_AGAIN]:
            self._advance(0, total=(total := total + 2 * (WARM + verdict.TURNS)))
            setting.update(self._again(setting["plan"]))
            if setting["verdict"] == verdict.FASTER:
                return setting
        return None

    def _again(self, plan: Plan) -> dict[str, Any]:
        """Judge a setting by runs in turn with the encoder as it is, of the same noise."""
        plain: list[Measured] = []
        tuned: list[Measured] = []
        try:
            with self._host() as one, self._host() as other:
                for host, words in ((one, {}), (other, plan)):
                    with _environment(words):
                        for number in range(WARM):
                            self._ask(host, verdict.TURNS + number)
                for turn in range(verdict.TURNS):
                    pair = ((one, plain), (other, tuned))
                    for host, runs in pair if turn % 2 else reversed(pair):
                        runs.append(self._ask(host, turn))
                    if verdict.is_lost(_pairs(plain, tuned)):
                        break
        except CasError as error:
            return {"verdict": verdict.FAILED, "why": f"when it was measured again: {error}"}
        pairs = _pairs(plain, tuned)
        found: dict[str, Any] = {"again": verdict.sum_up_turns(pairs)}
        compared = verdict.compare([self._untuned[0], plain], tuned, self._tolerance)
        if any(c.differs for c in compared):
            return {**found, "verdict": verdict.CHANGES, "why": verdict.say_difference(compared)}
        return found if verdict.holds(pairs) else {**found, "verdict": verdict.NOT_FASTER}

    def _host(self) -> Host:
        return Workers[Run, Measured](self._opening, do, show=self._show)

    def _ask(self, host: Host, number: int) -> Measured:
        [(_, run)] = list(host.run([Run(number)]))
        self._advance()
        if isinstance(run, Lost):
            raise CasError(f"the host died: {run.why}")
        if run.trouble:
            raise CasError(run.trouble)
        return run

    def _seconds(self) -> list[float]:
        return [run.seconds for process in self._untuned for run in process]

    def _as_it_is(self) -> list[Measured]:
        runs, trouble = self._attempt({})
        if trouble:
            raise CasError(trouble)
        if not any(result for result in runs[0].results):
            why = "; ".join(runs[0].passed) or "it makes no call that is cached"
            raise CasError(f"there is nothing to compare: {why}; see cas-tool doctor --host FOLDER")
        if not any(stream.values for result in runs[0].results for stream in result):
            raise CasError("nothing comes of these recordings; take longer ones")
        return runs

    def _attempt(self, plan: Plan) -> tuple[list[Measured], str]:
        """Measure in a new process; what goes wrong in it is said, and ends nothing else."""
        runs: list[Measured] = []
        try:
            with _environment(plan), self._host() as host:
                for number in (*range(self._runs, self._runs + WARM), *range(self._runs)):
                    run = self._ask(host, number)
                    if plan and not _in_force(run):
                        return [run], ""
                    runs += [run] if number < self._runs else []
        except CasError as error:
            return runs, str(error)
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
        compared = verdict.compare(self._untuned, runs, self._tolerance)
        seconds = [run.seconds for run in runs]
        speedup = statistics.median(self._seconds()) / max(statistics.median(seconds), 1e-12)
        differs = any(c.differs for c in compared)
        faster = verdict.is_faster(seconds, self._seconds())
        why = "; ".join(filter(None, [verdict.say_difference(compared), *dict.fromkeys(skipped)]))
        return {
            **found,
            "plan": _effective(plan, runs[-1]),
            "verdict": verdict.CHANGES if differs else (verdict.NOT_FASTER, verdict.FASTER)[faster],
            "why": why,
            "speedup": speedup,
            "seconds": verdict.spread(seconds),
            "agreement": [c.as_document() for c in compared],
        }


def _pairs(plain: Sequence[Measured], tuned: Sequence[Measured]) -> list[tuple[float, float]]:
    return [(one.seconds, other.seconds) for one, other in zip(plain, tuned, strict=True)]


def _in_force(run: Measured) -> bool:
    return any(o.state == EFFECTIVE for o in run.outcomes)


def _effective(plan: Mapping[str, Any], run: Measured) -> Plan:
    """Leave out the words that did nothing here: elsewhere they might, and nobody measured that."""
    there = {o.word.partition("=")[0] for o in run.outcomes if o.state == EFFECTIVE}
    there |= {"ort.engines"} if "ort.providers" in there else set()
    return {word: value for word, value in plan.items() if word in there}


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
