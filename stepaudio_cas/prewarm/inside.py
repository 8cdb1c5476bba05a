"""The same daemon in the host's own process: its live model encodes when no request is running."""

from __future__ import annotations

from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol

from stepaudio_cas.prewarm.daemon import Daemon
from stepaudio_cas.prewarm.encode import Encoding, Host, Outcome
from stepaudio_cas.prewarm.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepaudio_cas.prewarm.daemon import Plan, Say
    from stepaudio_cas.prewarm.keeping import Keeping
    from stepaudio_cas.prewarm.shelf import Shelf
    from stepaudio_cas.prewarm.state import Place
    from stepaudio_cas.prewarm.voices import Voice
    from stepaudio_cas.prewarm.workers import Lost


class Live(Host, Protocol):
    """A host that serves people."""

    @property
    def ready(self) -> bool:
        """Whether its model is loaded."""

    def take(self, seconds: float) -> bool:
        """Have it for one voice; False if it was busy all this time."""

    def give_back(self) -> None:
        """Let requests have it again."""


class Inside(Daemon):
    """Watches folders for a host in this process; `run` does everything in the thread it is in."""

    def __init__(
        self,
        places: Sequence[Place],
        host: Live,
        keeping: Keeping,
        *,
        plan: Plan,
        say: Say,
        stores: Sequence[Shelf],
        facts: dict[str, Any],
    ) -> None:
        self._host = host
        super().__init__(places, _nothing, keeping, plan=plan, say=say, stores=stores, facts=facts)

    def _new_workers(self) -> Workers[Voice, Outcome]:
        return _Here(self._host)


class _Here(Workers["Voice", Outcome]):
    """Does one voice after the other when it is waited for, and only if the host is free."""

    def __init__(self, host: Live) -> None:
        super().__init__(_nothing, Encoding(whole=True, patient=True))
        self._host = host

    @property
    def loaded(self) -> bool:
        return self._host.ready

    def give(self, item: Voice) -> None:
        self._queue.append(item)

    def hear(
        self, timeout: float | None = None, also: Sequence[int] = ()
    ) -> list[tuple[Voice, Outcome | Lost]]:
        if not self._queue or not self._host.ready:
            wait(also, timeout)
            return []
        if not self._host.take(timeout or 0.0):
            return []
        try:
            if not self._host.ready:  # it was unloaded while we waited
                return []
            voice = self._queue.popleft()
            return [(voice, self._do(self._host, voice))]
        finally:
            self._host.give_back()

    def finish(self, *, now: bool = False) -> list[tuple[Voice, Outcome | Lost]]:
        del now
        self._queue.clear()
        return []


def _nothing() -> None:
    """Stand for the loading of a host: it is there."""
