"""Which keys are pinned because of which files, so that a file that goes takes its pins along.

Several files may have the same key, when they sound the same. What somebody else has pinned stays
pinned: a pin is ours if its label is a path in our folders and we have written down that we made
it. That is written down before it is done, so that no pin is forgotten, whatever happens. What a
store does not do is owed by it, and done when it is back; the other stores go on meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_PLUS: Final = "+"
_MINUS: Final = "-"
_AT_ONCE: Final = 50
"""So many of the pins that are owed are made before somebody looks around again."""


class Pins(Protocol):
    """The pins of one store."""

    def pin(self, key: str, label: str) -> bool:
        """Pin a key; return whether it was not pinned before."""

    def label(self, key: str) -> str | None:
        """Return what the pin of a key says, or None if it is not pinned."""

    def relabel(self, key: str, label: str) -> None:
        """Have the pin of a key say something else."""

    def unpin(self, key: str) -> None:
        """Take the pin of a key away."""

    def has(self, key: str) -> bool:
        """Tell whether the entry of a key is there."""

    def fill(self, key: str, source: Any) -> None:
        """Copy an entry that is not there from where `source` is the pins of."""


class Book(Protocol):
    """Where it is written down which keys the files in one folder have. Raises `OSError`."""

    entries: set[tuple[str, str]]

    def add(self, key: str, voice: str) -> None: ...
    def remove(self, key: str, voice: str) -> None: ...
    def close(self) -> None: ...


class Ledger:
    """The keys of the files in one folder, in a file of lines that are only ever added."""

    def __init__(self, path: str) -> None:
        self.entries = _read(path)
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="ascii") as file:
            file.writelines(_line(_PLUS, key, voice) for key, voice in sorted(self.entries))
        os.replace(temporary, path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._torn = False

    def add(self, key: str, voice: str) -> None:
        """Write down that a voice has a key."""
        if (key, voice) not in self.entries:
            self._write(_line(_PLUS, key, voice))
            self.entries.add((key, voice))

    def remove(self, key: str, voice: str) -> None:
        """Write down that it no longer has it."""
        if (key, voice) in self.entries:
            self._write(_line(_MINUS, key, voice))
            self.entries.discard((key, voice))

    def _write(self, line: str) -> None:
        """Add a line. Raises `OSError`; what a full disk has taken of it spoils no other line."""
        text = (b"\n" if self._torn else b"") + line.encode()
        written = os.write(self._file, text)
        self._torn = written < len(text)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


class Keeping:
    """Pins and unpins as files come and go. The ledgers are one for each folder, by its path."""

    def __init__(self, pins: Sequence[Pins], ledgers: Mapping[str, Book]) -> None:
        self._stores, self._ledgers = [_Store(one) for one in pins], ledgers
        self._owners: dict[str, set[str]] = {}
        self._keys: dict[str, set[str]] = {}
        self._held: set[str] = set()
        self._loose: dict[str, set[str]] = {}
        self.unpinned = 0
        for ledger in ledgers.values():
            for key, voice in ledger.entries:
                self._own(key, voice)

    def voices(self, folder: str) -> Iterable[str]:
        """Return the files of a folder that have keys."""
        return {voice for _, voice in self._ledgers[folder].entries}

    def believed(self, keys: Iterable[str]) -> bool:
        """Tell whether all of these keys should have been in the stores before somebody asked."""
        return all(key in self._loose or self._is_held(key) for key in keys)

    def kept(self, number: int) -> list[str]:
        """Return the keys that a store should have."""
        owed = self._stores[number].owed
        return [key for key in self._owners if key not in owed and self._is_held(key)]

    def lost(self, number: int, keys: Iterable[str]) -> set[str]:
        """Take note that a store does not have some keys any more; return the files that have them.

        Those that the first store has lost are held no more, until somebody holds them again. What
        another one has lost is owed by it.
        """
        gone = [key for key in keys if self._is_held(key)]
        voices = {voice for key in gone for voice in self._owners[key]}
        if number:
            self._stores[number].owed.update(gone)
        else:
            self._held -= voices
        return voices

    @property
    def pins(self) -> list[Pins]:
        """The pins of each store, in order."""
        return [store.pins for store in self._stores]

    @property
    def loose(self) -> int:
        """How many keys have lost a file since the last `sweep`, where a store can be told."""
        return max((len(s.loose) for s in self._stores if not s.why), default=0)

    @property
    def refused(self) -> dict[int, str]:
        """Which stores have failed, and why; they are left alone until `trust`."""
        return {n: store.why for n, store in enumerate(self._stores) if store.why}

    @property
    def owed(self) -> int:
        """How many pins are yet to be made, or taken away, by stores that have failed."""
        return sum(len(s.owed) + (len(s.loose) if s.why else 0) for s in self._stores)

    @property
    def payable(self) -> bool:
        """Whether `pay` has something to do."""
        return any(store.owed and not store.why for store in self._stores)

    def owes(self, number: int) -> bool:
        """Tell whether a store has yet to make pins."""
        return bool(self._stores[number].owed)

    def trust(self, number: int) -> None:
        """Ask a store again that had failed."""
        self._stores[number].why = ""

    def pay(self) -> None:
        """Make some of the pins that are owed."""
        for store in self._stores:
            for key in list(store.owed)[:_AT_ONCE]:
                owners = self._owners.get(key)  # it may have lost its file meanwhile
                if owners and not store.attempt(self._make_good, store, key, min(owners)):
                    break
                store.owed.discard(key)

    def hold(self, voice: str, keys: Iterable[str]) -> None:
        """Pin the keys of a file, and let go of those that it had before.

        They are pinned even if we have done so before: the store may have lost that. What is let go
        of stays pinned until `sweep`: the file may only have moved. What a store does not do is
        owed. Raises `OSError` if nothing can be written down.
        """
        wanted = set(keys)
        for key in wanted:
            self._ledger(voice).add(key, voice)
            for store in self._stores:
                if not store.attempt(self._pin, store, key, voice):
                    store.owed.add(key)
            self._own(key, voice)
        for key in self._keys.get(voice, set()) - wanted:
            self._owners[key].discard(voice)
            self._keys[voice].discard(key)
            self._loose.setdefault(key, set()).add(voice)
            for store in self._stores:
                store.loose.add(key)
        if wanted:
            self._held.add(voice)

    def leave(self, voice: str) -> None:
        """Let go of all keys of a file."""
        self.hold(voice, ())
        self._keys.pop(voice, None)
        self._held.discard(voice)

    def sweep(self) -> None:
        """Unpin what no file has any more; label what another file has with that one's path.

        A store that has failed does so when it is trusted again. Raises `OSError` if nothing can be
        written down.
        """
        for store in self._stores:
            for key in list(store.loose):
                if not store.attempt(self._let_go, store, key):
                    break
                store.loose.discard(key)
        for key, voices in list(self._loose.items()):
            if any(key in store.loose for store in self._stores):
                continue
            owners = self._owners.get(key, set())
            for voice in voices - owners:
                self._ledger(voice).remove(key, voice)
            del self._loose[key]
            if not owners:
                self._owners.pop(key, None)
                self.unpinned += 1

    def close(self) -> None:
        """Close the ledgers."""
        for ledger in self._ledgers.values():
            ledger.close()

    def _let_go(self, store: _Store, key: str) -> None:
        owners = self._owners.get(key)
        label = store.pins.label(key)
        if label is not None and self._ours(label):
            if not owners:
                store.pins.unpin(key)
            elif label not in owners:
                store.pins.relabel(key, min(owners))
        if not owners:
            store.owed.discard(key)

    def _make_good(self, store: _Store, key: str, voice: str) -> None:
        """Pin a key in a store that was away; its entry is likely not to have arrived either."""
        if store is not self._stores[0]:
            store.pins.fill(key, self._stores[0].pins)
        self._pin(store, key, voice)

    def _pin(self, store: _Store, key: str, voice: str) -> None:
        pins = store.pins
        if pins.pin(key, voice):
            return
        label = pins.label(key)
        if label is None:
            pins.pin(key, voice)  # unpinned at this very moment
        elif label != voice and self._ours(label) and label not in self._owners.get(key, ()):
            pins.relabel(key, voice)

    def _is_held(self, key: str) -> bool:
        return not self._held.isdisjoint(self._owners.get(key, ()))

    def _own(self, key: str, voice: str) -> None:
        self._owners.setdefault(key, set()).add(voice)
        self._keys.setdefault(voice, set()).add(key)

    def _ours(self, label: str) -> bool:
        return any(label.startswith(folder.rstrip("/") + "/") for folder in self._ledgers)

    def _ledger(self, voice: str) -> Book:
        inside = [f for f in self._ledgers if voice.startswith(f.rstrip("/") + "/")]
        return self._ledgers[max(inside, key=len)]


class _Store:
    """The pins of a store, and what is still to be done there."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.owed: set[str] = set()
        self.loose: set[str] = set()
        self.why = ""

    def attempt(self, work: Callable[..., object], *args: object) -> bool:
        """Do something in the store, unless it has failed; return whether that is done."""
        if self.why:
            return False
        try:
            work(*args)
        except Exception as error:  # whatever a store raises
            self.why = f"{type(error).__name__}: {error}"
            return False
        return True


def _read(path: str) -> set[tuple[str, str]]:
    """Read a ledger; a line that was not written to its end says nothing that has been done."""
    entries: set[tuple[str, str]] = set()
    with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        for line in file:
            with contextlib.suppress(ValueError, TypeError):
                what, key, voice = json.loads(line)
                (entries.add if what == _PLUS else entries.discard)((key, voice))
    return entries


def _line(what: str, key: str, voice: str) -> str:
    return json.dumps([what, key, voice], separators=(",", ":")) + "\n"
