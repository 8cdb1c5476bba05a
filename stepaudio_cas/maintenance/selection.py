"""Which entries are meant: by conditions, by keys, by the names of voices."""

from __future__ import annotations

import re
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.maintenance.facts import names, voice
from stepaudio_cas.maintenance.inventory import find, keys, labels, manifests, many, pinned
from stepaudio_cas.store import layout
from stepaudio_cas.store.uses import read_uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from stepaudio_cas.artifact.manifest import Manifest
    from stepaudio_cas.artifact.signing import Signer
    from stepaudio_cas.maintenance.inventory import Kept, Step
    from stepaudio_cas.store.backend import Backend
    from stepaudio_cas.store.uses import Latest

SHORTEST: Final = 4
"""How many digits of a key stand for it, if no other key begins with them."""

_SHOWN: Final = 4
_DIGITS: Final = re.compile(r"[0-9a-f]{1,64}").fullmatch


class NotThere(CasError):  # noqa: N818 - describes the store
    """Something was asked for by a name that nothing in the store has."""


class Selection(NamedTuple):
    """Every condition that is set must hold; with none, everything is meant.

    `plugin` is a plugin's name (of what is called `a.b.c`, `a` and `a.b` too) or a glob over
    schemas, `model` and `keys` are beginnings of fingerprints and keys, `label` is a glob over the
    names of voices, `older` is in seconds since the last use, `larger` in bytes.
    """

    plugin: str | None = None
    model: str | None = None
    older: float | None = None
    larger: int | None = None
    label: str | None = None
    keys: tuple[str, ...] = ()

    def matcher(
        self, *, pins: Mapping[str, str] | None = None, clock: Callable[[], float] = time.time
    ) -> Callable[[Kept], bool]:
        """Return the test; "now" is the moment of this call. A damaged entry has only its key.

        `pins` are those that `pinned_as` finds for the label.
        """
        unused_since = None if self.older is None else clock() - self.older
        named = pins or {}

        def matches(kept: Kept) -> bool:
            if self.keys and not kept.key.startswith(self.keys):
                return False
            if unused_since is not None and kept.entry.mtime > unused_since:
                return False
            if self.larger is not None and kept.size <= self.larger:
                return False
            return self._by_manifest(kept.manifest, named.get(kept.key, ""))

        return matches

    def _by_manifest(self, manifest: Manifest | None, name: str) -> bool:
        if self.plugin is None and self.model is None and self.label is None:
            return True
        return manifest is not None and (
            (self.plugin is None or _is_plugin(manifest, self.plugin))
            and (self.model is None or manifest.fingerprint.startswith(self.model))
            and (self.label is None or is_called(manifest, self.label, name))
        )


EVERYTHING: Final = Selection()


class Wanted:
    """The entries that fulfil a selection and, if there are any words, are meant by one of them.

    A word is a key, the beginning of one, or the name of a voice, which may be a glob.
    """

    def __init__(
        self,
        selection: Selection,
        found: Iterable[str] = (),
        voices: Iterable[str] = (),
        *,
        uses: Latest | None = None,
        pins: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`pins` are those that `pinned_as` finds for the voices and the label that are meant."""
        self._matches = selection.matcher(pins=pins, clock=clock)
        self._uses, self._pins = uses, pins or {}
        self._keys = frozenset(found)
        self._voices = tuple(voices)
        self._unheard = dict.fromkeys(self._voices)
        self._all = not (self._keys or self._voices)

    def __call__(self, kept: Kept) -> bool:
        """Tell whether this entry is meant."""
        meant = self._all or kept.key in self._keys
        for name in self._voices:
            if is_called(kept.manifest, name, self._pins.get(kept.key, "")):
                self._unheard.pop(name, None)
                meant = True
        return meant and self._matches(self._timed(kept))

    def name_of(self, kept: Kept) -> str:
        """Return the best name that is known here of an entry, or nothing."""
        return voice(kept.manifest, self._pins.get(kept.key, ""))

    def _timed(self, kept: Kept) -> Kept:
        """Put the last use, where journals tell a later one, in the place of the entry's time."""
        if not self._uses:
            return kept
        used = self._uses.of(kept.key, kept.entry.mtime)
        return kept._replace(entry=kept.entry._replace(mtime=used))

    def check(self) -> None:
        """Raise `NotThere` if, after all entries have been looked at, a name was never heard."""
        if self._unheard:
            names_ = ", ".join(self._unheard)
            short = any(_DIGITS(name) and len(name) < SHORTEST for name in self._unheard)
            more = f"; of a key, give {SHORTEST} digits at least" if short else ""
            raise NotThere(
                f"nothing here has a key or a voice like {names_}{more}; see cas-tool ls"
            )

    def entries(
        self, backend: Backend, signer: Signer | None = None, *, step: Step | None = None
    ) -> Iterator[Kept]:
        """Yield what is meant, in the order of keys, reading no more than is needed.

        The time of each is that of its last use.
        """
        by_key = self._keys and not self._voices
        found: Iterator[Kept | None] = manifests(backend, signer, step=step)
        if by_key:
            found = many(backend, lambda key: find(backend, key, signer), sorted(self._keys))
        for kept in found:
            if kept is not None and self(kept):
                yield self._timed(kept)
        self.check()


def wanted(
    backend: Backend,
    selection: Selection = EVERYTHING,
    words: Iterable[str] = (),
    *,
    several: bool = False,
    timed: bool = False,
    clock: Callable[[], float] = time.time,
) -> Wanted:
    """Find out which of the words are keys; the others are voices.

    Journals of uses are read if the selection asks for ages, or if it is to be `timed`.
    Raises `SettingError` for digits that begin more than one key, unless `several` may be meant.
    Raises `NotThere` for a whole key that is not there.
    """
    found: set[str] = set()
    voices = []
    for word in words:
        digits = layout.digest_in(word) or word
        here = _keys_like(backend, digits, several)
        if not several:
            refuse_ambiguous(digits, here)
        if not here and layout.digest_in(digits):
            raise NotThere(f"{digits} is not in {backend.url}")
        found.update(here)
        voices += [] if here else [word]
    uses = read_uses(backend) if timed or selection.older is not None else None
    pins = pinned_as(backend, selection, voices)
    return Wanted(selection, found, voices, uses=uses, pins=pins, clock=clock)


def pinned_as(backend: Backend, selection: Selection, voices: Iterable[str] = ()) -> dict[str, str]:
    """Find the pins that say a name which is asked for: key and label.

    A manifest is written once. The pin of a voice tells where its file is now, after it has moved.
    Where no name is asked for, nothing is read.
    """
    asked = [*voices, *([selection.label] if selection.label is not None else [])]
    if not asked:
        return {}
    found = labels(backend, pinned(backend))
    return {key: name for key, name in found if any(is_called(None, one, name) for one in asked)}


def is_called(manifest: Manifest | None, pattern: str, label: str = "") -> bool:
    """Tell whether one of an entry's names is this, or fits this glob; `label` is its pin's."""
    found = names(manifest, label)
    return any(name == pattern or fnmatchcase(name, pattern) for name in found)


def refuse_ambiguous(digits: str, here: list[str]) -> list[str]:
    """Return the keys that begin with these digits; raise `SettingError` if it is not just one.

    Fewer digits than `SHORTEST` begin none.
    """
    if len(digits) < SHORTEST:
        return []
    if len(here) > 1:
        length = max(12, len(digits) + 4)
        shown = ", ".join(key[:length] for key in here[:_SHOWN])
        more = ", …" if len(here) > _SHOWN else ""
        raise SettingError(f"{digits} begins {len(here)} keys: {shown}{more}; give more digits")
    return here


def _keys_like(backend: Backend, digits: str, several: bool) -> list[str]:
    if layout.digest_in(digits):
        return [digits] if backend.stat(layout.manifest_path(digits)) is not None else []
    if not _DIGITS(digits) or (len(digits) < SHORTEST and not several):
        return []
    return list(keys(backend, digits))


def _is_plugin(manifest: Manifest, wanted_: str) -> bool:
    return (
        manifest.plugin == wanted_
        or manifest.plugin.startswith(f"{wanted_}.")
        or fnmatchcase(manifest.schema, wanted_)
    )
