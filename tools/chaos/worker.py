"""One process of the fleet: `python -m tools.chaos.worker '{…}'`, started by the conductor.

It calls a cached encoder as a host does, one voice after the other, and takes down every run of the
encoder before its result can go anywhere, and every call with what came of it. What is right is
judged afterwards, by who has all logs.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import stepaudio_cas as cas
from stepaudio_cas.runtime import breaker
from tests.support.writers import encode, is_right
from tools.chaos.records import FOREIGN, Board, Call, Encode, Log, Phase, Sight

if TYPE_CHECKING:
    from stepaudio_cas.runtime.cache import Cache

NEWEST: Final = 12
_PULSE: Final = 0.005


class Config(NamedTuple):
    """What one worker is told. Where `passing`, its host comes and goes with its disk."""

    serial: int
    seed: int
    folder: str
    host: int
    passing: bool
    stores: str
    encode_seconds: float
    pause_seconds: float
    breaker_seconds: tuple[float, float]
    agree: int


class HostError(Exception):
    """The encoder's own: it is the host's, and goes to the host."""


class Pulse(threading.Thread):
    """Measures how long this process was not let work: how much longer it sleeps than asked."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.lost = 0.0

    def run(self) -> None:
        while True:
            before = time.monotonic()
            time.sleep(_PULSE)
            self.lost += max(0.0, time.monotonic() - before - 2 * _PULSE)


def voice(number: int) -> Any:
    """Return what stands for one voice."""
    return cas.make_recipe("chaos/1", params={"voice": number})


def source_of(number: int, value: Any) -> int:
    """Return which run of the encoder a value would come from; `FOREIGN` if it looks like none."""
    try:
        return value[0][1] if is_right(number, value) else FOREIGN
    except Exception:
        return FOREIGN


class Worker:
    """Asks for voices until the board says that it is over."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = Path(config.folder)
        self.board = Board(self.folder / "board")
        self.chance = random.Random(f"{config.seed} {config.serial}")
        self.calls = Log(self.folder / f"calls-{config.serial}", Call)
        self.encodes = Log(self.folder / f"encodes-{config.serial}", Encode)
        self.pulse = Pulse()
        self.life, self.disk = -1, 0.0
        self.cache: Cache | None = None
        self.reports: list[dict[str, Any]] = []
        self.recovered: float | None = None
        self.away: list[str] = []

    def run(self) -> None:
        self.pulse.start()
        (self.folder / f"ready-{self.config.serial}").touch()
        while (sight := self.board.look()).phase is not Phase.STOP:
            self._live(sight)
            if sight.phase in {Phase.AGREE, Phase.CONFIRM}:
                self._agree(sight)
                continue
            if sight.phase in {Phase.CALM, Phase.CHAOS, Phase.RECOVER}:
                self._call(self._pick(sight.voices), sight.phase)
            if sight.phase is Phase.RECOVER and self.recovered is None:
                self._look_around()
            time.sleep(self.chance.uniform(0.0, 2 * self.config.pause_seconds))
        self._leave()
        report = {"lives": self.reports, "recovered": self.recovered, "away": self.away}
        (self.folder / f"report-{self.config.serial}").write_text(json.dumps(report))

    def _live(self, sight: Sight) -> None:
        """Be a new host if it is time for one: without a disk, knowing nothing."""
        life = sight.life if self.config.passing else 0
        if self.cache is not None and life == self.life:
            return
        self._leave()
        self.life = life
        disk = self.folder / f"disk-{self.config.host}-{life}"
        self._open(disk)

    def _open(self, disk: Path) -> None:
        self.cache = cas.open(f"{disk},{self.config.stores}", memory="0", log="error")
        tier = self.cache.chain.tiers[0]
        attempt = tier._attempt

        def timed(*arguments: Any, **options: Any) -> Any:
            before = time.monotonic()
            try:
                return attempt(*arguments, **options)
            finally:
                if threading.current_thread() is threading.main_thread():
                    self.disk += time.monotonic() - before

        tier._attempt = timed  # type: ignore[method-assign]

    def _leave(self) -> None:
        if self.cache is not None:
            self.cache.close()
            stats = self.cache.stats()
            self.reports.append({"counters": stats["counters"], "tiers": stats["tiers"]})
            self.cache = None

    def _pick(self, voices: int) -> int:
        """Choose: often one of the newest, which others want at this moment."""
        first = max(0, voices - NEWEST) if self.chance.random() < 0.3 else 0
        return self.chance.randrange(first, voices)

    def _agree(self, sight: Sight) -> None:
        """Ask for the voices that everybody asks for now, in an order of one's own, and wait."""
        wanted = range(sight.first, sight.first + self.config.agree)
        for number in self.chance.sample(wanted, len(wanted)):
            self._call(number, sight.phase, may_raise=False)
        assert self.cache is not None
        self.cache.flush(30.0)
        (self.folder / f"{sight.phase.name.lower()}-{self.config.serial}").touch()
        while self.board.look().phase is sight.phase:
            time.sleep(0.02)

    def _look_around(self) -> None:
        assert self.cache is not None
        self.away = [
            f"{what} {tier.name} {state}"
            for tier in self.cache.chain.tiers
            for what in ("reading", "writing", "locking")
            if (state := tier.state()[what]) != "closed"
        ]
        if not self.away:
            self.recovered = time.monotonic()
            (self.folder / f"recovered-{self.config.serial}").touch()

    def _call(self, number: int, phase: Phase, *, may_raise: bool = True) -> None:
        runs: list[Encode] = []
        cache = self.cache
        assert cache is not None

        def compute() -> Any:
            nonce = self.chance.getrandbits(32)
            seconds = self.config.encode_seconds * self.chance.uniform(0.8, 1.2)
            raises = may_raise and self.chance.random() < 0.02
            begin = time.monotonic()
            time.sleep(seconds)  # a GPU is at work
            run = Encode(number, nonce, begin, time.monotonic(), raises)
            self.encodes.write(run)
            runs.append(run)
            if raises:
                raise HostError(nonce)
            return encode(number, nonce)

        new = not cache.budget._means
        lost, disk, begin = self.pulse.lost, self.disk, time.monotonic()
        nonce, wrong, raised = FOREIGN, False, False
        try:
            nonce = source_of(number, cache.get_or_compute(voice(number), compute))
            wrong = any(run.raised for run in runs)  # it was swallowed
        except HostError as error:
            raised = True
            wrong = [run.nonce for run in runs] != [error.args[0]]
        except BaseException:
            traceback.print_exc()
            raised = wrong = True
        end = time.monotonic()
        wrong = wrong or len(runs) > 1
        flags = (not runs) | new << 1 | wrong << 2 | raised << 3
        stall, disk = self.pulse.lost - lost, self.disk - disk
        self.calls.write(Call(number, nonce, begin, end, stall, disk, phase, flags))


def main() -> None:
    config = Config(**json.loads(sys.argv[1]))
    breaker.FIRST_PAUSE, breaker.LONGEST_PAUSE = config.breaker_seconds  # type: ignore[misc]
    Worker(config).run()


if __name__ == "__main__":
    main()
