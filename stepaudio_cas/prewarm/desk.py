"""What is known of each file, and which is to be encoded next. It does nothing by itself.

A file is `settling` while it may still be written to, then `waiting` for its turn, `working` while
a host has it, and in the end `done` or `failed`; `other` is no recording by its name. Whatever
hints at a change makes it settle again; if nothing has changed, it is what it was before.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.prewarm.folder import OTHER, PASSING, kind, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepaudio_cas.prewarm.folder import Sig
    from stepaudio_cas.prewarm.settle import Settle

SETTLING: Final = "settling"
WAITING: Final = "waiting"
WORKING: Final = "working"
DONE: Final = "done"
FAILED: Final = "failed"
_RESTING: Final = (DONE, FAILED, OTHER)
_NEVER: Final = math.inf


class Retry(NamedTuple):
    """How often a file that failed is tried again, and after how many seconds: each time double."""

    times: int = 5
    first: float = 10.0
    longest: float = 3600.0

    def after(self, attempts: int) -> float:
        """Return for how long to wait after so many failures; infinite: until the file changes."""
        if attempts > self.times:
            return _NEVER
        return min(self.first * 2.0 ** (attempts - 1), self.longest)


class Record:
    """One file: where it stands, and what it was when it was last looked at."""

    __slots__ = (
        *("attempts", "before", "closed", "due", "folder", "path", "patience", "result", "sig"),
        *("since", "state", "why"),
    )

    def __init__(self, folder: str, path: str) -> None:
        self.folder, self.path = folder, path
        self.state, self.before = "", ""
        self.sig: Sig | None = None
        self.since = 0.0
        self.closed = False
        self.due = _NEVER
        self.patience = 0
        self.result: Sig | None = None
        """What the file was when it came to be `done` or `failed`."""
        self.attempts = 0
        self.why = ""


class Changes(NamedTuple):
    """What came of looking at files: those that are gone, that are no recordings, and failed."""

    gone: list[Record]
    others: list[str]
    failed: list[str]


class Desk:
    """The files of some folders. `present` says whether a folder is there at all."""

    def __init__(
        self,
        settle: Settle,
        retry: Retry,
        *,
        present: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settle, self._retry, self._present, self._clock = settle, retry, present, clock
        self.records: dict[str, Record] = {}
        self.counts: dict[str, Counter[str]] = {}
        self.in_hand: dict[str, Sig | None] = {}
        self._due: list[tuple[float, str]] = []
        self._fresh: deque[str] = deque()
        self._again: deque[str] = deque()
        self._retried: set[str] = set()

    def count(self, *states: str) -> int:
        """Say how many files are in one of these states."""
        return sum(counts[state] for counts in self.counts.values() for state in states)

    @property
    def tried(self) -> bool:
        """Whether nothing is left but what has failed before, though it is perhaps tried again."""
        again = self._retried
        left = self.count(SETTLING, WAITING, WORKING)
        return left == len(again) and self.in_hand.keys() <= again

    @property
    def calm(self) -> bool:
        """Whether nothing is to be done but to try again later what failed."""
        return not self.in_hand and not self.count(SETTLING, WAITING, WORKING)

    def hint(
        self, folder: str, path: str, *, closed: bool = False, seen: Sig | None = None
    ) -> None:
        """Have a file looked at soon. `seen`: what somebody has just found it to be."""
        record = self.records.get(path)
        if record is None:
            if kind(folder, path) == PASSING:
                return
            record = self.records[path] = Record(folder, path)
        now = self._clock()
        if record.state not in {SETTLING, WAITING, WORKING}:
            record.before = record.state
        record.closed = closed
        if seen is not None and seen != record.sig:
            record.sig, record.since = seen, now
        self._set(record, SETTLING, now + self._settle.quick)

    def forget(self, path: str) -> None:
        """Know nothing of a file any more."""
        record = self.records.pop(path, None)
        if record is not None:
            self._count(record, "")

    def next_due(self) -> float:
        """Say when `advance` is to be called."""
        return self._due[0][0] if self._due else _NEVER

    def advance(self) -> Changes:
        """Look at the files whose time has come."""
        found, now = Changes([], [], []), self._clock()
        while self._due and self._due[0][0] <= now:
            due, path = heapq.heappop(self._due)
            record = self.records.get(path)
            if record is None or record.due != due:
                continue
            record.due = _NEVER
            if record.state == SETTLING:
                self._look(record, now, found)
            elif record.state == FAILED:
                self._set(record, WAITING)
                self._retried.add(path)
                self._again.append(path)
        return found

    def _look(self, record: Record, now: float, found: Changes) -> None:
        path = record.path
        try:
            sig = look(path)
        except (FileNotFoundError, NotADirectoryError):
            if self._present(record.folder):
                self.forget(path)
                found.gone.append(record)
            elif record.before:
                self._set(record, record.before)
            else:
                self.forget(path)
            return
        except OSError as error:
            self._fail(record, f"it cannot be looked at: {error.strerror}", found)
            return
        if sig is None:  # a folder, or a pipe
            self.forget(path)
            found.gone.append(record)
        elif sig == record.result and record.before:
            self._rest_again(record)
        elif sig != record.sig:
            record.sig, record.since = sig, now
            self._set(record, SETTLING, now + self._settle.quick)
        else:
            self._wait_or_pass(record, now, found)

    def _rest_again(self, record: Record) -> None:
        """Leave a file as it was, with what it still waits for."""
        if record.before == FAILED:
            wait = self._retry.after(record.attempts)
            self._set(record, FAILED, self._clock() + wait)
        else:
            self._set(record, record.before)

    def _wait_or_pass(self, record: Record, now: float, found: Changes) -> None:
        wait = self._settle.wait(
            record.path, now - record.since, record.patience, closed=record.closed
        )
        if wait > 0:
            self._set(record, SETTLING, now + wait)
        elif kind(record.folder, record.path) == OTHER:
            record.result = record.sig
            self._set(record, OTHER)
            if record.before != OTHER:
                found.others.append(record.path)
        else:
            if record.sig != record.result:
                record.attempts = 0
            self._set(record, WAITING)
            self._fresh.append(record.path)

    def take(self) -> str | None:
        """Take the file that is to be encoded next: those that failed come after all others."""
        for queue in (self._fresh, self._again):
            for _ in range(len(queue)):
                path = queue.popleft()
                record = self.records.get(path)
                if record is None or record.state != WAITING:
                    continue
                if path in self.in_hand:  # an earlier state of it is still being encoded
                    queue.append(path)
                    continue
                if self._changed(record):
                    self.hint(record.folder, path)
                    continue
                self.in_hand[path] = record.sig
                self._set(record, WORKING)
                return path
        return None

    def _changed(self, record: Record) -> bool:
        try:
            return look(record.path) != record.sig
        except OSError:
            return True

    def put_back(self, path: str) -> None:
        """Have a file that was taken wait again: nobody has got to it."""
        self.in_hand.pop(path, None)
        record = self.records.get(path)
        if record is not None and record.state == WORKING:
            self._set(record, WAITING)
            self._fresh.appendleft(path)

    def put_off(self, record: Record) -> None:
        """Have a file wait again, after all others: that it was not kept is not its fault."""
        self._set(record, WAITING)
        self._again.append(record.path)

    def returned(self, path: str) -> Record | None:
        """Take a file back; None if it has changed meanwhile, so that the result is worth nothing.

        It then settles again, and for longer, because it seems to have been taken too early.
        """
        sig = self.in_hand.pop(path, None)
        record = self.records.get(path)
        if record is None:
            return None
        try:
            same = look(path) == sig and record.sig == sig
        except OSError:
            same = False
        if same:
            return record
        if record.state == WORKING:
            self.hint(record.folder, path)
        record.patience += 1
        return None

    def lost(self, path: str) -> bool:
        """Have a file wait again that is not kept any more; return whether it was `done`."""
        record = self.records.get(path)
        if record is None:
            return False
        if record.state == DONE:
            self._set(record, WAITING)
            self._fresh.append(path)
        elif record.state != SETTLING or record.before != DONE:
            return False
        record.result = None
        return True

    def done(self, record: Record) -> None:
        """Note that a file is encoded."""
        record.attempts, record.patience, record.why, record.result = 0, 0, "", record.sig
        self._set(record, DONE)

    def failed(self, record: Record, why: str) -> float:
        """Note that it could not be encoded; return for how long it is left alone now."""
        record.attempts += 1
        record.why, record.result = why, record.sig
        wait = self._retry.after(record.attempts)
        self._set(record, FAILED, self._clock() + wait)
        return wait

    def failures(self) -> Iterator[Record]:
        """Yield the files that have failed."""
        if not self.count(FAILED):
            return iter(())
        return (record for record in self.records.values() if record.state == FAILED)

    def _fail(self, record: Record, why: str, found: Changes) -> None:
        self.failed(record, why)
        found.failed.append(record.path)

    def _set(self, record: Record, state: str, due: float = _NEVER) -> None:
        self._count(record, state)
        record.due = due
        if due != _NEVER:
            heapq.heappush(self._due, (due, record.path))

    def _count(self, record: Record, state: str) -> None:
        if state not in {WAITING, WORKING}:
            self._retried.discard(record.path)
        counts = self.counts.setdefault(record.folder, Counter())
        counts[record.state] -= bool(record.state)
        record.state = state
        counts[state] += bool(state)
