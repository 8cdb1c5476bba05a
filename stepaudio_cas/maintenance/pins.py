"""Which pins a word or a selection means; what a pin is, is told in `store.pins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepaudio_cas.maintenance.facts import voice
from stepaudio_cas.maintenance.inventory import find, labels, many, pinned
from stepaudio_cas.maintenance.selection import (
    EVERYTHING,
    NotThere,
    is_called,
    refuse_ambiguous,
    wanted,
)
from stepaudio_cas.store import layout
from stepaudio_cas.store.pins import Pin, pin, read_pin, relabel, unpin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stepaudio_cas.artifact.signing import Signer
    from stepaudio_cas.maintenance.inventory import Kept
    from stepaudio_cas.maintenance.selection import Selection
    from stepaudio_cas.store.backend import Backend

__all__ = ["Pin", "chosen", "pin", "read_pin", "relabel", "unpin"]


def chosen(
    backend: Backend,
    selection: Selection = EVERYTHING,
    words: Iterable[str] = (),
    *,
    signer: Signer | None = None,
) -> list[tuple[str, str]]:
    """Name the pinned keys that are meant, each with its voice, reading no other entry.

    A word is a key, the beginning of one, or a voice. A pin without an entry has its key, and the
    name it was pinned as.
    Raises `NotThere` for a word that no pin has.
    """
    keys = sorted(pinned(backend))
    found = dict(
        zip(keys, many(backend, lambda key: find(backend, key, signer), keys), strict=True)
    )
    called = dict(labels(backend, keys))
    meant = set(keys)
    named = list(words)
    if named:
        meant = set()
        for word in named:
            here = _meant_by(word, found, called)
            if not here:
                raise NotThere(f"no pin has a key or a voice like {word}; see cas-tool ls --pinned")
            meant.update(here)
    matches = wanted(backend, selection)
    return [
        (key, voice(kept.manifest if kept is not None else None, called[key]))
        for key, kept in found.items()
        if key in meant and (selection == EVERYTHING or (kept is not None and matches(kept)))
    ]


def _meant_by(word: str, found: dict[str, Kept | None], called: dict[str, str]) -> list[str]:
    digits = layout.digest_in(word) or word
    here = refuse_ambiguous(digits, [key for key in found if key.startswith(digits)])
    if here:
        return here
    return [
        key
        for key, kept in found.items()
        if is_called(kept.manifest if kept is not None else None, word, called[key])
    ]
