"""One encode per key at a time among the threads of this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from stepaudio_cas._fork import survive_fork

if TYPE_CHECKING:
    from stepaudio_cas.artifact.fresh import Ready


class Flight:
    """One key being worked on. Its leader lands it; the others wait."""

    __slots__ = ("_flying", "leader", "ready")

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.ready: Ready | None = None
        self._flying = threading.Lock()
        self._flying.acquire()

    def wait(self, seconds: float) -> Ready | None:
        """Wait for the leader; None if it failed, or took too long."""
        if self._flying.acquire(timeout=seconds):
            self._flying.release()
        return self.ready

    @property
    def mine(self) -> bool:
        """Whether the calling thread leads it: its own encode has come back to the same key."""
        return self.leader == threading.get_ident()

    def land(self, ready: Ready | None) -> None:
        """Give the others the value, or None: they are on their own."""
        self.ready = ready
        self._flying.release()


class Flights:
    """The keys being worked on in this process."""

    def __init__(self) -> None:
        self._after_fork()
        survive_fork(self)

    def _after_fork(self) -> None:
        # Leaders of the parent do not exist in the child.
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the flight of `key`, and whether the caller has just become its leader."""
        me = threading.get_ident()
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(me)
            return flight, True

    def finish(self, key: str, flight: Flight, ready: Ready | None) -> None:
        """Land a flight that the caller leads."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        flight.land(ready)
