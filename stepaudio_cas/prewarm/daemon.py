"""The loop that keeps a store in step with folders: hear, look, encode, pin, say how it goes."""

from __future__ import annotations

import contextlib
import math
import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.prewarm.copies import Copies
from stepaudio_cas.prewarm.desk import WAITING, Desk, Retry
from stepaudio_cas.prewarm.encode import FAILED, NEW, Encoding, Outcome
from stepaudio_cas.prewarm.events import Bell
from stepaudio_cas.prewarm.outage import Patience, Stores
from stepaudio_cas.prewarm.progress import Progress
from stepaudio_cas.prewarm.settle import Settle
from stepaudio_cas.prewarm.state import STOPPED
from stepaudio_cas.prewarm.voices import SUFFIXES, Voice
from stepaudio_cas.prewarm.watched import Pace, Watched
from stepaudio_cas.prewarm.workers import Lost, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepaudio_cas.prewarm.desk import Record
    from stepaudio_cas.prewarm.keeping import Keeping
    from stepaudio_cas.prewarm.shelf import Shelf
    from stepaudio_cas.prewarm.state import Place

_AGAIN: Final = 5.0
"""Seconds until a host that could not be loaded is loaded again."""

_PATIENT: Final = 60.0
"""Pins are taken away when nothing else is to be done, or after so many seconds."""

_KNOWN: Final = "recordings are " + " ".join(sorted(SUFFIXES))


class Plan(NamedTuple):
    """How to go about it. Times are seconds; `limit` is how long a voice may take.

    Every `losses` seconds it is looked whether stores still have what they had.
    """

    settle: Settle = Settle()
    retry: Retry = Retry()
    patience: Patience = Patience()
    pace: Pace = Pace()
    poll: bool = False
    jobs: int = 1
    limit: float = 900.0
    beat: float = 10.0
    losses: float = 300.0
    once: bool = False
    show: bool = False


class Say(Protocol):
    """Tells people and programs what happens; `facts` say it to programs."""

    def __call__(self, text: str, *, error: bool = False, **facts: Any) -> None: ...


class Daemon:
    """Watches folders. `load` makes the host, in another process.

    Without `keeping` nothing is pinned. `stores` are where the host keeps voices, in its order.
    `run` returns when `stop` has been called, after what is in hand is finished.
    """

    def __init__(
        self,
        places: Sequence[Place],
        load: Callable[[], Any],
        keeping: Keeping | None,
        *,
        plan: Plan,
        say: Say,
        stores: Sequence[Shelf],
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.bell = Bell()
        self._load, self._keeping, self._plan, self._say = load, keeping, plan, say
        tell = lambda text: say(text, error=True)  # noqa: E731
        self._watched = {
            place.folder: Watched(
                place.folder, self.bell, pace=plan.pace, tell=say, apart=place.apart
            )
            for place in places
        }
        self.desk = Desk(
            plan.settle,
            plan.retry if not plan.once else Retry(0),
            present=lambda folder: self._watched[folder].present(),
        )
        self._progress = Progress(
            places, self._watched, self.desk, every=plan.beat, facts=facts or {}, tell=tell
        )
        self._stores = Stores(
            stores, keeping, ring=self.bell.ring, say=say,
            patience=plan.patience._replace(once=plan.once),
            lost=self.desk.lost, every=plan.losses,
        )  # fmt: skip
        self._states = places[0].states
        self._workers = self._new_workers()
        self._began: dict[str, float] = {}
        self._killed: set[str] = set()
        self._loaded = self._ever = False
        self._load_at, self._unloaded = 0.0, ""
        self._loose_since = math.inf
        self._stopping = False
        self.unwritten = 0

    def stop(self) -> None:
        """Have `run` return; to be called in any thread, or by a signal."""
        self._stopping = True
        self.bell.ring()

    def run(self) -> None:
        """Watch. Raises `CasError` if the host cannot be loaded the first time."""
        try:
            for watched in self._watched.values():
                watched.start(poll=self._plan.poll)
            self._progress.beat()
            while not self._stopping and not (self._plan.once and self._all_done()):
                self._turn()
            self._finish()
        finally:
            for watched in self._watched.values():
                watched.stop()
            self._workers.finish(now=True)
            for path in list(self.desk.in_hand):
                self.desk.put_back(path)
            self._note()
            self._progress.beat(status=STOPPED)
            self._stores.close()
            self.bell.close()

    def _turn(self) -> None:
        done = self._hear(self._timeout())
        for hint in self.bell.drain():
            self._watched[hint.folder].hear(hint, self.desk)
        for folder, watched in self._watched.items():
            watched.check()
            if time.monotonic() >= watched.due:
                watched.look(self.desk, self._keeping.voices(folder) if self._keeping else ())
        self._advance()
        for voice, outcome in done:
            self._returned(voice.label, outcome)
        self._stores.turn()
        self._feed()
        self._end_what_hangs()
        self._sweep()
        self._note()
        self._progress.beat_if_due(self._in_hand())

    def _note(self) -> None:
        """Have the state say what keeps us from going on."""
        self._progress.trouble = "; ".join(filter(None, (self._unloaded, self._stores.trouble)))
        if self._keeping is not None:
            self._progress.unpinned, self._progress.owed = (
                self._keeping.unpinned,
                self._keeping.owed,
            )

    def _timeout(self) -> float:
        now = time.monotonic()
        due = [
            self.desk.next_due(),
            self._progress.due,
            self._stores.due,
            *(w.next() for w in self._watched.values()),
        ]
        due += [began + self._plan.limit for began in self._began.values()]
        if self._keeping is not None and self._keeping.loose:
            due.append(0.0 if self.desk.tried else self._loose_since + _PATIENT)
        if self._load_at > now:
            due.append(self._load_at)
        return max(0.0, min(due) - now)

    def _hear(self, timeout: float) -> list[tuple[Voice, Outcome | Lost]]:
        try:
            done = self._workers.hear(timeout, (self.bell.fileno(),))
        except CasError as error:
            self._unloadable(error)
            return []
        if not self._loaded and self._workers.loaded:
            self._loaded = self._ever = True
            self._unloaded = ""
            self._say("the host is loaded")
        return done

    def _unloadable(self, error: CasError) -> None:
        """Go on without a host for a while, if there has been one before."""
        if isinstance(error, SettingError) or not self._ever:
            raise error
        self._say(f"{error}; trying again", error=True)
        self._unloaded, self._load_at = str(error), time.monotonic() + _AGAIN
        for path in list(self.desk.in_hand):
            self.desk.put_back(path)
        self._workers.finish(now=True)
        self._workers, self._loaded = self._new_workers(), False

    def _new_workers(self) -> Workers[Voice, Outcome]:
        copies = Copies()
        return Workers(
            self._load,
            Encoding(whole=True, apart=True, copies=copies.folder, patient=True),
            self._plan.jobs,
            show=self._plan.show,
            copies=copies,
        )

    def _advance(self) -> None:
        changes = self.desk.advance()
        for gone in changes.gone:
            if self._keeping is not None:
                self._keeping.leave(gone.path)
            if gone.before:
                self._say(f"{gone.path} is gone", voice=gone.path, state="gone")
        for path in changes.others:
            self._say(f"{path} is left out; {_KNOWN}", voice=path, state="other")
        for path in changes.failed:
            self._failed(self.desk.records[path], self.desk.records[path].why)

    def _returned(self, path: str, outcome: Outcome | Lost) -> None:
        self._began.pop(path, None)
        if isinstance(outcome, Lost):
            why = outcome.why
            if path in self._killed:
                why = f"it took longer than {self._plan.limit:g} seconds"
            outcome = Outcome(path, FAILED, why)
        self._killed.discard(path)
        record = self.desk.returned(path)
        if outcome.store:
            self._refused(outcome.store, outcome.why, record)
            return
        if outcome.state == NEW:
            self._stores.worked()
        if record is None:  # changed meanwhile, or gone
            return
        if outcome.state != FAILED and self._keeping is not None:
            if outcome.state == NEW and self._keeping.believed(outcome.keys):
                self._stores.suspect()
            try:
                self._keeping.hold(path, outcome.keys)
            except OSError as error:
                self._refused(self._states, f"{type(error).__name__}: {error}", record)
                return
        if outcome.state == FAILED:
            wait = self.desk.failed(record, outcome.why)
            self._failed(record, outcome.why, wait)
            return
        again = "; this time it worked" if record.attempts else ""
        self.desk.done(record)
        self._progress.encoded(outcome.state)
        self._say(
            f"{path}: {outcome.state}{again}",
            voice=path, state=outcome.state, keys=list(outcome.keys),
            seconds=round(outcome.seconds, 3),
        )  # fmt: skip

    def _refused(self, store: str, why: str, record: Record | None) -> None:
        """Have a voice wait that a store did not take; and all others, until it does."""
        self._stores.failed(store, why)
        if record is None:
            return
        self.desk.put_off(record)
        self._say(
            f"{record.path} {'is not kept by' if self._plan.once else 'waits for'} {store}: {why}",
            error=True, voice=record.path, state=WAITING, why=why,
        )  # fmt: skip

    def _failed(self, record: Record, why: str, wait: float = 0.0) -> None:
        """Name a file that failed. What it was before is not in the folder any more."""
        self._progress.failures += 1
        if self._keeping is not None:
            self._keeping.leave(record.path)
        when = f"again in {wait:.0f} s" if wait != math.inf else "again when it changes"
        when = "--once does not try it again" if self._plan.once else when
        self._say(
            f"{record.path} failed: {why}; {when}",
            error=True, voice=record.path, state=FAILED, why=why, attempts=record.attempts,
        )  # fmt: skip

    def _feed(self) -> None:
        if time.monotonic() < self._load_at:
            return
        room = self._stores.room(2 * self._plan.jobs)
        if self._workers.pending > room:
            self._take_back()
        while self._workers.pending < room:
            path = self.desk.take()
            if path is None:
                if self.desk.calm:  # nobody is left to show whether a store works
                    self._stores.worked()
                break
            self._workers.give(Voice(path))

    def _take_back(self) -> None:
        """Give no voice to the host that it has not begun with."""
        self._workers.drop()
        begun = {voice.label for voice in self._workers.in_hand}
        for path in self.desk.in_hand.keys() - begun:
            self.desk.put_back(path)

    def _in_hand(self) -> dict[str, float]:
        now = time.monotonic()
        at = [voice.label for voice in self._workers.in_hand]
        self._began = {path: self._began.get(path, now) for path in at}
        return self._began

    def _end_what_hangs(self) -> None:
        limit = time.monotonic() - self._plan.limit
        for path, began in self._in_hand().items():
            if began <= limit and path not in self._killed:
                self._killed.add(path)
                self._workers.kill(Voice(path))

    def _sweep(self) -> None:
        """Take pins away once it is clear that no file has only moved."""
        keeping, now = self._keeping, time.monotonic()
        if keeping is None or not keeping.loose:
            self._loose_since = math.inf
            return
        self._loose_since = min(self._loose_since, now)
        if self.desk.tried or now - self._loose_since > _PATIENT:
            self._loose_since = math.inf
            self._sweep_now(keeping)

    def _sweep_now(self, keeping: Keeping) -> None:
        try:
            keeping.sweep()
        except OSError as error:
            self._stores.failed(self._states, f"{type(error).__name__}: {error}")

    def _all_done(self) -> bool:
        seen = all(watched.scanned or watched.trouble for watched in self._watched.values())
        calm = self.desk.calm or (self._stores.hopeless and not self._in_hand())
        return seen and calm and not (self._keeping is not None and self._keeping.loose)

    def _finish(self) -> None:
        """Finish what is in hand, and keep it."""
        self._workers.drop()
        if self._in_hand():
            self._say("finishing what is in hand; again to stop at once")
        while self._workers.in_hand:
            due = [self._progress.due, *(at + self._plan.limit for at in self._began.values())]
            for voice, outcome in self._hear(max(0.0, min(due) - time.monotonic())):
                self._returned(voice.label, outcome)
            self.bell.drain()
            self._end_what_hangs()
            self._progress.beat_if_due(self._in_hand())
        for voice, outcome in self._workers.finish():
            self._returned(voice.label, outcome)
        self.unwritten = self._workers.unwritten
        if self._keeping is not None and self._keeping.loose:
            with contextlib.suppress(Exception):  # it is written down; the next one does it
                self._keeping.sweep()

    @property
    def troubled(self) -> bool:
        """Whether something has not been done that should have been."""
        trouble = any(watched.trouble for watched in self._watched.values())
        trouble = trouble or bool(self._stores.trouble)
        return bool(trouble or self.unwritten or self.desk.count("failed"))


def check_folder(path: str) -> str:
    """Return the whole path of a folder. Raises `SettingError` if there is none."""
    found = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(found):
        raise SettingError(f"{path}: there is no such folder")
    return found
