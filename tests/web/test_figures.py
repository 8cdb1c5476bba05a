"""Figures while a store is away: what was counted stays counted, and once only."""

import asyncio
import contextlib

import pytest

from stepaudio_cas.settings import Settings
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from stepaudio_cas.web.figures import Figures
from stepaudio_cas.web.metrics import families
from stepaudio_cas.web.pace import Pace
from stepaudio_cas.web.service import Service
from stepaudio_cas.web.source import Source
from stepaudio_cas.web.tokens import Tokens
from stepaudio_cas.web.work import Work
from tests.support.faulty import FaultyBackend


@pytest.fixture
def backend(store):
    return FaultyBackend(open_backend(str(store)))


@pytest.fixture
def source(backend):
    return Source([Store(backend)], Settings(stores=("there",)))


@pytest.fixture
def figures(monkeypatch, source):
    monkeypatch.setattr("stepaudio_cas.web.figures.FAR", 0.0)
    monkeypatch.setattr("stepaudio_cas.web.figures._PER_SECOND", 0.0)
    return Figures(source, Work(Pace(), threads=1))


def take_away(backend):
    for verb in ("list", "get", "stat"):
        backend.fail(verb, OSError("it is away"))


def seen(figures, source):
    """Return a sample, and what Prometheus is told of misses."""

    async def look():
        return (await figures.sample())[0], (await figures.get()).figures

    point, found = asyncio.run(look())
    (family,) = (f for f in families(source, found, []) if f.name.endswith("store_misses"))
    return point, found, [sample.value for sample in family.samples]


def test_what_a_store_has_counted_stays_counted_while_it_is_away(figures, source, backend):
    assert seen(figures, source)[2] == [4]
    take_away(backend)
    point, found, told = seen(figures, source)
    assert (told, point["misses"], found["stale"], found["uncounted"]) == ([4], 4, ["faulty"], [])
    assert found["tiers"][0]["error"]
    assert len(figures.points) == 1
    backend.mend()
    assert seen(figures, source)[1]["stale"] == []


def test_a_store_that_was_away_from_the_beginning_is_not_counted_as_new(figures, source, backend):
    take_away(backend)
    _, found, told = seen(figures, source)
    assert (told, found["uncounted"], len(figures.points)) == ([], ["faulty"], 0)
    backend.mend()
    assert seen(figures, source)[2] == [4]
    assert [point["misses"] for point in figures.points] == [4]


def test_a_second_store_that_was_away_from_the_beginning_is_not_counted_as_new(
    figures, source, backend
):
    source.stores.insert(0, Store(FaultyBackend(url="near://")))
    take_away(backend)
    point, found, told = seen(figures, source)
    assert (found["error"], found["uncounted"], told, len(figures.points)) == (
        None, ["faulty"], [], 0,
    )  # fmt: skip
    assert point["misses"] == 0
    backend.mend()
    assert seen(figures, source)[2] == [4]
    assert [point["misses"] for point in figures.points] == [4]


def test_a_store_where_looking_costs_money_is_not_looked_at_for_nobody(source, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.service.TICK", 0)

    async def looked(*how):
        service = Service(source, Tokens(None))
        service.figures.every = 3600.0
        for one in (service.start, *(getattr(service, name) for name in how)):
            one()
        for _ in range(10):
            await asyncio.sleep(0)
        found = service.counting._threads
        await service.stop()
        return found

    assert asyncio.run(looked()) == 0
    assert asyncio.run(looked("asked")) == 1


def test_what_goes_on_by_itself_ends_however_it_is_told(source, monkeypatch):
    service = Service(source, Tokens(None))

    async def deaf():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async def sample():
        await deaf()
        return {"time": 1.0}, {"time": 1.0}

    async def ends():
        service.figures.sample, service.turn = sample, deaf
        monkeypatch.setattr("stepaudio_cas.web.service.TICK", 0)
        service.asked()
        for _ in range(5):
            await asyncio.sleep(0)
        await asyncio.wait_for(service.stop(), 60)
        return service._tasks

    assert asyncio.run(ends()) == set()


def test_nobody_is_told_that_something_has_been_undone(monkeypatch, source):
    async def look():
        service = Service(source, Tokens(None))
        told = []
        monkeypatch.setattr(service.feed, "publish", told.extend)
        service.feed._clients.add(asyncio.Queue())
        many = dict.fromkeys(("hits", "misses", "bypasses", "errors", "seconds_saved"), 5)
        few = {**many, "misses": 2, "hits": 7, "time": 2.0}

        async def sample():
            return few, many

        service.figures.sample = sample
        service.start()
        while not told:  # noqa: ASYNC110 - nothing says when
            await asyncio.sleep(0)
        await service.stop()
        return told[0]

    kind, grown = asyncio.run(look())
    assert (kind, grown["hits"], grown["misses"]) == ("counts", 2, 0)
