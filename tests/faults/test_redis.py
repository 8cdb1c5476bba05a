"""A disk with a real Redis behind it, which is killed, hung, full, or not there at all."""

import random
import socket

import pytest

from stepaudio_cas.runtime.breaker import LONGEST_PAUSE
from stepaudio_cas.runtime.tier import DENIED_SECONDS
from tests.support.processes import in_threads
from tests.support.proxy import Proxy
from tests.support.values import Computation, counters, errors, recipe, tokens

GENEROUS = 60.0


@pytest.fixture
def host(open_cache, tmp_path, clock):
    """Open the cache of a machine that has a disk and this Redis."""

    def open_(url, name="disk", **settings):
        cache = open_cache(f"{tmp_path / name},{url}", **{"memory": "0", **settings})
        cache._housekeeping.started = True
        for tier in cache.chain.tiers:
            tier._clock = clock
            for breaker in (tier.reading, tier.writing, tier.locking):
                breaker._clock = clock
        return cache

    return open_


def ask(cache, numbers):
    """Ask for voices, each twice; whatever the stores do, the results are right."""
    for number in numbers:
        compute = Computation(number=number)
        assert cache.get_or_compute(recipe(number), compute) == tokens(number)
        assert cache.get_or_compute(recipe(number), compute) == tokens(number)
        assert compute.runs == 1


def all_accounted_for(cache, voices):
    """Each voice was written to both stores, or its upload was counted as given up."""
    assert cache.flush(GENEROUS)
    found = counters(cache)
    # One that was written, but never confirmed, is there already when it is written again: lost.
    ended = found["stored"] + found.get("dropped", 0) + found.get("lost", 0)
    assert ended == 2 * voices
    return found


def in_redis(open_cache, url, numbers):
    reader = open_cache(url, memory="0", mode="ro", deadline=GENEROUS)
    return [number for number in numbers if reader.get(recipe(number)) is not None]


def test_killed_and_restarted(host, own_redis, open_cache, clock):
    server = own_redis()
    cache = host(server.url, deadline=GENEROUS)
    ask(cache, range(3))
    assert cache.flush(GENEROUS)
    server.kill()
    ask(cache, range(3, 12))
    assert cache.flush(GENEROUS)
    tier = cache.chain.tiers[1]
    assert tier.reading.state == tier.writing.state == "open"
    assert errors(cache) == {"error.down.redis"}
    server.start()
    clock.advance(LONGEST_PAUSE)
    ask(cache, range(12, 15))
    found = all_accounted_for(cache, 15)
    assert found["dropped"] == 9
    assert tier.reading.state == tier.writing.state == "closed"
    assert in_redis(open_cache, server.url, range(15)) == [0, 1, 2, 12, 13, 14]


def test_hung(host, own_redis, open_cache, clock, monkeypatch):
    server = own_redis()
    cache = host(f"{server.url}?timeout=0.05")
    ask(cache, range(3))
    assert cache.flush(GENEROUS)
    tier, granted = cache.chain.tiers[1], []
    call = tier._workers.call

    def granting(function, seconds):
        if cache.budget.account is not None:
            granted.append(seconds)
        return call(function, seconds)

    monkeypatch.setattr(tier._workers, "call", granting)
    server.freeze()
    for number in range(3, 9):
        granted.clear()
        budget = cache.budget.seconds(recipe().schema)
        compute = Computation(number=number)
        assert cache.get_or_compute(recipe(number), compute) == tokens(number)
        assert len(granted) <= 1, "it was asked again by a call that it had failed"
        assert sum(granted) <= budget
    assert granted == [], "the breaker is not open"
    assert cache.flush(GENEROUS)
    server.thaw()
    clock.advance(LONGEST_PAUSE)
    ask(cache, range(9, 12))
    assert all_accounted_for(cache, 12)["dropped"] == 6
    assert in_redis(open_cache, server.url, range(9, 12)) == [9, 10, 11]


def test_full(host, own_redis, open_cache, clock):
    server = own_redis(maxmemory_policy="noeviction")
    with open_cache(server.url, deadline=GENEROUS) as other:
        for number in range(3):
            other.put(recipe(number), tokens(number))
    server.ask("CONFIG", "SET", "maxmemory", "1")
    cache = host(server.url, deadline=GENEROUS)
    for number in range(3):
        assert cache.get_or_compute(recipe(number), None) == tokens(number)
    assert cache.flush(GENEROUS)
    assert counters(cache)["hit.redis"] == counters(cache)["promoted"] == 3
    ask(cache, range(3, 6))
    assert cache.flush(GENEROUS)
    assert counters(cache)["dropped"] == 3
    assert "error.full.redis" in errors(cache)
    assert cache.chain.tiers[1].reading.state == "closed"
    server.ask("CONFIG", "SET", "maxmemory", "0")
    clock.advance(LONGEST_PAUSE)
    ask(cache, range(6, 9))
    assert cache.flush(GENEROUS)
    assert in_redis(open_cache, server.url, range(9)) == [0, 1, 2, 6, 7, 8]


def test_full_but_allowed_to_evict(host, own_redis):
    server = own_redis(maxmemory="3mb", maxmemory_policy="allkeys-lru", appendonly="no")
    one, other = (host(server.url, name, deadline=GENEROUS) for name in ("one", "other"))
    large = [bytes([number]) * 100_000 for number in range(60)]
    for number, blob in enumerate(large):
        assert one.get_or_compute(recipe(number), lambda b=blob: b) == blob
    assert one.flush(GENEROUS)
    assert counters(one).get("dropped", 0) == 0
    for number, blob in reversed(list(enumerate(large))):  # the latest are there for longest
        assert other.get_or_compute(recipe(number), lambda b=blob: b) == blob
    found = counters(other)
    assert found["hit.redis"] > 0
    assert found["miss"] > 0, "nothing was evicted: the server is too large for this test"
    assert errors(other) <= {"error.object-missing"}


def test_half_of_all_requests_fail(host, own_redis, open_cache, clock):
    server, chance = own_redis(), random.Random(7)
    proxy = Proxy(server.port, lambda: chance.random() < 0.5)
    cache = host(f"redis://127.0.0.1:{proxy.port}", deadline=GENEROUS)
    for number in range(40):
        ask(cache, [number])
        clock.advance(LONGEST_PAUSE)
    all_accounted_for(cache, 40)
    assert proxy.broken > 20
    assert errors(cache) <= {"error.down.redis", "error.lock.redis"}
    proxy.breaks = lambda: False
    clock.advance(LONGEST_PAUSE)
    ask(cache, range(40, 43))
    assert cache.flush(GENEROUS)
    arrived = in_redis(open_cache, server.url, range(43))
    assert arrived[-3:] == [40, 41, 42]
    proxy.close()


def test_what_is_in_a_redis_that_loses_half_is_never_wrong(host, own_redis, clock):
    """Two machines, both losing answers at random: one artifact a voice, the same for both."""
    server, chance = own_redis(), random.Random(11)
    proxy = Proxy(server.port, lambda: chance.random() < 0.3)
    caches = [host(f"redis://127.0.0.1:{proxy.port}", str(n), deadline=GENEROUS) for n in (0, 1)]

    def work(machine):
        for number in range(20):
            value = caches[machine].get_or_compute(recipe(number), lambda n=number: [n, machine])
            assert value in ([number, 0], [number, 1])
            clock.advance(LONGEST_PAUSE)
        return caches[machine].flush(GENEROUS)

    assert in_threads(2, work) == [True, True]
    proxy.breaks = lambda: False
    proxy.close()


def refused(monkeypatch, server):
    server.kill()
    return server.url


def unknown(monkeypatch, server):
    def getaddrinfo(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return "redis://cache.example"


def not_tls(monkeypatch, server):
    return server.url.replace("redis://", "rediss://")


def wrong_password(monkeypatch, server):
    server.ask("CONFIG", "SET", "requirepass", "right")
    return server.url.replace("//", "//:wrong@")


def no_sentinel(monkeypatch, server):
    return f"redis+sentinel://127.0.0.1:{server.port}/voices"


def no_cluster(monkeypatch, server):
    return f"redis+cluster://127.0.0.1:{server.port}"


def no_such_database(monkeypatch, server):
    return f"{server.url}/99"


WRONG = {
    refused: "down",
    unknown: "down",
    not_tls: "timeout",
    wrong_password: "credentials",
    no_sentinel: "server",
    no_cluster: "server",
    no_such_database: "server",
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_redis_that_cannot_be_used_costs_nothing_but_itself(
    host, own_redis, monkeypatch, wrong, capfd
):
    cache = host(wrong(monkeypatch, own_redis()), deadline=GENEROUS, log="error")
    ask(cache, range(6))
    assert all_accounted_for(cache, 6)["dropped"] == 6
    assert errors(cache) == {f"error.{WRONG[wrong]}.redis"}
    assert cache.chain.tiers[1].reading.state == cache.chain.tiers[1].writing.state == "open"
    said = capfd.readouterr().err
    assert said.count("reading from redis") <= 2, "it is said more than once"
    assert "right" not in said.replace("rights", "")
    assert "wrong@" not in said


def test_who_may_only_read_becomes_a_reader_and_says_so_once(host, own_redis, clock, capfd):
    server = own_redis()
    with_rights = host(server.url, "writer", deadline=GENEROUS)
    ask(with_rights, range(2))
    assert with_rights.flush(GENEROUS)
    server.ask("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection", "+time")
    url = server.url.replace("//", "//reader:pw@")
    cache = host(url, "reader", deadline=GENEROUS, log="error")
    for number in range(2):
        assert cache.get_or_compute(recipe(number), None) == tokens(number)
    ask(cache, range(2, 8))
    assert cache.flush(GENEROUS)
    assert not cache.chain.tiers[1].writable
    assert cache.chain.tiers[1].reading.state == "closed"
    assert capfd.readouterr().err.count("only read from here on") == 1
    server.ask("ACL", "SETUSER", "reader", "+@all")
    clock.advance(DENIED_SECONDS)
    ask(cache, range(8, 10))
    assert cache.flush(GENEROUS)
    assert with_rights.get_or_compute(recipe(9), None) == tokens(9)
