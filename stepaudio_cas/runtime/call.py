"""One call of a host's function, as the cache sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.store.counters import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.identity.recipe import Recipe


LEFT_ALONE: Final = object()
"""What stands for "we have no value": the caller's own computation decides."""


class Once:
    """Runs the host's computation at most once, and remembers how it ended.

    Whatever happens in the cache around it, the host's result or exception is the one its own
    code produced, and its code ran one time.
    """

    __slots__ = ("_compute", "done", "error", "seconds", "value")

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self.done = False
        self.error: BaseException | None = None
        self.value: Any = None
        self.seconds = 0.0

    def __call__(self) -> Any:
        """Compute, or repeat the outcome."""
        if self.error is not None:
            raise self.error
        if not self.done:
            started = time.perf_counter()
            try:
                self.value = self._compute()
            except BaseException as error:
                self.error = error
                raise
            self.seconds = time.perf_counter() - started
            self.done = True
        return self.value


@dataclass
class Call:
    """What to look for, how to get it otherwise, and what is known about it."""

    recipe: Recipe
    once: Once
    plugin: str = ""
    deterministic: bool = True
    label: str = ""
    restore: Callable[[Any], Any] | None = None
    snapshot: Callable[[], Callable[[], Any]] | None = None
    started: float = 0.0
    keep: Callable[[Any], bool] | None = None
    pack: Callable[[Any], Any] | None = None

    @property
    def subject(self) -> Subject:
        """Whom the counts are about."""
        fingerprint = self.recipe.fingerprint
        return Subject(self.plugin, fingerprint.id if fingerprint is not None else "")

    @property
    def kind(self) -> str:
        """What calls that take about as long have in common."""
        return self.plugin or self.recipe.schema

    def give(self, value: Any) -> Any:
        """Put a value of ours where the host would have had it."""
        return value if self.restore is None else self.restore(value)
