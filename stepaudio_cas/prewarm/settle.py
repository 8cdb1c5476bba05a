"""When a file is no longer being written.

Whoever writes a file closes it in the end; an event tells that, or the kernel when it is asked for
a lease. Where neither is to be had, as on network mounts, a file is taken for complete once its
size and times have stood still for a while. No rule is certain: what changes later is encoded
again, and waited for longer.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Writer = bool | None
"""Whether somebody has a file open for writing; None if that cannot be known."""

_STALLED: Final = 30
"""So many times as long is a file waited for that is open for writing and does not grow."""

_LONGEST: Final = 60.0
_TICK: Final = 0.001


class Settle(NamedTuple):
    """How long, in seconds, a file must stand still: when nothing is known, and when it is closed.

    `writer` is asked whether somebody has it open for writing.
    """

    seconds: float = 1.0
    writer: Callable[[str], Writer] = lambda _: None

    @property
    def quick(self) -> float:
        """How long a file must stand still that nobody writes any more."""
        return self.seconds / 10

    def wait(self, path: str, still: float, patience: int, *, closed: bool) -> float:
        """Return for how long to wait on for a file that has stood still so long; 0: no longer.

        Each time that was too early, its `patience` is one more and it has to stand still for
        twice as long. `closed` says that it was closed after its last change.
        """
        factor = float(1 << min(patience, 10))
        writer = self.writer(path)
        if writer is None:
            needed = self.quick if closed else self.seconds
        else:
            needed = self.seconds * _STALLED if writer else self.quick
        left = min(needed * factor, _LONGEST) - still
        if left <= 0:
            return 0.0
        # A writer may be done at any time, and not everywhere does an event tell.
        return max(min(left, max(still, self.quick)) if writer else left, _TICK)


def leased(path: str) -> Writer:
    """Ask the kernel whether somebody has a local file open for writing, by a lease for reading.

    The process must ignore `SIGIO`, which tells it that somebody opens the file meanwhile; who
    does so waits until we have let go, which is at once.
    """
    try:
        import fcntl  # noqa: PLC0415 - not everywhere

        take, shared, release = fcntl.F_SETLEASE, fcntl.F_RDLCK, fcntl.F_UNLCK
    except (ImportError, AttributeError):
        return None
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.fcntl(file, take, shared)
    except BlockingIOError:
        return True
    except OSError:  # not ours to ask, or a file system without leases
        return None
    else:
        with contextlib.suppress(OSError):
            fcntl.fcntl(file, take, release)
        return False
    finally:
        os.close(file)
