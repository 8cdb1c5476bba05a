"""Spans for OpenTelemetry, in hosts that trace: one for each hit and for each encode.

Nothing is imported for it, and as long as the host has no tracer nothing of it is on the way of a
hit. A span is made when what it tells of is over, with the times at which it began and ended.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stepaudio_cas.errors import Bypass
    from stepaudio_cas.identity.recipe import Recipe
    from stepaudio_cas.runtime.recorder import Recorder
    from stepaudio_cas.store.counters import Subject

_NAME: Final = "stepaudio_cas"
_STANDS_IN: Final = {"ProxyTracerProvider", "NoOpTracerProvider", "DefaultTracerProvider"}


class Spans:
    """A listener that makes spans, each a child of the span that its call was made in."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def hit(
        self, subject: Subject, tier: str, saved: float, took: float, recipe: Recipe | None
    ) -> None:
        """Make a span of a look-up."""
        what = {"tier": tier, "hit": True, "saved_seconds": saved}
        self._span("lookup", subject, took, recipe, what)

    def miss(self, subject: Subject, recipe: Recipe, seconds: float, *, ours: bool) -> None:
        """Make a span of an encode."""
        self._span("encode", subject, seconds, recipe, {"hit": False, "kept": ours})

    def bypass(self, plugin: str, bypass: Bypass) -> None:
        """Make no span: nothing of ours was done."""

    def error(self, kind: str, text: str, subject: Subject) -> None:
        """Make no span: a failure of ours is not one of the request."""

    def _span(
        self, name: str, subject: Subject, took: float, recipe: Recipe | None, what: dict[str, Any]
    ) -> None:
        end = time.time_ns()
        known = {"plugin": subject.plugin, "model": subject.model, **what}
        if recipe is not None:
            known |= {"key": recipe.key, "schema": recipe.schema}
        span = self._tracer.start_span(
            f"{_NAME}.{name}",
            start_time=end - int(took * 1e9),
            attributes={f"{_NAME}.{key}": value for key, value in known.items()},
        )
        span.end(end_time=end)


def find_tracer() -> Any:
    """Return a tracer if the host has set one up; else None. Nothing is imported."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    provider = getattr(trace, "_TRACER_PROVIDER", None)
    if provider is None or type(provider).__name__ in _STANDS_IN:
        return None
    return trace.get_tracer(_NAME)


def trace(recorder: Recorder) -> bool:
    """Have spans made if there is a tracer; return whether there is."""
    if any(isinstance(listener, Spans) for listener in recorder.listeners):
        return True
    tracer = find_tracer()
    if tracer is not None:
        recorder.listen(Spans(tracer))
    return tracer is not None
