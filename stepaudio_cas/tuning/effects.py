"""What came of the tuning in this process: what is in force, on which things, and what is not.

Only what is in force gets into fingerprints, and only if it may change results. A thing that was
tuned says so itself, by an attribute, so that copies of it say it as well.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MARK: Final = "__stepaudio_cas_tuning__"
EFFECTIVE: Final = "effective"
UNCHANGED: Final = "unchanged"
SKIPPED: Final = "skipped"
_LONGEST: Final = 300
"""Letters of a reason; what libraries raise may be pages."""


class Outcome(NamedTuple):
    """What became of a word for one thing, and why."""

    word: str
    thing: str
    state: str
    why: str = ""

    def __str__(self) -> str:
        of = f" ({self.thing})" if self.thing else ""
        why = f": {self.why}" if self.why else ""
        return f"tuning: {self.word}{of} is {self.state}{why}"


class Effects:
    """Takes down what the tuners have done."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self._everywhere: dict[str, Callable[[], Any]] = {}
        self._marked = False
        self.lock = threading.RLock()
        """Held while an object of the host's is changed for a moment."""
        survive_fork(self)

    def _after_fork(self) -> None:
        self.lock = threading.RLock()  # the thread that held it is not in the child

    @property
    def active(self) -> bool:
        """Whether anything here can be in a fingerprint."""
        return self._marked or bool(self._everywhere)

    def note(self, word: str, thing: str, state: str, why: str = "") -> None:
        """Take down, and say, what became of a word; the same thing is said once."""
        outcome = Outcome(word, thing, state, " ".join(why.split())[:_LONGEST])
        if self.outcomes.get((word, thing)) == outcome:
            return
        self.outcomes[word, thing] = outcome
        log = Log(read_settings()[0].log)
        (log.error if state == SKIPPED else log.info)(str(outcome))

    def mark(self, things: Sequence[Any], word: str, value: Any) -> None:
        """Have things say that a setting which may change their results is in force."""
        self._marked = True
        for thing in things:
            vars(thing).setdefault(MARK, {})[word] = value

    def withdraw(self, things: Sequence[Any], word: str) -> None:
        """Take a setting back that turned out, at work, not to be possible."""
        for thing in things:
            vars(thing).get(MARK, {}).pop(word, None)

    def everywhere(self, word: str, value: Callable[[], Any]) -> None:
        """Say a setting of the whole process: `value` returns it, or None if it is not in force."""
        self._everywhere[word] = value

    def forget(self) -> None:
        """Start over, as in a new process."""
        self.outcomes.clear()
        self._everywhere.clear()

    def of(self, things: Sequence[Any], marks: Marks | None = None) -> dict[str, Any]:
        """Return what is in force for a model that consists of these things."""
        found = {name: dict(mark) for name, mark in marks or marks_of(things) if mark}
        process = {word: value() for word, value in self._everywhere.items()}
        process = {word: value for word, value in process.items() if value is not None}
        return {**({"process": process} if process else {}), **found}


Marks = list[tuple[str, dict[str, Any]]]


def marks_of(things: Sequence[Any]) -> Marks:
    """Return what things, and what they hold, say of themselves, with names that are stable.

    The dicts are theirs: what is withdrawn later is gone from them.
    """
    found: Marks = []
    seen: set[int] = set()
    for number, thing in enumerate(things):
        for path, part in _parts(thing, 2):
            mark = getattr(part, "__dict__", {}).get(MARK)
            if mark is not None and id(mark) not in seen:
                seen.add(id(mark))
                found.append((f"{number}{path} {type(part).__name__}", mark))
    return found


def _parts(thing: Any, depth: int, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a thing, and what it holds in attributes and in their mappings."""
    yield path, thing
    inside = getattr(thing, "__dict__", None)
    if not depth or type(inside) is not dict or isinstance(thing, type):
        return
    for name, value in sorted(inside.items()):
        if isinstance(value, Mapping):
            for key, part in list(value.items()):
                if hasattr(part, "__dict__"):
                    yield from _parts(part, depth - 1, f"{path}.{name}.{key}")
        elif hasattr(value, "__dict__"):
            yield from _parts(value, depth - 1, f"{path}.{name}")


effects: Final = Effects()
"""Those of this process."""
