"""The tuners that `STEPAUDIO_CAS_TUNE` asks for: each waits for the libraries it changes.

A tuner is found by its entry point, as plugins are, and changes classes of libraries in place when
they have been imported. With the variable unset none is looked for.
"""

from __future__ import annotations

from stepaudio_cas.activation.registry import entry_points, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from stepaudio_cas.tuning.tuner import Tuner

GROUP = "stepaudio_cas.tuners"


class Tuners:
    """The tuners whose words are in the plan."""

    def __init__(self, tuners: Iterable[Tuner], plan: Mapping[str, Any]) -> None:
        self.plan = plan
        self.tuners = [tuner for tuner in tuners if not plan.keys().isdisjoint(tuner.words)]
        self.tails = frozenset(tail for tuner in self.tuners for tail in tuner.modules)

    def apply(self, namespace: Mapping[str, Any], module: str) -> None:
        """Have the tuners look at a module."""
        tail = module.rpartition(".")[2]
        for tuner in self.tuners:
            tune = tuner.modules.get(tail)
            if tune is None:
                continue
            try:
                tune(namespace, self.plan)
            except Exception as error:
                from stepaudio_cas.activation.session import say  # noqa: PLC0415 - rare

                say(f"tuning: {module} is left as it is: {type(error).__name__}: {error}")


def discover(troubles: list[str]) -> Tuners | None:
    """Find the tuners for what the operator asks for; None if that is nothing."""
    from stepaudio_cas.tuning.words import NAME, show, wanted  # noqa: PLC0415 - rarely needed

    plan, wrong = wanted()
    troubles += wrong
    if not plan:
        return None
    tuners = Tuners(_installed(troubles), plan)
    known = {word for tuner in tuners.tuners for word in tuner.words}
    idle = {word: value for word, value in plan.items() if word not in known}
    if idle:
        troubles.append(f"{NAME}: nothing installed here knows {show(idle)}")
    return tuners


def examine(plan: Mapping[str, Any]) -> dict[str, str]:
    """Say of each word why it cannot be in force here; libraries are imported for it."""
    found: dict[str, str] = {}
    for tuner in Tuners(_installed([]), plan).tuners:
        for word in tuner.words:
            if word in plan:
                try:
                    found[word] = tuner.trouble(word, plan)
                except Exception as error:
                    found[word] = f"{type(error).__name__}: {error}"
    return {word: found.get(word, "nothing installed here knows it") for word in plan}


def _installed(troubles: list[str]) -> list[Tuner]:
    found: list[Tuner] = []
    for name, reference in sorted(entry_points(troubles, GROUP).items()):
        try:
            found += resolve(reference)
        except (Exception, SystemExit) as error:  # a tuner does not end the host either
            trouble = f"{type(error).__name__}: {error}"
            troubles.append(f"tuner {name} ({reference}) is skipped: {trouble}")
    return found
