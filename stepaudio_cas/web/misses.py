"""The last misses, and why each missed: what differs between it and the entry most like it."""

from __future__ import annotations

import heapq
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.artifact.manifest import Manifest
from stepaudio_cas.maintenance import explain
from stepaudio_cas.maintenance.documents import about, at, difference, moment
from stepaudio_cas.maintenance.explain import Known, Nearest
from stepaudio_cas.maintenance.facts import voice
from stepaudio_cas.maintenance.inventory import find, manifests
from stepaudio_cas.web.observer import voice_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.web.observer import Miss
    from stepaudio_cas.web.source import Source

MOST_LOOKED_AT: Final = 20_000
LAST: Final = 100
AGAIN: Final = 30.0
_STEP: Final = 50


class Misses:
    """Explains in the background: to find the nearest entry, the store is looked through."""

    def __init__(self, source: Source, rest: Callable[[], None]) -> None:
        self._source, self._rest = source, rest
        self._explained: dict[str, dict[str, Any]] = {}
        self._stored: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._looked = 0.0
        self.complete = True

    def listed(self, limit: int) -> dict[str, Any]:
        """Say the last ones, with what is known of them by now."""
        observer = self._source.observer
        if observer is None:
            found = self._stored[:limit]
        else:
            recent = list(observer.misses)[::-1][:limit]
            found = [_document(miss) for miss in recent]
        said = [{**miss, "explained": self._explained.get(miss["key"])} for miss in found]
        return {
            "source": "store" if observer is None else "process",
            "complete": self.complete,
            "misses": said,
            "bypasses": list(observer.bypasses)[::-1][:limit] if observer is not None else [],
            "errors": list(observer.errors)[::-1][:limit] if observer is not None else [],
        }

    def wanting(self) -> bool:
        """Tell whether there is something to explain, and it is time to."""
        if time.monotonic() - self._looked < AGAIN and self._looked:
            return False
        observer = self._source.observer
        return observer is None or any(m.recipe.key not in self._explained for m in observer.misses)

    def explain(self) -> None:
        """Look through the first store, and explain what is not yet."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self.complete = True
            observer = self._source.observer
            if observer is None:
                self._explain(self._newest())
            else:
                new = [m for m in observer.misses if m.recipe.key not in self._explained]
                self._explain([self._manifest(miss) for miss in new])
        finally:
            self._looked = time.monotonic()
            self._lock.release()

    def _newest(self) -> list[Manifest]:
        """Find the entries that were made last: each was a miss of somebody's."""
        found = heapq.nlargest(
            LAST, (k.manifest for k in self._walk() if k.manifest), key=lambda m: (m.created, m.key)
        )
        self._stored = [
            {
                "time": moment(manifest.created) or None,
                "key": manifest.key, "plugin": manifest.plugin, "schema": manifest.schema,
                "voice": voice(manifest), "encode_seconds": manifest.compute_seconds,
            }
            for manifest in found
        ]  # fmt: skip
        return [manifest for manifest in found if manifest.key not in self._explained]

    def _manifest(self, miss: Miss) -> Manifest:
        """Return the entry that came of a miss, or what it would be."""
        kept = find(self._source.first.backend, miss.recipe.key)
        if kept is not None and kept.manifest is not None:
            return kept.manifest
        recipe = miss.recipe
        inputs = {
            name: {"kind": one.kind, "digest": one.digest, **_plain(one.facts)}
            for name, one in recipe.inputs.items()
        }
        known = recipe.fingerprint.id if recipe.fingerprint is not None else ""
        return Manifest(
            key=recipe.key, object="0" * 64, size=0, codec="", schema=recipe.schema,
            plugin=miss.plugin, created=at(miss.time), compute_seconds=miss.seconds,
            inputs=inputs, params=_plain(recipe.params), fingerprint=known,
        )  # fmt: skip

    def _explain(self, asked: list[Manifest]) -> None:
        backend = self._source.first.backend
        nearest = Nearest(asked, elder=True)
        if asked:
            nearest.consider(self._walk())
        for manifest in asked:
            near = next(iter(nearest.of(manifest.key)), None)
            self._explained[manifest.key] = self._said(
                explain.known(backend, manifest),
                explain.known(backend, near) if near is not None else None,
            )
        while len(self._explained) > 4 * LAST:
            self._explained.pop(next(iter(self._explained)))

    def _said(self, miss: Known, near: Known | None) -> dict[str, Any]:
        if near is None:
            text = "nothing in the store is like it: no such recording, model or file name"
            return {"nearest": None, "differences": [], "hints": [], "text": text}
        said = difference(near, miss)
        texts = "; ".join(one["text"] for one in said["differences"])
        return {
            "nearest": about(near.manifest),
            "differences": _json(said["differences"]),
            "hints": _json(said["hints"]),
            "text": texts,
        }

    def _walk(self) -> Iterator[Kept]:
        first = self._source.first
        for number, kept in enumerate(manifests(first.backend, first.signer)):
            if number == MOST_LOOKED_AT:
                self.complete = False
                return
            if number % _STEP == 0:
                self._rest()
            yield kept


def _document(miss: Miss) -> dict[str, Any]:
    return {
        "time": miss.time, "key": miss.recipe.key, "plugin": miss.plugin,
        "schema": miss.recipe.schema, "voice": voice_of(miss.recipe),
        "encode_seconds": miss.seconds,
    }  # fmt: skip


def _plain(facts: Any) -> dict[str, Any]:
    return dict(_json(dict(facts)))


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=repr))
