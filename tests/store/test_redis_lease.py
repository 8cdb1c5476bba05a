import os

import pytest

from stepaudio_cas.store import redis_lease
from stepaudio_cas.store.urls import open_backend
from tests.support.processes import in_child, wait_until
from tests.support.proxy import Proxy


@pytest.fixture
def backend(redis_url):
    return open_backend(redis_url)


@pytest.fixture
def raw(backend):
    return backend._connect()


@pytest.fixture
def key(backend):
    return backend._key("v1/leases/voice.lock")


def test_one_at_a_time_holds_it_on_whatever_machine(backend, redis_url):
    other = open_backend(redis_url)
    lease = backend.try_lock("voice")
    assert lease is not None
    assert other.try_lock("voice") is None
    assert backend.try_lock("voice") is None
    lease.release()
    assert other.try_lock("voice") is not None


def test_it_ends_by_itself_when_nobody_renews_it(backend, raw, key):
    backend.try_lock("voice")
    assert 0 < raw.pttl(key) <= redis_lease.LEASE_SECONDS * 1000


def test_it_is_renewed_while_it_is_held(backend, raw, key, monkeypatch):
    monkeypatch.setattr(redis_lease, "RENEW_EVERY", 0.01)
    lease = backend.try_lock("voice")
    raw.pexpire(key, 10_000_000)
    wait_until(lambda: raw.pttl(key) <= redis_lease.LEASE_SECONDS * 1000)
    lease.release()
    wait_until(lambda: backend._leases._thread is None)


def test_one_that_is_not_held_any_more_is_not_renewed(backend, raw, key):
    lease = backend.try_lock("voice")
    raw.pexpire(key, 1_000_000)
    del lease
    backend._leases.renew()
    assert raw.pttl(key) > 500_000


def test_renewing_goes_on_after_the_server_was_away(own_redis):
    server = own_redis()
    backend = open_backend(server.url)
    lease = backend.try_lock("voice")
    server.kill()
    with pytest.raises(Exception, match="refused"):
        backend._leases.renew()
    server.start()
    backend._leases.renew()
    assert open_backend(server.url).try_lock("voice") is None
    lease.release()


@pytest.fixture
def everlasting(monkeypatch):
    """Have leases end too late for a test to see it."""
    monkeypatch.setattr(redis_lease, "LEASE_SECONDS", 100_000.0)


def test_one_that_could_not_be_released_is_given_back_when_the_server_is_there_again(
    own_redis, everlasting
):
    server = own_redis()
    backend = open_backend(server.url)
    lease = backend.try_lock("voice")
    server.kill()
    with pytest.raises(Exception, match="refused"):
        lease.release()
    server.start()
    wait_until(lambda: open_backend(server.url).try_lock("voice") is not None)


def test_one_that_was_taken_and_the_answer_lost_is_given_back(redis_server, everlasting):
    prefix = "?prefix=lost-answer"
    other = open_backend(f"{redis_server.url}/0{prefix}")
    proxy = Proxy(redis_server.port)
    backend = open_backend(f"redis://127.0.0.1:{proxy.port}/0{prefix}")
    backend.stat("v1/counters/anything")  # connected by now
    proxy.breaks = lambda: True
    with pytest.raises(Exception, match="onnect"):
        backend.try_lock("voice")
    assert other.try_lock("voice") is None
    proxy.breaks = lambda: False
    wait_until(lambda: other.try_lock("voice") is not None)
    wait_until(lambda: not backend._leases._left)
    proxy.close()


def test_what_has_become_somebody_elses_is_neither_renewed_nor_released(backend, raw, key):
    lease = backend.try_lock("voice")
    raw.set(key, "another's", px=1_000_000)
    backend._leases.renew()
    assert raw.pttl(key) > 500_000
    assert backend._leases._held == {}
    lease.release()
    assert raw.get(key) == b"another's"


def test_releasing_without_having_noticed_leaves_it_to_the_other(backend, raw, key):
    lease = backend.try_lock("voice")
    raw.set(key, "another's")
    lease.release()
    assert raw.get(key) == b"another's"


def test_one_whose_first_answer_was_lost_is_ours_all_the_same(backend, raw, key, monkeypatch):
    monkeypatch.setattr(redis_lease.os, "urandom", lambda n: b"\1" * n)
    raw.set(key, ("01" * 16))
    assert backend.try_lock("voice") is not None


def test_a_process_that_dies_leaves_one_that_ends(backend, raw, key):
    pid = os.fork()
    if not pid:
        backend.try_lock("voice")
        os._exit(0)
    os.waitpid(pid, 0)
    assert backend.try_lock("voice") is None
    raw.pexpire(key, 1)
    wait_until(lambda: backend.try_lock("voice") is not None)


def test_a_forked_child_does_not_let_go_of_what_the_parent_holds(backend, redis_url):
    lease = backend.try_lock("voice")

    def child():
        lease.release()
        backend._leases.renew()
        return open_backend(redis_url).try_lock("voice") is None

    assert in_child(child) is True
    assert open_backend(redis_url).try_lock("voice") is None
    lease.release()
    assert open_backend(redis_url).try_lock("voice") is not None
