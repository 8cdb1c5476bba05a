"""Redis on this machine: our hits beside the published recipe and beside a bare GET.

    python -m tools.bench.redis            # about a minute
    python -m tools.bench.redis --quick

Starts a Redis server on a loopback port. Run it with `-m`: the name of this file is that of the
client it needs.
"""

from __future__ import annotations

import pickle
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

import stepaudio_cas as cas
from stepaudio_cas.units import show_seconds
from tests.support.redis_server import RedisServer
from tools.bench.bars import Bar
from tools.bench.fleet import Fleet
from tools.bench.recreations import RedisValues, host_path, make_preprocess
from tools.bench.report import make_table, pairs_table, show_stampede
from tools.bench.sampling import compare, spread, time_block
from tools.bench.section import Section, ratio_bar, run
from tools.bench.stampede import measure_stampede
from tools.bench.subject import (
    SAMPLE_RATE,
    bytes_of,
    cached_by,
    encode,
    make_clip,
    only_hits,
    open_cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.bench.libraries import Libraries
    from tools.bench.scale import Scale

POOL: Final = 10
"""Connections, as in the published recipes."""

BATCH: Final = 64
DAY: Final = 86_400

PUBLISHED: Final = "the published recipe (MD5 after resampling and trimming, GET, pickle)"
BARE: Final = "BLAKE3 of the samples, GET, pickle"
ONE_BY_ONE: Final = f"{BATCH} GETs and pickles, one by one, as published"
MGET: Final = f"one MGET of {BATCH}, and pickles"
MEMORY_OFF: Final = "memory tier off"
MEMORY_ON: Final = "memory tier on"

MOST_HIT: Final = 1.0
MOST_BATCH: Final = 1.0


def measure(folder: Path, scale: Scale, libraries: Libraries) -> dict[str, Any]:
    """Measure hits, batches, promotion and single-flight on a server of our own."""
    redis = libraries.load("redis")
    if redis is None:
        raise SystemExit("bench redis: pip install redis")
    with closing(RedisServer(appendonly="no")) as server:
        server.start()
        pool = redis.ConnectionPool(host="127.0.0.1", port=server.port, max_connections=POOL)
        client = redis.Redis(connection_pool=pool)
        rivals = _rivals(redis, pool, client, libraries)
        hits = {
            MEMORY_OFF: _hits(f"{server.url}?prefix=off", rivals, scale, "redis", memory=0),
            MEMORY_ON: _hits(f"{server.url}?prefix=on", rivals, scale, "memory"),
        }
        figures = {
            "hits": hits,
            "batch": _batch(f"{server.url}?prefix=batch", client, scale),
            "promotion": _promotion(folder, f"{server.url}?prefix=promotion"),
        }
        with Fleet(max(scale.processes)) as fleet:
            shared = f"{server.url}?prefix=stampede"
            figures["stampede"] = measure_stampede(folder, scale, fleet, shared)
        client.close()
    return figures


def _rivals(
    redis: Any, pool: Any, client: Any, libraries: Libraries
) -> dict[str, Callable[[Any, int], Any]]:
    """Return the recipes by name."""

    def bare(audio: Any, sample_rate: int) -> Any:
        key = f"bare:{sample_rate}:{blake3(bytes_of(audio)).hexdigest()}"
        data = client.get(key)
        if data is not None:
            return pickle.loads(data)
        value = encode(audio, sample_rate)
        client.execute_command("SETEX", key, DAY, pickle.dumps(value))
        return value

    found: dict[str, Callable[[Any, int], Any]] = {BARE: bare}
    preprocess = make_preprocess(libraries)
    if preprocess is not None:
        found[PUBLISHED] = host_path(RedisValues(pool, redis), encode, preprocess)
    return found


def _hits(
    url: str,
    rivals: dict[str, Callable[[Any, int], Any]],
    scale: Scale,
    tier: str,
    **settings: Any,
) -> dict[str, Any]:
    """Compare hits on one clip that everybody has stored."""
    clip = make_clip()
    with open_cache(url, **settings) as cache:
        hit = partial(cached_by(cache), clip, SAMPLE_RATE)
        hit()
        for rival in rivals.values():
            rival(clip, SAMPLE_RATE)
        before = encode.calls
        found = {
            name: compare(hit, partial(rival, clip, SAMPLE_RATE), scale, slow=name == PUBLISHED)
            for name, rival in rivals.items()
        }
        if encode.calls != before:
            raise RuntimeError("not all of these were hits")
        only_hits(cache, tier, misses=1)
    return {name: pairs.figures() for name, pairs in found.items()}


def _recipes(count: int) -> list[Any]:
    return [cas.make_recipe("bench/1", params={"voice": number}) for number in range(count)]


def _batch(url: str, client: Any, scale: Scale) -> dict[str, Any]:
    """Compare looking up many keys at once; what they are keys of is hashed by nobody here."""
    value, recipes = encode(make_clip(), SAMPLE_RATE), _recipes(BATCH)
    keys = [f"funasr:{recipe.key[:32]}" for recipe in recipes]
    for key in keys:
        client.execute_command("SETEX", key, DAY, pickle.dumps(value))
    with open_cache(url, memory=0) as cache:
        for recipe in recipes:
            cache.put(recipe, value)
        cache.flush()

        def ours() -> Any:
            return cache.get_many(recipes, _not_needed)

        found = {
            ONE_BY_ONE: compare(
                ours, lambda: [pickle.loads(client.get(key)) for key in keys], scale, slow=True
            ),
            MGET: compare(
                ours, lambda: list(map(pickle.loads, client.mget(keys))), scale, slow=True
            ),
        }
        only_hits(cache, "redis", misses=0)
    return {name: pairs.figures() for name, pairs in found.items()}


def _promotion(folder: Path, url: str) -> dict[str, Any]:
    """Tell what the first hit of a machine takes, and what those after it take."""
    value, recipes = encode(make_clip(), SAMPLE_RATE), _recipes(BATCH)
    with open_cache(url, memory=0) as cache:
        for recipe in recipes:
            cache.put(recipe, value)
        cache.flush()
    with open_cache(f"{folder / 'promotion'},{url}", memory=0) as cache:
        first, again = iter(recipes), iter(recipes)
        taken = {"the first, in Redis": time_block(lambda: cache.get(next(first)), len(recipes))}
        cache.flush(60.0)
        taken["the next, on disk"] = time_block(lambda: cache.get(next(again)), len(recipes))
        counters = cache.stats()["counters"]
    return {
        "voices": len(recipes),
        "seconds": {name: spread(times)._asdict() for name, times in taken.items()},
        "promoted": int(counters.get("promoted", 0)),
        "hits_on_disk": int(counters.get("hit.disk", 0)),
    }


def _not_needed(missing: list[int]) -> list[Any]:
    raise AssertionError(f"{len(missing)} voices were not there")


def judge(figures: dict[str, Any]) -> list[Bar]:
    """Hold what was measured against the bars."""
    bars = []
    for tier, rows in figures["hits"].items():
        found = rows.get(PUBLISHED)
        bars.append(ratio_bar(f"a hit, {tier} / {PUBLISHED}", found and found["ratio"], MOST_HIT))
    batch = figures["batch"][ONE_BY_ONE]["ratio"]
    bars.append(ratio_bar(f"a batch of {BATCH} / {ONE_BY_ONE}", batch, MOST_BATCH))
    promotion, encodes = figures["promotion"], figures["stampede"]["encodes"]
    left = promotion["voices"] - min(promotion["promoted"], promotion["hits_on_disk"])
    bars.append(Bar("voices that were hit in Redis and are not on disk", left, 0, left == 0))
    bars.append(Bar("encodes of one new key", max(encodes), 1, set(encodes) == {1}))
    return bars


def render(figures: dict[str, Any]) -> str:
    """Write the tables."""
    promotion = figures["promotion"]
    rows = {
        f"{name}; ours with the {tier}": found
        for tier, table in figures["hits"].items()
        for name, found in table.items()
    }
    times = (
        (name, "{} ({}-{})".format(*map(show_seconds, taken.values())))
        for name, taken in promotion["seconds"].items()
    )
    asked_twice = (
        f"A disk above Redis, {promotion['voices']} voices, each asked for twice;"
        f" {promotion['promoted']} were promoted:"
    )
    return "\n\n".join(
        [
            pairs_table(rows),
            f"Batches of {BATCH}, memory tier off:",
            pairs_table(figures["batch"]),
            asked_twice,
            make_table(("hit", "time (quartiles)"), times),
            show_stampede(figures["stampede"]),
        ]
    )


SECTION: Final = Section(
    "redis", "Measure Redis beside the published recipe.", measure, judge, render
)

if __name__ == "__main__":
    sys.exit(run(SECTION))
