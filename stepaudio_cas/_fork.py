"""Threads, locks and sockets do not survive `fork`; what owns some is told in the child."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE: Final = 2.0
"""How long, in seconds, a fork waits for a library that it would break in the child."""


class ForkAware(Protocol):
    """Owns threads, locks or sockets, and can start over without them."""

    def _after_fork(self) -> None: ...


_alive: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def survive_fork(thing: ForkAware) -> None:
    """Have `thing._after_fork()` called in every forked child while `thing` is alive."""
    _alive.add(thing)


class ForkGuard:
    """Around calls into a library whose own locks a forked child would find held for ever.

    A fork waits until nobody is inside, but not for ever: a child of a fork that had to interrupt
    somebody never enters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._usable = True
        self._waited_for = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork_in_parent,
                after_in_child=self._after_fork_in_child,
            )

    @contextlib.contextmanager
    def entered(self, patience: float = PATIENCE) -> Iterator[bool]:
        """Keep others and forks out; give False, and keep nobody out, if we may not enter."""
        lock = self._lock  # a child of a fork from within has another one
        inside = self._usable and lock.acquire(timeout=patience)
        try:
            yield inside
        finally:
            if inside:
                lock.release()

    def _before_fork(self) -> None:
        self._waited_for = self._lock.acquire(timeout=PATIENCE)

    def _after_fork_in_parent(self) -> None:
        if self._waited_for:
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._usable = self._usable and self._waited_for
        self._lock = threading.Lock()


def _in_child() -> None:
    for thing in list(_alive):
        with contextlib.suppress(Exception):  # the others have locks to be freed of, too
            thing._after_fork()  # noqa: SLF001 - the protocol of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
