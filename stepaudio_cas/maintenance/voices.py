"""The voices that are asked for most, under the names people know them by."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from stepaudio_cas.maintenance.facts import voice
from stepaudio_cas.maintenance.inventory import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.store.hottest import Hottest
    from stepaudio_cas.store.store import Store


class Voice(NamedTuple):
    """An entry, and what its hits were worth. One that is gone has the name it had."""

    key: str
    name: str
    hits: float
    seconds_saved: float
    plugin: str = ""
    model: str = ""


def top_voices(stores: Sequence[Store], hottest: Hottest, number: int) -> list[Voice]:
    """Return the `number` voices with the most hits, the first one first."""
    ranked = sorted(hottest.keys.items(), key=lambda item: (-item[1].hits, item[0]))
    found = []
    for key, heat in ranked[:number]:
        manifest = _manifest(stores, key)
        if manifest is None:
            found.append(Voice(key, heat.name, heat.hits, heat.seconds))
        else:
            name = manifest.label or heat.name or voice(manifest)
            of = manifest.plugin, manifest.fingerprint
            found.append(Voice(key, name, heat.hits, heat.seconds, *of))
    return found


def _manifest(stores: Iterable[Store], key: str) -> Manifest | None:
    for store in stores:
        with suppress(Exception):  # whether a store answers is said elsewhere
            kept = find(store.backend, key)
            if kept is not None and kept.manifest is not None:
                return kept.manifest
    return None
