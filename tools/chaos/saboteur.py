"""Who breaks servers, in each place one fault after the other, by the seed of the run."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tools.chaos.places import Place

RESTARTED: Final = "restarted"


class Plan(NamedTuple):
    """One fault: how long there is peace before, what it is, how long it lasts."""

    peace: float
    fault: str
    lasts: float


class Fault(NamedTuple):
    """One that has been."""

    place: str
    fault: str
    begin: float
    end: float


def plans(seed: int, place: str, faults: Sequence[str], pace: float = 1.0) -> Iterator[Plan]:
    """Yield what happens to one server, for ever: each kind before any comes again."""
    chance = random.Random(f"{seed} {place}")
    while True:
        for fault in chance.sample(faults, len(faults)):
            peace, lasts = chance.uniform(0.5, 5.0), chance.uniform(1.0, 8.0)
            yield Plan(peace * pace, fault, 0.0 if fault == RESTARTED else lasts * pace)


class Saboteur:
    """Breaks each place in a thread of its own, until it is told to stop; then all are mended."""

    def __init__(self, places: Sequence[Place], seed: int, *, pace: float = 1.0) -> None:
        self._over = threading.Event()
        self.history: list[Fault] = []
        self.failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(place, seed, pace), daemon=True)
            for place in places
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Mend everything; raise what went wrong with a server that should have started."""
        self._over.set()
        for thread in self._threads:
            thread.join(120)
        if self.failures:
            raise self.failures[0]

    def _work(self, place: Place, seed: int, pace: float) -> None:
        try:
            for plan in plans(seed, place.name, sorted(place.faults), pace):
                if self._over.wait(plan.peace):
                    return
                begin, mend = place.faults[plan.fault]
                since = time.monotonic()
                begin()
                self._over.wait(plan.lasts)
                mend()
                self.history.append(Fault(place.name, plan.fault, since, time.monotonic()))
        except BaseException as error:
            self.failures.append(error)
