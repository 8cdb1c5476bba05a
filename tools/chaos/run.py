"""Conducts a run: a fleet, its servers, and the phases they go through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas.runtime import breaker
from tools.bench.machine import load
from tools.chaos import judge
from tools.chaos.places import opened
from tools.chaos.records import Board, Phase
from tools.chaos.saboteur import Saboteur
from tools.chaos.stores import look_into
from tools.chaos.worker import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tools.chaos.places import Place

ROOT: Final = Path(__file__).resolve().parents[2]
_FIRST_VOICES: Final = 20
_STEP: Final = 0.05
_PATIENCE: Final = 120.0


@dataclass(frozen=True)
class Plan:
    """How long, how many, and how fast things happen."""

    chain: tuple[str, ...] = ("redis", "s3")
    seconds: float = 180.0
    calm_seconds: float = 15.0
    seed: int = 1
    workers: int = 8
    hosts: int = 4
    passing: int = 2
    life_seconds: float = 20.0
    encode_seconds: float = 0.5
    pause_seconds: float = 0.02
    voice_every: float = 0.5
    agree: int = 20
    pace: float = 1.0
    breaker_seconds: tuple[float, float] = (breaker.FIRST_PAUSE, breaker.LONGEST_PAUSE)


SHORT: Final = Plan(
    seconds=8.0, calm_seconds=1.0, workers=4, hosts=2, passing=1, life_seconds=3.0,
    encode_seconds=0.1, voice_every=0.2, agree=5, pace=0.2, breaker_seconds=(0.3, 1.0),
)  # fmt: skip
"""Shows that everything works, and finds the worst; its times say little."""


def run(plan: Plan, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Have a fleet live through it; return all figures, and how the promises were kept."""
    started, before = time.monotonic(), load()
    with tempfile.TemporaryDirectory(prefix="stepaudio-cas-chaos-") as name:
        folder = Path(name)
        with opened(list(plan.chain), plan.seed) as places:
            say(f"{', '.join(plan.chain)} are up")
            saboteur = Saboteur(places, plan.seed, pace=plan.pace)
            board = Board(folder / "board", create=True)
            with _fleet(plan, folder, places) as fleet:
                _conduct(plan, board, saboteur, fleet, say)
            say("what is where")
            stores = _survey(plan, folder, places, say)
            sight = board.look()
            logs = judge.read_logs(folder, plan.workers, sight.first, plan.agree, sight.mended)
    figures = judge.figures(plan, logs, saboteur.history, stores)
    return {
        "plan": asdict(plan),
        "seconds": time.monotonic() - started,
        "load": [before, load()],
        "figures": figures,
        "promises": [promise.figures() for promise in judge.promises(plan, figures)],
    }


def _conduct(
    plan: Plan, board: Board, saboteur: Saboteur, fleet: _Fleet, say: Callable[[str], None]
) -> None:
    _until(fleet, lambda: fleet.all("ready"))
    board.show(voices=_FIRST_VOICES, phase=Phase.CALM)
    clock = time.monotonic()

    def go_on(seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough():
            since = time.monotonic() - clock
            board.show(
                voices=_FIRST_VOICES + int(since / plan.voice_every),
                life=int(since / plan.life_seconds),
            )
            fleet.check()
            time.sleep(_STEP)

    say(f"{plan.calm_seconds:.0f} s without faults")
    go_on(plan.calm_seconds)
    say(f"{plan.seconds:.0f} s of chaos")
    board.show(phase=Phase.CHAOS)
    saboteur.start()
    go_on(plan.seconds)
    saboteur.stop()
    say("all servers are up: recovering")
    board.show(phase=Phase.RECOVER, mended=time.monotonic())
    # As long as the longest pause of a breaker, and what it takes until somebody tries.
    go_on(plan.breaker_seconds[1] + 30.0, lambda: fleet.all("recovered"))
    say("everybody asks for the same new voices")
    board.show(phase=Phase.AGREE, first=board.look().voices)
    _until(fleet, lambda: fleet.all("agree"))
    board.show(phase=Phase.CONFIRM)
    _until(fleet, lambda: fleet.all("confirm"))
    board.show(phase=Phase.STOP)
    fleet.end()


def _until(fleet: _Fleet, enough: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not enough():
        fleet.check()
        if time.monotonic() > end:
            raise TimeoutError("the workers do not come to an end")
        time.sleep(_STEP)


class _Fleet:
    def __init__(self, folder: Path, workers: Sequence[subprocess.Popen[bytes]]) -> None:
        self._folder = folder
        self._workers = workers

    def check(self) -> None:
        """Raise if a worker has ended by itself: that is more than a broken promise."""
        for serial, worker in enumerate(self._workers):
            if worker.poll() is not None:
                text = (self._folder / f"said-{serial}").read_text(errors="replace")
                raise RuntimeError(f"worker {serial} has ended: {text[-2000:]}")

    def all(self, what: str) -> bool:
        """Tell whether every worker has said this."""
        return all((self._folder / f"{what}-{n}").exists() for n in range(len(self._workers)))

    def end(self) -> None:
        for worker in self._workers:
            if worker.wait(_PATIENCE):
                raise RuntimeError(f"a worker has ended with {worker.returncode}")


@contextmanager
def _fleet(plan: Plan, folder: Path, places: Sequence[Place]) -> Iterator[_Fleet]:
    stores = ",".join(place.url for place in places)
    environment = _environment(places)
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for serial in range(plan.workers):
            host = serial % plan.hosts
            config = Config(
                serial=serial, seed=plan.seed, folder=str(folder), host=host,
                passing=host >= plan.hosts - plan.passing, stores=stores,
                encode_seconds=plan.encode_seconds, pause_seconds=plan.pause_seconds,
                breaker_seconds=plan.breaker_seconds, agree=plan.agree,
            )  # fmt: skip
            command = [sys.executable, "-m", "tools.chaos.worker", json.dumps(config._asdict())]
            with open(folder / f"said-{serial}", "ab") as said:
                workers.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment, stderr=said, stdout=said)
                )
        yield _Fleet(folder, workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _environment(places: Sequence[Place], *, direct: bool = False) -> dict[str, str]:
    """Return the environment without what the shell has set for us or for clouds."""
    ours = ("STEPAUDIO_CAS", "AWS_", "GOOGLE_", "STORAGE_EMULATOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    for place in places:
        kept |= place.environment(direct=direct)
    return kept


def _survey(
    plan: Plan, folder: Path, places: Sequence[Place], say: Callable[[str], None]
) -> dict[str, Any]:
    """Look into every store, have `cas-tool sync` close the gaps, and look again."""
    environment = _environment(places, direct=True)
    disks = [folder / f"disk-{host}-0" for host in range(plan.hosts - plan.passing)]
    urls = {place.name: place.direct_url() for place in places}
    before = {name: look_into(url, environment) for name, url in urls.items()}
    on_disks = {disk.name: look_into(str(disk), environment) for disk in disks}
    last = places[-1].name
    said = []
    for disk in disks:
        say(f"cas-tool sync {disk.name} {urls[last]}")
        done = subprocess.run(
            [sys.executable, "-m", "stepaudio_cas", "sync", str(disk), urls[last], "--json"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        lines = done.stdout.strip().splitlines()
        said.append(
            {"code": done.returncode, "summary": json.loads(lines[-1]) if lines else done.stderr}
        )
    after = look_into(urls[last], environment)
    return {"before": before, "disks": on_disks, "last": last, "after": after, "sync": said}
