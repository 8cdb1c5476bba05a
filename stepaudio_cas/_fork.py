"""Threads, locks and sockets do not survive `fork`; what owns some is told in the child."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """Owns threads, locks or sockets, and can start over without them."""

    def _after_fork(self) -> None: ...


_alive: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def survive_fork(thing: ForkAware) -> None:
    """Have `thing._after_fork()` called in every forked child while `thing` is alive."""
    _alive.add(thing)


def _in_child() -> None:
    for thing in list(_alive):
        with contextlib.suppress(Exception):  # the others have locks to be freed of, too
            thing._after_fork()  # noqa: SLF001 - the protocol of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
