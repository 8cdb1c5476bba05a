"""One folder: how changes in it are heard of, and when it is looked at as a whole.

Looking at all of it finds what no event has told: always where there are none, and now and then
elsewhere. Polling never takes more than a two-hundredth of a processor's time.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.errors import CasError
from stepaudio_cas.prewarm import folder as folders
from stepaudio_cas.prewarm.desk import SETTLING
from stepaudio_cas.prewarm.events import observe
from stepaudio_cas.prewarm.mounts import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stepaudio_cas.prewarm.desk import Desk
    from stepaudio_cas.prewarm.events import Bell, Hint, Observation
    from stepaudio_cas.prewarm.folder import Scan

EVENTS: Final = "events"
POLLING: Final = "polling"
_PROBE: Final = ".stepaudio-cas"
_SHARE: Final = 200
_MISSED: Final = 3
"""So many times may something be found that no event has told of."""

_TRUST: Final = 5.0
"""After so many seconds an event is not late any more, it is missing."""


class Pace(NamedTuple):
    """Seconds between two looks at a folder: when polling; and with events, first and longest."""

    polling: float = 2.0
    first: float = 5.0
    longest: float = 300.0
    trust: float = _TRUST


class Watched:
    """A folder that is watched. Begin with `start`; call `look` when `due`."""

    def __init__(
        self,
        folder: str,
        bell: Bell,
        *,
        pace: Pace,
        tell: Callable[..., None],
        apart: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.mode, self.why = folder, POLLING, ""
        self.trouble = ""
        """Why the folder cannot be seen, if so: nothing in it is taken for removed then."""
        self.unread: dict[str, str] = {}
        self.odd: dict[str, str] = {}
        """What is named like a recording and is none, with what it is."""
        self.scanned = False
        self.due = 0.0
        self._bell, self._pace, self._tell, self._clock = bell, pace, tell, clock
        self._apart = apart
        self._gap = pace.first
        self._cost = 0.0
        self._observed: Observation | None = None
        self._root: tuple[int, int] | None = None
        self._probe, self._answer_by = "", math.inf
        self._unheard: dict[str, float] = {}
        self._missed, self._looked = 0, -math.inf

    def start(self, *, poll: bool = False) -> None:
        """Find out whether events arrive, and listen."""
        self._root = folders.identity(self.folder)
        mount = silent(self.folder)
        if poll:
            self._poll("as told", error=False)
        elif mount:
            self._poll(f"no events come from {mount}", error=False)
        else:
            self._listen()

    def stop(self) -> None:
        """Stop listening."""
        if self._observed is not None:
            self._observed.end()
            self._observed = None

    def present(self) -> bool:
        """Tell whether the folder is the one that we know, so that what is not in it is gone."""
        return self._root is not None and folders.identity(self.folder) == self._root

    def hear(self, hint: Hint, desk: Desk) -> None:
        """Take a hint."""
        if hint.path == self._probe:
            self._answer_by = math.inf
            return
        self._unheard.pop(hint.path, None)
        soon = self._clock() + max(self._cost * 20, 0.05)
        if hint.tree or hint.path == self.folder:
            self.due = min(self.due, max(soon, self._looked + self._cost * 20))
            return
        self._gap = self._pace.first
        self.due = min(self.due, self._clock() + self._gap)
        desk.hint(self.folder, hint.path, closed=hint.closed)

    def check(self) -> None:
        """Give up on events that should have arrived by now."""
        now = self._clock()
        if self._observed is not None and not self._observed.alive:
            self.stop()
            self._listen()
            self.due = now
        if now >= self._answer_by:
            self._answer_by = math.inf
            self._poll("the one that was provoked did not arrive")
        late = [path for path, since in self._unheard.items() if now - since > self._pace.trust]
        if late:
            self._unheard.clear()
            self._missed += 1
            if self._missed >= _MISSED:
                self._poll(f"changes were found that none told of, the last {late[0]}")

    def next(self) -> float:
        """Say when something is to be done here next."""
        late = min(self._unheard.values(), default=math.inf) + self._pace.trust
        return min(self.due, self._answer_by, late)

    def look(self, desk: Desk, known: Iterable[str] = ()) -> None:
        """Look at all of it, and hint at what is not as it was. `known`: what was there once."""
        started, now = time.thread_time(), self._clock()
        found = folders.scan(self.folder, self._apart)
        if self._seen(found):
            self._compare(found, desk, known, now)
            self.scanned = True
        self._looked = self._clock()
        self._cost = time.thread_time() - started
        if self.mode == POLLING or found.linked or self.trouble:
            gap = self._pace.polling
        else:
            gap, self._gap = self._gap, min(self._gap * 2, self._pace.longest)
        self.due = self._looked + max(gap, self._cost * _SHARE)

    def _seen(self, found: Scan) -> bool:
        """Tell whether this can be what has become of the folder, and not just another one."""
        empty = not found.voices and not found.others
        if found.root is None or self.folder in found.unread:
            trouble = found.unread.get(self.folder, "it is not there")
        elif found.root != self._root and empty and self.scanned:
            trouble = "an empty folder stands in its place: is it not mounted?"
        else:
            trouble = ""
        if trouble and trouble != self.trouble:
            self._tell(
                f"{self.folder}: {trouble}; nothing is unpinned until it is back", error=True
            )
        elif self.trouble and not trouble:
            self._tell(f"{self.folder} is back", error=True)
        self.trouble = trouble
        if trouble:
            return False
        if found.root != self._root:  # another folder: what we listened to is gone
            self._root = found.root
            if self._observed is not None:
                self.stop()
                self._listen()
        return True

    def _tell_of(self, found: Scan) -> None:
        """Say what was not looked at, once."""
        for place, why in found.unread.items():
            if self.unread.get(place) != why:
                text = f"{place} cannot be read: {why}; what is in it stays as it was"
                self._tell(text, error=True)
        for path, what in found.odd.items():
            if self.odd.get(path) != what:
                self._tell(f"{path} is left out: {what}", voice=path, state=folders.OTHER)
        self.unread, self.odd = found.unread, found.odd

    def _compare(self, found: Scan, desk: Desk, known: Iterable[str], now: float) -> None:
        self._tell_of(found)
        heard = self.scanned and self.mode == EVENTS and not found.linked
        for path, sig in found.voices.items():
            record = desk.records.get(path)
            if record is None or (record.sig != sig and record.state != SETTLING):
                desk.hint(self.folder, path, seen=sig)
                if heard:
                    self._unheard[path] = now
        here = {path for path, record in desk.records.items() if record.folder == self.folder}
        for path in found.others - here:
            desk.hint(self.folder, path)
        for path in here.union(known) - found.voices.keys() - found.others:
            if not any(path.startswith((place + "/", place)) for place in found.unread):
                desk.hint(self.folder, path)

    def _listen(self) -> None:
        try:
            self._observed = observe(self.folder, self._bell)
        except CasError as error:
            self._poll(str(error))
            return
        self.mode, self.why = EVENTS, ""
        probe = os.path.join(self.folder, f"{_PROBE}-{os.getpid()}")
        with contextlib.suppress(OSError):  # where nothing can be written, time will tell
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            os.unlink(probe)
            self._probe, self._answer_by = probe, self._clock() + self._pace.trust

    def _poll(self, why: str, *, error: bool = True) -> None:
        if self._observed is not None:
            self._observed.end()
            self._observed = None
        self.mode, self.why = POLLING, why
        self.due = min(self.due, self._clock() + self._pace.polling)
        self._unheard.clear()
        self._tell(f"{self.folder} is polled: {why}", error=error)
