"""The transcription service over HTTP: without a cache, with the published recipe, and with ours.

    python -m tools.bench.service            # some four minutes
    python -m tools.bench.service --quick

Starts the service of tests/hosts/transcription three times and a Redis server, all on loopback
ports. Clients upload recordings as fast as they are answered, some of them again and again.
"""

from __future__ import annotations

import random
import statistics
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stepaudio_cas.units import show_seconds
from tests.hosts.speech import write_speech
from tests.hosts.transcribing import HOST, Client, Service
from tests.support.redis_server import RedisServer
from tools.bench.bars import REQUIRED_SHARE, Bar
from tools.bench.fleet import in_threads
from tools.bench.report import make_table
from tools.bench.sampling import Pairs, spread
from tools.bench.section import Section, ratio_bar, run

if TYPE_CHECKING:
    from tools.bench.libraries import Libraries
    from tools.bench.scale import Scale

CLIENTS: Final = 10
"""As many as the recipe has connections for: with more, it raises errors."""
SECONDS: Final = 6
"""Length of a recording."""

REPEATS: Final = (0.0, 0.5, 0.8, 1.0)
PUBLISHED: Final = {0.0: 14.2, 0.5: 28.5, 0.8: 71.0, 1.0: 1000.0}
"""Requests a second that the recipe was published with."""

PLAIN: Final = "no cache"
RECIPE: Final = "the published recipe"
OURS: Final = "stepaudio-cas"
ALIKE: Final = 8
"""Pairs of recordings that begin with the same 20 ms."""

_HEADER: Final = 44
_KNOWN: Final = 16
_ONLY_REPEATS: Final = 10
_RECIPE: Final = Path(__file__).with_name("service_recipe.py")


class Block(NamedTuple):
    """Requests that were made in one go: how long they took, together and each."""

    seconds: float
    latencies: list[float]

    @property
    def each(self) -> float:
        """The time that the service took for one."""
        return self.seconds / len(self.latencies)


class Load:
    """What clients upload. A number makes a recording another one, from its first samples on."""

    def __init__(self, recording: bytes) -> None:
        self._recording, self._new = recording, _KNOWN

    def make(self, number: int) -> bytes:
        """Return the recording of a number."""
        return b"".join(
            (self._recording[:_HEADER], struct.pack("<q", number), self._recording[_HEADER + 8 :])
        )

    def known(self) -> list[bytes]:
        """Return those that are asked for again and again."""
        return [self.make(number) for number in range(_KNOWN)]

    def alike(self, number: int) -> tuple[bytes, bytes]:
        """Return two that begin alike, and then say different things."""
        first = self.make(-1 - number)
        half = len(first) // 2 & ~1
        return first, first[: _HEADER + 2048] + first[half:] + first[_HEADER + 2048 : half]

    def requests(self, share: float, new: int) -> list[bytes]:
        """Return requests in the order they are made in, `share` of them for what is known."""
        known = self.known()
        fresh = [] if share == 1 else [self.make(self._new + at) for at in range(new)]
        self._new += len(fresh)
        repeated = new * _ONLY_REPEATS if share == 1 else round(new * share / (1 - share))
        mixed = fresh + [known[at % len(known)] for at in range(repeated)]
        random.Random(self._new).shuffle(mixed)
        return mixed


def drive(service: Service, requests: list[bytes]) -> Block:
    """Have all clients make requests until there are no more."""
    queue: SimpleQueue[bytes] = SimpleQueue()
    for request in requests:
        queue.put(request)
    clients = [Client(service.url) for _ in range(CLIENTS)]
    started = 0.0

    def work(number: int) -> list[float]:
        latencies = []
        while True:
            try:
                recording = queue.get_nowait()
            except Empty:
                return latencies
            begin = time.perf_counter()
            clients[number].transcribe(recording, language="en")
            latencies.append(time.perf_counter() - begin)

    def set_off() -> None:
        nonlocal started
        started = time.perf_counter()

    found = in_threads(CLIENTS, work, set_off)
    took = time.perf_counter() - started
    for client in clients:
        client.close()
    return Block(took, [latency for latencies in found for latency in latencies])


def measure(folder: Path, scale: Scale, libraries: Libraries) -> dict[str, Any]:
    """Start everything, and measure all of it in turns."""
    for name in ("fastapi", "funasr_onnx", "onnxruntime", "redis", "sentencepiece", "uvicorn"):
        if libraries.load(name) is None:
            raise SystemExit(f"bench service: pip install {name}")
    model = folder / "model"
    size = "tiny" if scale.name == "tiny" else "demo"
    subprocess.run([sys.executable, HOST / "make_model.py", model, "--size", size], check=True)
    load = Load(Path(write_speech(folder / "a.wav", SECONDS, rate=16000)).read_bytes())
    with ExitStack() as stack:
        server = stack.enter_context(closing(RedisServer(appendonly="no")))
        server.start()
        starts: dict[str, dict[str, Any]] = {
            PLAIN: {},
            RECIPE: {"program": (_RECIPE,), "REDIS_URL": server.url},
            OURS: {"STEPAUDIO_CAS": folder / "store", "STEPAUDIO_CAS_LOG": "error"},
        }
        services = {}
        for name, how in starts.items():
            log = folder / f"{len(services)}.log"
            services[name] = stack.enter_context(Service(model, log, **how))
            drive(services[name], load.known())
        return {
            "rows": _rows(services, load, scale),
            "alike": {name: _alike(service, load) for name, service in services.items()},
            "pairs_alike": ALIKE,
            "clients": CLIENTS,
            "recording_bytes": len(load.make(0)),
        }


def _rows(services: dict[str, Service], load: Load, scale: Scale) -> list[dict[str, Any]]:
    """Measure blocks of all kinds in turns, each cached one beside one without a cache."""
    kinds = [(name, share) for name in (RECIPE, OURS) for share in REPEATS]
    plain: dict[tuple[str, float], list[Block]] = {kind: [] for kind in kinds}
    cached: dict[tuple[str, float], list[Block]] = {kind: [] for kind in kinds}
    new = scale.calls
    for turn in range(scale.runs):
        for name, share in kinds if turn % 2 else reversed(kinds):
            plain[name, share].append(drive(services[PLAIN], load.requests(0.0, new)))
            cached[name, share].append(drive(services[name], load.requests(share, new)))
    return [
        _row(name, share, cached[name, share], plain[name, share], cached[RECIPE, share])
        for name, share in kinds
    ]


def _row(
    name: str, share: float, blocks: list[Block], plain: list[Block], recipe: list[Block]
) -> dict[str, Any]:
    """Compare blocks with those without a cache at the same moments, and with the recipe's."""
    latencies = [latency for block in blocks for latency in block.latencies]
    beside = Pairs([b.each for b in blocks], [p.each for p in plain])
    ideal = Pairs([b.each for b in blocks], [(1 - share) * p.each for p in plain])
    against = Pairs([b.each for b in blocks], [r.each for r in recipe])
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "service": name,
        "repeated": share,
        "per_second": 1 / spread([block.each for block in blocks]).median,
        "plain_per_second": 1 / spread([block.each for block in plain]).median,
        "speedup": 1 / beside.ratio.median,
        "over_ideal": ideal.ratio._asdict() if share < 1 else None,
        "over_recipe": against.ratio._asdict(),
        "latency_seconds": {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]},
        "requests": len(latencies),
    }


def _alike(service: Service, load: Load) -> int:
    """Count the recordings that are answered with the text of another one that begins alike."""
    wrong = 0
    with closing(Client(service.url)) as client:
        for number in range(ALIKE):
            first, second = (client.transcribe(data, language="en") for data in load.alike(number))
            wrong += first == second
    return wrong


def judge(figures: dict[str, Any]) -> list[Bar]:
    """Hold what was measured against the bars."""
    bars = []
    for row in figures["rows"]:
        if row["service"] != OURS:
            continue
        share = f"{row['repeated']:.0%} repeats"
        if row["over_ideal"] is not None:
            name = f"time / ideal time, {share}"
            bars.append(ratio_bar(name, row["over_ideal"], 1 / REQUIRED_SHARE))
        else:
            bars.append(ratio_bar(f"time / {RECIPE}, {share}", row["over_recipe"], 1.0))
    wrong = figures["alike"][OURS]
    bars.append(Bar("recordings answered with the text of another one", wrong, 0, wrong == 0))
    return bars


def render(figures: dict[str, Any]) -> str:
    """Write the tables."""

    def row(found: dict[str, Any]) -> tuple[str, ...]:
        share, over = found["repeated"], found["over_ideal"]
        ideal = f"{1 / (1 - share):.0f} x" if share < 1 else "-"
        reached = f"{1 / over['median']:.0%}" if over is not None else "-"
        return (
            f"{found['service']}, {share:.0%}",
            f"{found['per_second']:.1f}",
            f"{found['speedup']:.2f} x",
            ideal,
            reached,
            *(show_seconds(found["latency_seconds"][at]) for at in ("p50", "p95", "p99")),
            f"{PUBLISHED[share] / PUBLISHED[0.0]:.1f} x" if found["service"] == RECIPE else "",
        )

    header = (
        "service, repeats", "requests/s", "of no cache", "ideal", "reached", "p50", "p95", "p99",
        "published",
    )  # fmt: skip
    plain = spread([row["plain_per_second"] for row in figures["rows"]])
    wrong = "; ".join(f"{name}: {count}" for name, count in figures["alike"].items())
    about = (
        f"{figures['clients']} clients, {figures['recording_bytes']:,} bytes a recording;"
        f" {PLAIN}: {plain.median:.1f} requests a second ({plain.low:.1f}-{plain.high:.1f})."
    )
    alike = (
        f"Of {figures['pairs_alike']} recordings that begin with the same 20 ms as the one"
        f" before, so many were answered with its text: {wrong}."
    )
    return "\n\n".join([about, make_table(header, map(row, figures["rows"])), alike])


SECTION: Final = Section(
    "service", "Measure the transcription service over HTTP.", measure, judge, render
)

if __name__ == "__main__":
    sys.exit(run(SECTION))
