"""Pins: keys that nobody removes unasked.

That a pin exists is what counts; what it says is for people.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.errors import Damaged
from stepaudio_cas.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepaudio_cas.store.backend import Backend

_MAX_BYTES: Final = 1 << 16


class Pin(NamedTuple):
    """Since when a key is pinned, and as what; both empty if nobody has said."""

    since: str = ""
    label: str = ""


def pin(
    backend: Backend, key: str, *, label: str = "", clock: Callable[[], float] = time.time
) -> bool:
    """Pin a key; return whether it was not pinned before."""
    return backend.put(layout.pin_path(key), _document(label, clock), create=True)


def relabel(
    backend: Backend, key: str, label: str, *, clock: Callable[[], float] = time.time
) -> None:
    """Pin a key under another label."""
    backend.put(layout.pin_path(key), _document(label, clock))


def _document(label: str, clock: Callable[[], float]) -> bytes:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock()))
    return json.dumps({"label": label, "since": since}, separators=(",", ":")).encode()


def unpin(backend: Backend, key: str) -> bool:
    """Take the pin away; return whether there was one."""
    return backend.delete(layout.pin_path(key))


def read_pin(backend: Backend, key: str) -> Pin | None:
    """Return the pin of a key, or None if it is not pinned."""
    try:
        data = backend.get(layout.pin_path(key), limit=_MAX_BYTES)
    except Damaged:
        return Pin()
    if data is None:
        return None
    try:
        document = json.loads(data)
        return Pin(str(document["since"]), str(document["label"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Pin()


class PinsOf:
    """The pins of one store, for who keeps them in step with files."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def pin(self, key: str, label: str) -> bool:
        """Pin a key; return whether it was not pinned before."""
        return pin(self._backend, key, label=label)

    def label(self, key: str) -> str | None:
        """Return what the pin of a key says, or None if it is not pinned."""
        found = read_pin(self._backend, key)
        return found.label if found is not None else None

    def relabel(self, key: str, label: str) -> None:
        """Have the pin of a key say something else."""
        relabel(self._backend, key, label)

    def unpin(self, key: str) -> None:
        """Take the pin of a key away."""
        unpin(self._backend, key)
