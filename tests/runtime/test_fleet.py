"""Hosts with a disk each and one Redis for all."""

import threading

import pytest

import stepaudio_cas as cas
from stepaudio_cas.identity.fingerprint import make_fingerprint
from stepaudio_cas.runtime import turns
from stepaudio_cas.store import layout
from stepaudio_cas.store import store as module
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from tests.runtime.helpers import GENEROUS, in_thread
from tests.support.processes import in_children, wait_until
from tests.support.values import Computation, counters, entry, errors, recipe, tokens

PATIENT = {"log": "off", "memory": "0", "deadline": "60s"}


@pytest.fixture
def host(open_cache, redis_url, tmp_path):
    """Open the cache of a machine by its name."""

    def open_(name, url=None, **settings):
        return open_cache(f"{tmp_path / name},{url or redis_url}", **{**PATIENT, **settings})

    return open_


class Slow(Computation):
    """Begins, and ends when the test says so."""

    def __init__(self, value=None, error=None):
        super().__init__(value)
        self.begun, self.go_on, self.error = threading.Event(), threading.Event(), error

    def __call__(self):
        self.begun.set()
        assert self.go_on.wait(GENEROUS)
        if self.error is not None:
            raise self.error
        return super().__call__()


def watch_locks(monkeypatch, cache, position=1):
    tier, tried = cache.chain.tiers[position], []
    try_lock = tier.try_lock
    monkeypatch.setattr(tier, "try_lock", lambda key: tried.append(try_lock(key)) or tried[-1])
    return tried


def test_what_one_machine_has_encoded_another_gets_and_keeps(host):
    one, other = host("one"), host("other")
    one.get_or_compute(recipe(), Computation())
    assert one.flush(GENEROUS)
    assert other.get_or_compute(recipe(), None) == tokens()
    assert other.flush(GENEROUS)
    assert other.get_or_compute(recipe(), None) == tokens()
    found = counters(other)
    assert (found["hit.redis"], found["hit.disk"], found["promoted"]) == (1, 1, 1)


def test_a_promotion_takes_the_description_of_the_model_along(host):
    one, other = host("one"), host("other")
    model = make_fingerprint(settings={"size": 3})
    described = recipe()._replace(fingerprint=model)
    one.put(described, tokens())
    assert one.flush(GENEROUS)
    assert other.get(described) == tokens()
    assert other.flush(GENEROUS)
    disk = other.chain.tiers[0].store.backend
    assert disk.get(layout.fingerprint_path(model.id)) == model.document


def test_a_description_that_is_forged_or_gone_does_not_keep_the_entry_away(host):
    one, other = host("one"), host("other")
    models = [make_fingerprint(settings={"size": size}) for size in (1, 2)]
    for number, model in enumerate(models):
        one.put(recipe(number)._replace(fingerprint=model), tokens(number))
    assert one.flush(GENEROUS)
    redis = one.chain.tiers[1].store.backend
    redis.put(layout.fingerprint_path(models[0].id), b"{}")
    redis.delete(layout.fingerprint_path(models[1].id))
    for number in (0, 1):
        assert other.get(recipe(number)) == tokens(number)
    assert other.flush(GENEROUS)
    assert counters(other)["promoted"] == 2
    assert list(other.chain.tiers[0].store.backend.list(layout.FINGERPRINTS)) == []


def test_a_machine_waits_for_another_that_encodes_and_gets_its_result(host, monkeypatch):
    one, other, slow = host("one"), host("other"), Slow()
    tried = watch_locks(monkeypatch, other)
    first = in_thread(lambda: one.get_or_compute(recipe(), slow))
    assert slow.begun.wait(GENEROUS)
    second = in_thread(lambda: other.get_or_compute(recipe(), Computation([0])))
    wait_until(lambda: tried)
    assert tried[0] == (False, None)
    slow.go_on.set()
    assert first.result(GENEROUS) == second.result(GENEROUS) == tokens()
    assert counters(other)["hit.redis"] == 1


def test_the_fleets_lock_is_held_until_the_artifact_has_arrived(host, monkeypatch):
    """Otherwise the next machine would find the lock free and no artifact."""
    one, other = host("one"), host("other")
    held = threading.Event()
    one.chain._background.submit(lambda: held.wait(GENEROUS))
    one.get_or_compute(recipe(), Computation())
    tried = watch_locks(monkeypatch, other)
    second = in_thread(lambda: other.get_or_compute(recipe(), Computation([0])))
    wait_until(lambda: tried)
    assert tried[0] == (False, None)
    held.set()
    assert second.result(GENEROUS) == tokens()


@pytest.mark.parametrize("error", [ValueError("theirs"), KeyboardInterrupt()])
def test_when_an_encode_fails_the_next_machine_has_its_turn(host, monkeypatch, error):
    one, other, slow = host("one"), host("other"), Slow(error=error)
    tried = watch_locks(monkeypatch, other)
    first = in_thread(lambda: one.get_or_compute(recipe(), slow))
    assert slow.begun.wait(GENEROUS)
    second = in_thread(lambda: other.get_or_compute(recipe(), Computation()))
    wait_until(lambda: tried)
    slow.go_on.set()
    assert first.exception(GENEROUS) is error
    assert second.result(GENEROUS) == tokens()


def test_who_has_lost_patience_encodes_and_the_fleet_ends_with_one_artifact(host, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    one, other, slow = host("one"), host("other"), Slow([1])
    first = in_thread(lambda: one.get_or_compute(recipe(), slow))
    assert slow.begun.wait(GENEROUS)
    assert other.get_or_compute(recipe(), lambda: [2]) == [2]
    assert other.flush(GENEROUS)
    slow.go_on.set()
    assert first.result(GENEROUS) == [1]
    assert one.flush(GENEROUS)
    assert [one.get(recipe()), other.get(recipe())] == [[2], [2]]
    assert counters(one)["lost"] == 1


def test_locks_are_taken_in_one_order_whatever_the_order_of_the_chain(
    open_cache, redis_url, tmp_path
):
    for url in (f"{redis_url},{tmp_path}/disk", f"{tmp_path}/disk,{redis_url}"):
        cache = open_cache(url, **PATIENT)
        assert [tier.name for tier in cache.chain.lockable] == ["disk", "redis"]


def many_hosts(redis_url, folder, voices, ask):
    """Let machines start at once on the same voices; return what each has encoded and got."""

    def work(number):
        runs = []
        with cas.open(f"{folder / str(number)},{redis_url}", **PATIENT) as cache:
            values = ask(cache, [(voice + number) % voices for voice in range(voices)], runs)
        return runs, sorted(values.items())

    found = in_children(4, work)
    return [run for runs, _ in found for run in runs], [values for _, values in found]


def one_by_one(cache, order, runs):
    def encode(voice):
        runs.append(voice)
        return [voice, id(cache)]

    def ask(voice):
        return cache.get_or_compute(recipe(voice), lambda: encode(voice))

    return {voice: ask(voice) for voice in order}


def in_one_batch(cache, order, runs):
    def encode(positions):
        runs.extend(order[position] for position in positions)
        return [[order[position], id(cache)] for position in positions]

    values = cache.get_many([recipe(voice) for voice in order], encode)
    return dict(zip(order, values, strict=True))


@pytest.mark.parametrize("ask", [one_by_one, in_one_batch])
def test_of_a_fleet_that_starts_at_once_exactly_one_machine_encodes_each_voice(
    redis_url, tmp_path, ask
):
    runs, values = many_hosts(redis_url, tmp_path, 12, ask)
    assert sorted(runs) == list(range(12))
    assert values == [values[0]] * 4


def test_who_follows_a_batch_waits_with_it_for_another_machine(host, monkeypatch):
    one, other, slow = host("one"), host("other"), Slow()
    tried = watch_locks(monkeypatch, other)
    first = in_thread(lambda: one.get_or_compute(recipe(), slow))
    assert slow.begun.wait(GENEROUS)
    batch = in_thread(lambda: other.get_many([recipe()], lambda _: [[0]]))
    wait_until(lambda: tried)
    joined, join = [], other.flights.join
    monkeypatch.setattr(other.flights, "join", lambda key: joined.append(join(key)) or joined[-1])
    follower = Computation([0])
    second = in_thread(lambda: other.get_or_compute(recipe(), follower))
    wait_until(lambda: joined)
    slow.go_on.set()
    assert first.result(GENEROUS) == second.result(GENEROUS) == tokens()
    assert batch.result(GENEROUS) == [tokens()]
    assert follower.runs == 0


def test_a_manifest_whose_object_was_evicted_is_a_miss_and_heals(host, redis_url, open_cache):
    one = host("one")
    one.put(recipe(), tokens())
    assert one.flush(GENEROUS)
    redis = one.chain.tiers[1].store.backend
    for found in list(redis.list(layout.OBJECTS)):
        redis.delete(found.path)
    other, compute = host("other"), Computation()
    assert other.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert errors(other) == {"error.object-missing"}
    assert other.flush(GENEROUS)
    assert open_cache(redis_url, **PATIENT).get(recipe()) == tokens()


def test_the_model_is_described_again_when_the_store_was_emptied(redis_url, monkeypatch):
    backend = open_backend(redis_url)
    store, model = Store(backend), make_fingerprint(settings={"size": 3})
    path = layout.fingerprint_path(model.id)
    for number, described in enumerate([True, False, True]):
        if number == 2:
            monkeypatch.setattr(module, "_DESCRIBED", -1.0)
        store.commit(*entry(number), model)
        assert (store.fingerprint(model.id) == model) is described
        backend.delete(path)
