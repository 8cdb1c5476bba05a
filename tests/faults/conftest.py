"""Caches on backends that a test makes, and backends that fail as told."""

import pytest

from stepaudio_cas.runtime import opening
from tests.support.faulty import FaultyBackend, FaultyLockingBackend

GENEROUS = 60.0


class Clock:
    """What breakers go by, moved by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_on(monkeypatch, open_cache, clock):
    """Open a cache on backends. Its breakers go by `clock`; nothing runs beside the calls."""

    def open_(*backends, housekeeping=False, **settings):
        by_url = {backend.url: backend for backend in backends}
        assert len(by_url) == len(backends)
        monkeypatch.setattr(opening, "open_backend", by_url.__getitem__)
        settings = {"memory": "0", "deadline": GENEROUS, **settings}
        cache = open_cache(",".join(by_url), **settings)
        for tier in cache.chain.tiers:
            for breaker in (tier.reading, tier.writing, tier.locking):
                breaker._clock = clock
        cache._housekeeping.started = not housekeeping  # it would probe, and count that too
        return cache

    return open_


@pytest.fixture
def faulty(open_cache):
    """A store in memory that fails as told; mended before the caches on it are closed."""
    backend = FaultyBackend()
    yield backend
    backend.mend()


@pytest.fixture
def make_faulty(open_cache):
    """Make any number of those, over a backend or not."""
    made = []

    def make(inner=None, url="faulty://"):
        kind = FaultyLockingBackend if hasattr(inner, "try_lock") else FaultyBackend
        made.append(kind(inner, url))
        return made[-1]

    yield make
    for backend in made:
        backend.mend()
