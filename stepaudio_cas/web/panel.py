"""What a panel in somebody else's page shows: a few figures, the tiers, a log of what happens.

Nothing here knows how it is drawn. Everything is text for people, to be inserted as text.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas._fork import survive_fork
from stepaudio_cas.units import show_bytes, show_seconds
from stepaudio_cas.web.figures import Figures
from stepaudio_cas.web.observer import Observer
from stepaudio_cas.web.pace import SHARE, Pace
from stepaudio_cas.web.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepaudio_cas.web.figures import Found
    from stepaudio_cas.web.source import Source

FIGURES: Final = ("Hits", "Misses", "Hit rate", "Time saved", "Entries", "Size")
TIERS: Final = ("Tier", "Store", "Hits", "Entries", "Size", "Limit", "State")
PATIENCE: Final = 2.0
"""Seconds that somebody waits for new figures before he is shown those from before."""

LINES: Final = 100
_NONE: Final = "none yet"
_UNKNOWN: Final = "unknown"
_WORKING: Final = "closed"  # as breakers have it


class View(NamedTuple):
    """What is shown."""

    figures: tuple[str, ...]
    tiers: list[list[str]]
    status: str
    log: str


class Panel:
    """Looks for whoever has the page open, and not at all while nobody has.

    The figures are found out in a thread of our own: the loop and the threads of the host's page
    never wait for a store. The log begins when the panel is made.
    """

    def __init__(self, source: Callable[[Observer], Source], *, voices: bool = True) -> None:
        self._open, self._voices = source, voices
        self._observer = Observer()
        self._observer.followed = True
        self._lines: deque[str] = deque(maxlen=LINES)
        self._source: Source | None = None
        self._after_fork()
        survive_fork(self)
        with suppress(Exception):  # it is said to whoever looks
            self._opened()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._figures: Figures | None = None
        self._asked: Future[Found] | None = None
        self._found: Mapping[str, Any] | None = None

    async def look(self) -> View:
        """Return what is known now. Never raises, and takes no longer than `PATIENCE`."""
        trouble = ""
        try:
            asked = self._ask()
            await _wait(asked)
            if asked.done():
                self._found = asked.result().figures
            else:
                trouble = "the store has not answered yet; these figures are from before"
        except Exception as error:
            trouble = str(getattr(error, "error", "") or error) or type(error).__name__
        return self._view(trouble)

    def _ask(self) -> Future[Found]:
        """Have the figures looked for, unless that goes on already."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = _begin(self._work_out)
            return self._asked

    def _work_out(self) -> Found:
        if self._figures is None:
            self._figures = Figures(self._opened(), Work(Pace(SHARE), threads=1))
        return asyncio.run(self._figures.get())

    def _opened(self) -> Source:
        if self._source is None:
            self._source = self._open(self._observer)
        return self._source

    def _view(self, trouble: str) -> View:
        found = self._found
        return View(
            (_NONE,) * len(FIGURES) if found is None else _figures(found),
            [] if found is None else _tiers(found),
            trouble or ("" if found is None else _status(found)),
            "\n".join(self._log()),
        )

    def _log(self) -> list[str]:
        with self._lock:
            happened, missing = self._observer.take()
            last = happened[-LINES + 1 :]
            missing += len(happened) - len(last)
            if missing:
                self._lines.append(f"… {missing:,} more, which nobody has looked at")
            self._lines += (_line(kind, what, voices=self._voices) for kind, what in last)
            if self._source is not None and self._source.observer is None and not self._lines:
                return ["the calls of other processes are counted; they are not told one by one"]
            return list(self._lines)


def _begin(work_out: Callable[[], Found]) -> Future[Found]:
    """Have it worked out in a thread of its own, which may hang."""
    asked: Future[Found] = Future()

    def work() -> None:
        try:
            asked.set_result(work_out())
        except BaseException as error:  # it is whoever looks that it belongs to
            asked.set_exception(error)

    threading.Thread(target=work, name="stepaudio-cas panel", daemon=True).start()
    return asked


async def _wait(asked: Future[Found]) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def wake(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(done.set)

    asked.add_done_callback(wake)
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(done.wait(), PATIENCE)


def _figures(found: Mapping[str, Any]) -> tuple[str, ...]:
    rate, limit = found["hit_rate"], found["limit"]
    size = show_bytes(found["bytes"])
    size = f"{size} of {show_bytes(limit)} ({found['bytes'] / limit:.0%})" if limit else size
    held = (_UNKNOWN, _UNKNOWN) if found["error"] else (f"{found['entries']:,}", size)
    return (
        f"{found['hits']:,}",
        f"{found['misses']:,}",
        _NONE if rate is None else f"{rate:.1%}",
        show_seconds(found["seconds_saved"]) if found["seconds_saved"] else "0 s",
        *held,
    )


def _tiers(found: Mapping[str, Any]) -> list[list[str]]:
    process = found["process"] or {}
    states = {tier["name"]: tier for tier in process.get("tiers", ())}
    memory = process.get("memory")
    lines = []
    for tier in found["tiers"]:
        name = tier["name"]
        if "store" in tier:
            state = tier["error"] or _state(states.get(name))
            sizes = tier["entries"], tier["bytes"], tier["limit"]
            if tier["error"]:
                sizes = None, None, tier["limit"]
        elif name == "memory" and memory is not None:
            state, sizes = "this process", (memory["entries"], memory["bytes"], memory["limit"])
        else:
            state, sizes = "", (None, None, None)
        entries, size, limit = sizes
        lines.append([
            name, tier.get("store", ""), f"{tier['hits']:,}",
            "" if entries is None else f"{entries:,}",
            "" if size is None else show_bytes(size),
            show_bytes(limit) if limit else "", state,
        ])  # fmt: skip
    return lines


def _state(tier: Mapping[str, Any] | None) -> str:
    if tier is None:
        return "answers"
    left = [what for what in ("reading", "writing", "locking") if tier[what] != _WORKING]
    if left:
        return f"{', '.join(left)} suspended after failures"
    return "in use" if tier["writable"] else "in use, read only"


def _status(found: Mapping[str, Any]) -> str:
    said = [f"looked at {_clock(found['time'])}", f"mode {found['mode']}"]
    process = found["process"]
    if process is not None:
        counted = (_count(process[name], name) for name in ("hits", "misses"))
        said.append(f"this process: {', '.join(counted)}")
    said += [_count(found[name], name) for name in ("bypasses", "errors") if found[name]]
    if found["error"]:
        said.append(f"{found['store']} does not answer: {found['error']}")
    return " · ".join(said)


def _count(number: float, what: str) -> str:
    one = {"hits": "hit", "misses": "miss", "bypasses": "bypass", "errors": "error"}[what]
    return f"{number:,} {one if number == 1 else what}"


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _line(kind: str, what: Mapping[str, Any], *, voices: bool) -> str:
    said = [_clock(what["time"]), f"{kind:<6}"]
    if kind in {"hit", "miss"}:
        said += [what["key"][:12], what["plugin"], what["voice"] if voices else ""]
        took = show_seconds(what["seconds"])
        if kind == "hit":
            said.append(f"{what['tier']}, {took}, saves {show_seconds(what['saved'])}")
        else:
            said.append(f"encoded in {took}" + ("" if what["ours"] else ", somebody was first"))
    elif kind == "bypass":
        said += [what["plugin"], what["reason"], what["detail"] if voices else ""]
    else:
        said += [what["kind"], what["text"] if voices else ""]
    return " ".join(" ".join(filter(None, said)).split("\n"))
