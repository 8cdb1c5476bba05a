"""Which keys are pinned because of which files, so that a file that goes takes its pins along.

Several files may have the same key, when they sound the same. What somebody else has pinned stays
pinned: a pin is ours if its label is a path in our folders and we have written down that we made
it. That is written down before it is done, so that no pin is forgotten, whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PLUS: Final = "+"
_MINUS: Final = "-"


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


class Ledger:
    """The keys of the files in one folder, in a file of lines that are only ever added."""

    def __init__(self, path: str) -> None:
        self.entries = _read(path)
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="ascii") as file:
            file.writelines(_line(_PLUS, key, voice) for key, voice in sorted(self.entries))
        os.replace(temporary, path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def add(self, key: str, voice: str) -> None:
        """Write down that a voice has a key."""
        if (key, voice) not in self.entries:
            os.write(self._file, _line(_PLUS, key, voice).encode())
            self.entries.add((key, voice))

    def remove(self, key: str, voice: str) -> None:
        """Write down that it no longer has it."""
        if (key, voice) in self.entries:
            os.write(self._file, _line(_MINUS, key, voice).encode())
            self.entries.discard((key, voice))

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


class Keeping:
    """Pins and unpins as files come and go. The ledgers are one for each folder, by its path."""

    def __init__(self, pins: Sequence[Pins], ledgers: dict[str, Ledger]) -> None:
        self._pins, self._ledgers = pins, ledgers
        self._owners: dict[str, set[str]] = {}
        self._keys: dict[str, set[str]] = {}
        self._pinned: set[str] = set()
        self._held: set[str] = set()
        self._loose: dict[str, set[str]] = {}
        self.unpinned = 0
        for ledger in ledgers.values():
            for key, voice in ledger.entries:
                self._own(key, voice)

    def voices(self, folder: str) -> Iterable[str]:
        """Return the files of a folder that have keys."""
        return {voice for _, voice in self._ledgers[folder].entries}

    def held(self, voice: str) -> bool:
        """Tell whether a file has been given keys since we began."""
        return voice in self._held

    @property
    def loose(self) -> int:
        """How many keys have lost a file since the last `sweep`."""
        return len(self._loose)

    def hold(self, voice: str, keys: Iterable[str]) -> None:
        """Pin the keys of a file, and let go of those that it had before. Raises what stores raise.

        What is let go of stays pinned until `sweep`: the file may only have moved.
        """
        wanted = set(keys)
        for key in wanted:
            self._ledger(voice).add(key, voice)
            if key not in self._pinned:
                for pins in self._pins:
                    self._pin(pins, key, voice)
                self._pinned.add(key)
            self._own(key, voice)
        for key in self._keys.get(voice, set()) - wanted:
            self._owners[key].discard(voice)
            self._keys[voice].discard(key)
            self._loose.setdefault(key, set()).add(voice)
        if wanted:
            self._held.add(voice)

    def leave(self, voice: str) -> None:
        """Let go of all keys of a file."""
        self.hold(voice, ())
        self._keys.pop(voice, None)
        self._held.discard(voice)

    def sweep(self) -> None:
        """Unpin what no file has any more; label what another file has with that one's path."""
        for key, voices in list(self._loose.items()):
            owners = self._owners.get(key)
            for pins in self._pins:
                label = pins.label(key)
                if label is None or not self._ours(label):
                    continue
                if not owners:
                    pins.unpin(key)
                elif label not in owners:
                    pins.relabel(key, min(owners))
            if not owners:
                self._owners.pop(key, None)
                self._pinned.discard(key)
                self.unpinned += 1
            del self._loose[key]
            for voice in voices - (owners or set()):
                self._ledger(voice).remove(key, voice)

    def close(self) -> None:
        """Close the ledgers."""
        for ledger in self._ledgers.values():
            ledger.close()

    def _pin(self, pins: Pins, key: str, voice: str) -> None:
        if pins.pin(key, voice):
            return
        label = pins.label(key)
        if label is None:
            pins.pin(key, voice)  # unpinned at this very moment
        elif label != voice and self._ours(label) and label not in self._owners.get(key, ()):
            pins.relabel(key, voice)

    def _own(self, key: str, voice: str) -> None:
        self._owners.setdefault(key, set()).add(voice)
        self._keys.setdefault(voice, set()).add(key)

    def _ours(self, label: str) -> bool:
        return any(label.startswith(folder.rstrip("/") + "/") for folder in self._ledgers)

    def _ledger(self, voice: str) -> Ledger:
        inside = [f for f in self._ledgers if voice.startswith(f.rstrip("/") + "/")]
        return self._ledgers[max(inside, key=len)]


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
