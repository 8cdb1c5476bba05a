"""Object stores on this machine: cold hits beside bare GETs, and many voices at once.

    python -m tools.bench.objectstore            # about a minute
    python -m tools.bench.objectstore --quick

Starts SeaweedFS (S3) and fake-gcs-server (GCS) on loopback ports. The servers share the cores with
what is measured. GCS is for information: that server is made for tests.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import stepaudio_cas as cas
from stepaudio_cas.runtime import prefetch
from stepaudio_cas.store import layout
from stepaudio_cas.store.gcs import GcsBackend
from stepaudio_cas.store.objectstore import AT_ONCE
from stepaudio_cas.store.s3 import S3Backend
from stepaudio_cas.store.store import Store
from stepaudio_cas.units import show_seconds
from tests.support.gcs import FakeGcs
from tests.support.seaweedfs import WRITER, SeaweedFS
from tools.bench.report import make_table, pairs_table
from tools.bench.sampling import Pairs, compare, time_block
from tools.bench.section import Section, ratio_bar, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stepaudio_cas.store.http import Answer
    from stepaudio_cas.store.objectstore import ObjectStore
    from tools.bench.bars import Bar
    from tools.bench.libraries import Libraries
    from tools.bench.scale import Scale

VOICES: Final = {"full": 500, "quick": 100, "tiny": 5}
RUNS: Final = {"full": 5, "quick": 3, "tiny": 1}
DISTANCE: Final = 0.02
SCHEMA: Final = "bench/1"

HIT: Final = "a cold hit"
READ: Final = "of that, the store without the cache around it"
GET_MANY: Final = f"get_many, {AT_ONCE} at once"
PREFETCH: Final = f"prefetch to the local disk, {prefetch.AT_ONCE} at once"
OBSTORE: Final = "bare GETs by obstore"
OURS: Final = "bare GETs by our client"

MOST_HIT: Final = 1.3
MOST_MANY: Final = 1.3


class Bucket(NamedTuple):
    """Where the voices are, and their keys."""

    url: str
    kind: type[S3Backend | GcsBackend]
    keys: list[str]
    objects: list[str]

    def connect(self) -> ObjectStore:
        """Return a backend that nobody has used."""
        return self.kind(self.url)

    @property
    def paths(self) -> list[str]:
        """Name the two documents of each voice: all manifests, then all objects."""
        return [*map(layout.manifest_path, self.keys), *map(layout.object_path, self.objects)]


def measure(folder: Path, scale: Scale, libraries: Libraries) -> dict[str, Any]:
    """Measure S3, then GCS."""
    voices = VOICES[scale.name]
    with weed() as endpoint:
        bucket = fill("s3://voices/bench", S3Backend, voices)
        rivals = make_obstore(libraries, endpoint)
        s3 = {
            "cold": cold_hit(bucket, scale),
            "many": many(bucket, folder, scale, rivals),
            "clients": clients(bucket, endpoint, scale, libraries),
            "far": far_away(bucket, folder),
        }
    with gcs():
        bucket = fill("gs://voices/bench", GcsBackend, voices)
        google = {"cold": cold_hit(bucket, scale), "many": many(bucket, folder, scale, None)}
    return {"voices": voices, "s3": s3, "gcs": google}


@contextmanager
def weed() -> Iterator[str]:
    """Have an S3 server, and be its writer."""
    server = SeaweedFS()
    with closing(server), environment(
        AWS_ACCESS_KEY_ID=WRITER.access, AWS_SECRET_ACCESS_KEY=WRITER.secret,
        AWS_ENDPOINT_URL=server.url, AWS_REGION="us-east-1",
    ):  # fmt: skip
        server.start().make_bucket("voices")
        yield server.url


@contextmanager
def gcs() -> Iterator[None]:
    """Have a server for GCS."""
    server = FakeGcs()
    with closing(server), environment(STORAGE_EMULATOR_HOST=server.url):
        server.start().make_bucket("voices")
        yield


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables for a while, and no others of their kind."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def fill(url: str, kind: type[S3Backend | GcsBackend], voices: int) -> Bucket:
    """Write voices of a usual length."""

    def put(number: int) -> None:
        tokens = [n * 7919 % 1024 + number for n in range(417)]
        cache.put(recipe(number), (tokens, tokens[:167], tokens[:250]))

    cache = cas.open(url, memory="0", log="error", deadline="60s")
    with cache, ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(voices)))
    store, keys = Store(kind(url)), [recipe(n).key for n in range(voices)]
    found = [store.read(key) for key in keys]
    return Bucket(url, kind, keys, [f.manifest.object for f in found if f is not None])


def recipe(number: int) -> Any:
    """Stand for a voice."""
    return cas.make_recipe(SCHEMA, params={"voice": number})


def cold_hit(bucket: Bucket, scale: Scale) -> dict[str, Any]:
    """Compare hits on a machine that has none of the voices with their two documents, bare."""
    backend = bucket.connect()
    store, half = Store(backend), len(bucket.keys)
    pairs = list(zip(bucket.paths[:half], bucket.paths[half:], strict=True))
    recipes = [recipe(n) for n in range(half)]
    with cas.open(bucket.url, memory="0", log="off", deadline="60s") as cache:

        def bare() -> Callable[[], Any]:
            turn = cycle(pairs)
            return lambda: [backend.get(path) for path in next(turn)]

        hits, reads = cycle(recipes), cycle(bucket.keys)
        found = {
            HIT: compare(lambda: cache.get(next(hits)), bare(), scale),
            READ: compare(lambda: store.read(next(reads), touch=False), bare(), scale),
        }
        only_hits(cache)
    return {name: pairs.figures() for name, pairs in found.items()}


def only_hits(cache: cas.Cache) -> None:
    """Refuse to report times of hits that were something else."""
    stats = cache.stats()
    if stats["misses"] or stats["errors"] or not stats["hits"]:
        raise RuntimeError(f"these were not all hits: {stats['counters']}")


def many(
    bucket: Bucket, folder: Path, scale: Scale, obstore: Callable[[int, list[str]], Any] | None
) -> dict[str, Any]:
    """Fetch all voices at once, beside as many bare GETs, as many at a time."""
    backend, runs = bucket.connect(), RUNS[scale.name]
    references: dict[str, Callable[[int], Any]] = {
        OURS: lambda threads: in_threads(threads, backend.get, bucket.paths)
    }
    if obstore is not None:
        references[OBSTORE] = lambda threads: obstore(threads, bucket.paths)
    return {
        GET_MANY: {n: get_many(bucket, ask, runs).figures() for n, ask in references.items()},
        PREFETCH: {n: copy(bucket, folder, ask, runs).figures() for n, ask in references.items()},
    }


def get_many(bucket: Bucket, ask: Callable[[int], Any], runs: int) -> Pairs:
    """Compare one call that wants all voices."""
    recipes = [recipe(n) for n in range(len(bucket.keys))]
    with cas.open(bucket.url, memory="0", log="off", deadline="60s") as cache:
        pairs = alternate(runs, lambda: cache.get_many(recipes, not_needed), lambda: ask(AT_ONCE))
        only_hits(cache)
    return pairs


def copy(bucket: Bucket, folder: Path, ask: Callable[[int], Any], runs: int) -> Pairs:
    """Compare what a worker does at its start; it also writes all voices to its disk."""
    copies = Copies(bucket, folder)
    return alternate(runs, copies.run, lambda: ask(prefetch.AT_ONCE), copies.prepare)


def alternate(runs: int, subject: Any, reference: Any, before: Any = None) -> Pairs:
    """Time whole batches in turns, after one of each that is not counted."""
    pairs = Pairs([], [])
    for turn in range(runs + 1):
        steps = [(subject, pairs.subject, before), (reference, pairs.reference, None)]
        for function, times, prepare in steps if turn % 2 else reversed(steps):
            times.extend(time_block(function, 1, prepare))
    del pairs.subject[0], pairs.reference[0]
    return pairs


class Copies:
    """Prefetching to one new local store after another."""

    def __init__(self, bucket: Bucket, folder: Path, delay: float = 0.0) -> None:
        self._bucket = bucket
        self._folder = folder
        self._delay = delay

    def prepare(self) -> None:
        """Have a local store that knows nothing yet."""
        self._root = tempfile.mkdtemp(prefix="local-", dir=self._folder)
        self._cache = cas.open(f"{self._root},{self._bucket.url}", memory="0", log="off")
        if self._delay:
            self._cache.chain.tiers[1].store = Store(far(self._bucket.connect(), self._delay))

    def run(self) -> None:
        """Copy everything, as a worker does that has just started."""
        work = prefetch.Prefetch(self._cache.chain, self._cache.recorder, 1 << 30)
        work.run(threading.Event())
        counters = self._cache.stats()["counters"]
        if counters.get("promoted") != len(self._bucket.keys):
            raise RuntimeError(f"not everything was copied: {counters}")
        self._cache.close()


def not_needed(missing: list[int]) -> list[Any]:
    """Stand for an encoder that must not be asked."""
    raise AssertionError(f"{len(missing)} voices were not there")


def in_threads(threads: int, get: Callable[[str], Any], paths: list[str]) -> None:
    """Get documents, so many at a time."""
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(get, paths))
    if None in found:
        raise RuntimeError("a document was not there")


def make_obstore(libraries: Libraries, endpoint: str) -> Callable[[int, list[str]], Any] | None:
    """Return obstore's way to get many documents, in threads: faster here than in an event loop."""
    obstore = libraries.load("obstore", "obstore")
    stores = libraries.load("obstore", "obstore.store")
    if obstore is None or stores is None:
        return None
    store = stores.S3Store("voices", endpoint=endpoint, client_options={"allow_http": True})

    def get(path: str) -> bytes:
        return bytes(obstore.get(store, f"bench/{path}").bytes())

    return lambda threads, paths: in_threads(threads, get, paths)


def clients(
    bucket: Bucket, endpoint: str, scale: Scale, libraries: Libraries
) -> dict[str, dict[str, Any]]:
    """Compare one GET of a manifest, by ourselves and by the clients there are."""
    path, ours = bucket.paths[0], bucket.connect()
    rivals: dict[str, Callable[[], Any]] = {}
    obstore = libraries.load("obstore", "obstore")
    stores = libraries.load("obstore", "obstore.store")
    if obstore is not None and stores is not None:
        store = stores.S3Store("voices", endpoint=endpoint, client_options={"allow_http": True})
        rivals["obstore"] = lambda: bytes(obstore.get(store, f"bench/{path}").bytes())
    s3fs = libraries.load("s3fs")
    if s3fs is not None:
        files = s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False)
        rivals["s3fs"] = lambda: files.cat_file(f"voices/bench/{path}")
    return {
        name: compare(lambda: ours.get(path), rival, scale, slow=True).figures()
        for name, rival in rivals.items()
    }


def far(backend: ObjectStore, seconds: float) -> ObjectStore:
    """Put a server so far away."""
    client: Any = backend._client  # type: ignore[attr-defined]
    ask = client.request

    def slowly(*args: Any, **options: Any) -> Answer:
        time.sleep(seconds)
        answer: Answer = ask(*args, **options)
        return answer

    client.request = slowly
    return backend


def far_away(bucket: Bucket, folder: Path) -> dict[str, float]:
    """Return what one voice takes when every answer takes `DISTANCE` longer."""
    store = Store(far(bucket.connect(), DISTANCE))
    recipes, few = [recipe(n) for n in range(len(bucket.keys))], bucket.keys[:20]
    copies = Copies(bucket, folder, DISTANCE)
    with cas.open(bucket.url, memory="0", log="off", deadline="60s") as cache:
        cache.chain.tiers[0].store = store
        found = {
            "one by one": time_block(lambda: [store.read(key) for key in few], 1)[0] / len(few),
            GET_MANY: time_block(lambda: cache.get_many(recipes, not_needed), 1)[0] / len(recipes),
            PREFETCH: time_block(copies.run, 1, copies.prepare)[0] / len(recipes),
        }
        only_hits(cache)
    return found


def judge(figures: dict[str, Any]) -> list[Bar]:
    """Hold S3 against the bars."""
    voices, s3 = figures["voices"], figures["s3"]
    bars = [ratio_bar("S3: a cold hit / two bare GETs", s3["cold"][HIT]["ratio"], MOST_HIT)]
    for name, rows in s3["many"].items():
        found = rows.get(OBSTORE)
        title = f"S3: {voices} voices by {name.partition(',')[0]} / {OBSTORE}, as many at once"
        bars.append(ratio_bar(title, found and found["ratio"], MOST_MANY))
    return bars


def render(figures: dict[str, Any]) -> str:
    """Write the tables."""
    voices, s3, google = figures["voices"], figures["s3"], figures["gcs"]
    return "\n\n".join(
        [
            "#### S3 (SeaweedFS)",
            "A cold hit is the manifest, then the object, checked and decoded. One GET by itself:",
            _cold(s3["cold"]),
            _clients(s3["clients"]),
            f"{voices} voices, {2 * voices} documents, nothing known yet:",
            _many(s3["many"]),
            f"The same with every answer {DISTANCE * 1000:.0f} ms later, for one voice:",
            make_table(
                ("", "time"), ((name, show_seconds(taken)) for name, taken in s3["far"].items())
            ),
            "#### GCS (fake-gcs-server), for information",
            _cold(google["cold"]),
            _many(google["many"]),
        ]
    )


def _cold(rows: dict[str, Any]) -> str:
    return pairs_table({f"two bare GETs: {name}": found for name, found in rows.items()})


def _clients(rows: dict[str, Any]) -> str:
    return pairs_table({f"one GET by {name}": found for name, found in rows.items()})


def _many(rows: dict[str, Any]) -> str:
    return pairs_table(
        {
            f"{reference}: {name}": found
            for name, references in rows.items()
            for reference, found in references.items()
        }
    )


SECTION: Final = Section(
    "objectstore", "Measure S3 and GCS beside bare GETs.", measure, judge, render
)

if __name__ == "__main__":
    sys.exit(run(SECTION))
