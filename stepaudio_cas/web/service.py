"""Everything that answers share: made once, started in the loop that serves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.prewarm import state
from stepaudio_cas.web.feed import Feed
from stepaudio_cas.web.figures import Figures
from stepaudio_cas.web.guard import Guard
from stepaudio_cas.web.misses import Misses
from stepaudio_cas.web.pace import Pace
from stepaudio_cas.web.prewarming import Prewarming
from stepaudio_cas.web.removal import Plans
from stepaudio_cas.web.spool import Spool
from stepaudio_cas.web.work import Work

if TYPE_CHECKING:
    from stepaudio_cas.web.source import Source
    from stepaudio_cas.web.tokens import Tokens

TICK: Final = 0.5
WANTED: Final = 60.0
"""Seconds that figures which cost money are taken down after somebody has asked for anything."""

MOST_AT_ONCE: Final = 50
"""So many events are sent at a time, the last ones; of the others only the number is."""

_SUMS: Final = ("hits", "misses", "bypasses", "errors", "seconds_saved")


class Service:
    """What is behind the routes.

    `pace` is that of the loop, which has to be ours then, and of the work; `aside` that of the
    work alone, in the loop of somebody else. A store that hangs holds the threads that it was asked
    in: `counting` and `pulse`, which says how everything is, have one each of their own.
    """

    def __init__(
        self,
        source: Source,
        tokens: Tokens,
        *,
        pace: Pace | None = None,
        aside: Pace | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.source = source
        self.tokens = tokens
        self.pace = Pace() if pace is None else pace
        self.guard = Guard(tokens)
        self.work = Work(aside or self.pace)
        self.rest = self.work.pace.rest
        self.counting = Work(self.work.pace, threads=1, waiting=2)
        self.pulse = Work(self.work.pace, threads=1)
        self.figures = Figures(source, self.counting)
        self.feed = Feed()
        self.misses = Misses(source, self.rest)
        self.prewarming = Prewarming(source, spool or Spool(state.default_spool()))
        self.plans = Plans(source)
        self.explaining = False
        self._asked: float | None = None
        self._turns = asyncio.Lock()
        self._ending = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: dict[str, Any] = {}

    def start(self) -> None:
        """Begin what goes on by itself, with the first request."""
        if not self._tasks:
            for work in (self._sample, self._tell):
                self.spawn(work())

    def asked(self) -> None:
        """Note that somebody asks: of a store where looking costs money, figures are for him."""
        self._asked = time.monotonic()
        self.start()

    def spawn(self, work: Any) -> None:
        """Have something go on in this loop."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Let everybody go who waits for us: to be called in the loop."""
        self._ending.set()
        self.pace.free()
        self.feed.end()

    async def stop(self) -> None:
        """End it."""
        self.end()
        for task in list(self._tasks):
            task.cancel()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for work in (self.work, self.counting, self.pulse):
            work.close()

    async def turn(self) -> None:
        """Wait until this server may go on: one after the other, so that a host is not held up."""
        async with self._turns:
            seconds = self.pace.owed()
            if seconds > 0 and not self._ending.is_set():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), min(seconds, 5.0))

    def explain(self) -> None:
        """Have the misses explained, unless that goes on already."""
        if not self.explaining and self.misses.wanting():
            self.explaining = True
            self.spawn(self._explain())

    async def _explain(self) -> None:
        try:
            await self.work.run(self.misses.explain, seconds=3600.0)
        except Exception as error:
            self.feed.publish([("error", _trouble("explain", error))])
        finally:
            self.explaining = False

    async def _sample(self) -> None:
        """Take down the figures, and tell of them who listens."""
        while not self._ending.is_set():
            wanted = self.source.near or self.feed.clients or self._asked_of_late()
            if wanted:
                await self._take_down()
            if not self._ending.is_set():  # a wait that was over just then was not cancelled
                await asyncio.sleep(self.figures.every if wanted else TICK)

    def _asked_of_late(self) -> bool:
        return self._asked is not None and time.monotonic() - self._asked < WANTED

    async def _take_down(self) -> None:
        try:
            point, before = await self.figures.sample()
            if self.feed.clients:
                grown = {name: max(round(point[name] - before[name], 6), 0) for name in _SUMS}
                if any(grown.values()):
                    self.feed.publish([("counts", {"time": point["time"], **grown})])
                watched = await self.work.run(self.prewarming.states)
                self.feed.publish(self._changes(watched))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whoever asks is told; the line has a gap
            if self.feed.clients:
                self.feed.publish([("error", _trouble("stats", error))])

    async def _tell(self) -> None:
        """Pass on what the cache of this process has done since the last time."""
        observer = self.source.observer
        while observer is not None and not self._ending.is_set():
            observer.followed = bool(self.feed.clients)
            found, missing = observer.take()
            missing += max(len(found) - MOST_AT_ONCE, 0)
            if missing:
                self.feed.publish([("skipped", {"time": time.time(), "number": missing})])
            self.feed.publish(found[-MOST_AT_ONCE:])
            await asyncio.sleep(TICK)
            await self.turn()

    def _changes(self, watched: list[dict[str, Any]]) -> list[tuple[str, Any]]:
        events: list[tuple[str, Any]] = []
        for one in watched:
            folder, news = one["folder"], (one["status"], one.get("voices"), one.get("trouble"))
            before = self._watched.get(folder)
            self._watched[folder] = news
            if before is not None and before != news:
                counts = one.get("voices") or {}
                shown = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
                said = {"time": time.time(), "folder": folder, "status": one["status"]}
                text = "; ".join(filter(None, (one["status"], shown, one.get("trouble"))))
                events.append(("prewarm", {**said, "voices": counts, "changed": text}))
        return events


def _trouble(kind: str, error: Exception) -> dict[str, Any]:
    text = str(getattr(error, "error", "") or error)
    return {"time": time.time(), "kind": kind, "text": text, "plugin": ""}
