"""Hints that something has changed in a folder, from watchdog's observers.

An event is only a reason to look: what is true is what is found there then. Events may be lost,
doubled, late or out of order, and nothing breaks.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from typing import Any, Final, NamedTuple

from stepaudio_cas.errors import CasError

_JOIN: Final = 5.0


class Hint(NamedTuple):
    """Look at `path` in `folder`. `closed`: whoever wrote it is done. `tree`: it is a folder."""

    folder: str
    path: str
    closed: bool = False
    tree: bool = False


class Bell:
    """Takes hints from any thread, and wakes who waits on its descriptor."""

    def __init__(self) -> None:
        self._hints: deque[Hint] = deque()
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)

    def fileno(self) -> int:
        """Return the descriptor that can be read once there is a hint."""
        return self._out

    @property
    def hammer(self) -> int:
        """The descriptor that wakes who waits, for `signal.set_wakeup_fd`."""
        return self._in

    def ring(self, hint: Hint | None = None) -> None:
        """Leave a hint, or only wake."""
        first = not self._hints
        if hint is not None:
            self._hints.append(hint)
        if first or hint is None:
            with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens
                os.write(self._in, b"!")

    def drain(self) -> list[Hint]:
        """Take all hints that there are."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._out, 4096):
                pass
        found = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._hints.popleft())
        return found

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._out)
        os.close(self._in)


class Observation:
    """Events that are listened to. When a thread of watchdog's has died, none come: see `alive`."""

    def __init__(self, observer: Any) -> None:
        before = set(threading.enumerate())
        self._observer = observer
        observer.start()
        self._threads = set(threading.enumerate()) - before

    @property
    def alive(self) -> bool:
        """Whether events still come."""
        return all(thread.is_alive() for thread in self._threads)

    def end(self) -> None:
        """Listen no more."""
        with contextlib.suppress(Exception):  # of a thread that is not in order
            self._observer.stop()
        self._observer.join(_JOIN)


def observe(folder: str, bell: Bell) -> Observation:
    """Have the bell rung for what changes in a folder.

    Raises `CasError` where no events are to be had, with the reason.
    """
    try:
        from watchdog import events  # noqa: PLC0415 - not for those who watch nothing
        from watchdog.observers import Observer  # noqa: PLC0415
    except ImportError:
        raise CasError("watchdog is not installed; pip install 'stepaudio-cas[watch]'") from None

    real = os.path.realpath(folder)

    class Handler:
        def dispatch(self, event: Any) -> None:
            for hint in _hints(folder, real, event):
                bell.ring(hint)

    wanted = [
        *(events.FileCreatedEvent, events.FileModifiedEvent, events.FileClosedEvent),
        *(events.FileMovedEvent, events.FileDeletedEvent),
        *(events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent),
        *filter(None, [getattr(events, "FileAttribEvent", None)]),  # once a part of "modified"
    ]
    try:
        observer = Observer()
        observer.schedule(Handler(), real, recursive=True, event_filter=wanted)
        return Observation(observer)
    except OSError as error:
        text = error.strerror or str(error)
        raise CasError(f"{text}; see sysctl fs.inotify") from None


def _hints(folder: str, real: str, event: Any) -> list[Hint]:
    """Say what an event hints at; its paths begin with where the folder really is."""
    tree, kind = bool(event.is_directory), event.event_type
    found = [(event.src_path, kind == "closed")]
    if kind == "moved":
        found.append((event.dest_path, True))
    return [
        Hint(folder, folder + os.fsdecode(path)[len(real) :], closed=closed, tree=tree)
        for path, closed in found
        if path and os.fsdecode(path).startswith(real)
    ]
