"""Events as they happen, to whoever listens; who does not read is dropped, and nobody waits."""

import asyncio
import socket
import threading

import pytest

from stepaudio_cas.errors import Bypass
from stepaudio_cas.web import feed as feeds
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.feed import Feed
from tests.support.processes import wait_until
from tests.web.serving import Events
from tests.web.test_writing import watch


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Events are passed on at once."""
    monkeypatch.setattr("stepaudio_cas.web.service.TICK", 0.01)


@pytest.fixture
def call(host):
    return host.cache.cached(version="1", name="host.tokens")(lambda audio: [len(audio)])


def test_a_miss_and_a_hit_are_told(host, call):
    with Events(host) as events:
        wait_until(lambda: host.inside._observer.followed)
        call(b"anna")
        call(b"anna")
        _, miss, _ = events.next("miss")
        _, hit, _ = events.next("hit")
    assert (miss["plugin"], miss["ours"]) == ("host.tokens", True)
    assert (hit["key"], hit["tier"]) == (miss["key"], "memory")
    assert hit["saved"] >= 0 <= hit["seconds"]


def test_a_bypass_and_an_error_are_told_with_their_reason(host):
    with Events(host) as events:
        wait_until(lambda: host.inside._observer.followed)
        host.cache.bypassed(Bypass("stateful", "a session goes on"), "host.tokens")
        host.cache.recorder.error("store.disk", "no space left")
        _, bypass, _ = events.next("bypass")
        _, error, _ = events.next("error")
    assert (bypass["reason"], bypass["detail"]) == ("stateful", "a session goes on")
    assert (error["kind"], error["text"]) == ("store.disk", "no space left")


def test_who_comes_back_gets_what_he_has_missed(host, call):
    with Events(host) as events:
        wait_until(lambda: host.inside._observer.followed)
        call(b"anna")
        _, _, last = events.next("miss")
        call(b"bert")
        _, bert, _ = events.next("miss")
    with Events(host, {"Last-Event-ID": last}) as events:
        _, again, _ = events.next("miss", "skipped")
    assert again == bert
    with Events(host, {"Last-Event-ID": "another.7"}) as events:
        assert events.next()[:2] == (
            "skipped",
            {"time": pytest.approx(0, abs=1e11), "number": None},
        )


def test_of_very_many_events_the_last_are_sent_and_the_others_counted(host, call):
    with Events(host) as events:
        wait_until(lambda: host.inside._observer.followed)
        for number in range(120):
            host.cache.bypassed(Bypass("stateful", str(number)), "p")
        seen = skipped = 0
        while seen + skipped < 120:
            kind, said, _ = events.next("bypass", "skipped")
            seen += kind == "bypass"
            skipped += said.get("number", 0)
    assert said["detail"] == "119"
    assert skipped >= 120 - 2 * 50


def test_a_client_that_has_gone_is_forgotten(host):
    service = host.inside._server._service
    with Events(host):
        wait_until(lambda: service.feed.clients == 1)
    wait_until(lambda: service.feed.clients == 0)
    wait_until(lambda: not host.inside._observer.followed)


def test_a_client_that_does_not_read_is_dropped_and_the_others_are_served(
    host, monkeypatch, caplog
):
    monkeypatch.setattr(feeds, "SLOW", 1.0)
    service = host.inside._server._service
    with socket.socket() as stuck, Events(host) as events:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", host.port))
        stuck.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: service.feed.clients == 2)
        wait_until(lambda: host.inside._observer.followed)

        def until_the_last():
            while events.next("bypass")[1]["reason"] != "last":
                pass

        def more():
            for _ in range(10):
                host.cache.bypassed(Bypass("stateful", "x" * 20_000), "p")
            return service.feed.clients == 1

        reader = threading.Thread(target=until_the_last)
        reader.start()
        wait_until(more)
        host.cache.bypassed(Bypass("last"), "p")
        reader.join(60)
        assert not reader.is_alive()
    assert caplog.messages == []


def test_there_is_an_end_to_how_many_may_listen(monkeypatch):
    monkeypatch.setattr(feeds, "MOST_CLIENTS", 1)

    async def listen():
        feed = Feed()
        feed.stream("")
        with pytest.raises(ApiError) as raised:
            feed.stream("")
        return raised.value.status_code

    assert asyncio.run(listen()) == 429


def test_what_is_not_kept_any_more_is_counted():
    async def listen():
        feed = Feed()
        feed.publish([("hit", {"n": n}) for n in range(feeds.KEPT + 10)])
        return feed.since(f"{feed.boot}.4").decode(), feed.since(f"{feed.boot}.{10**14}")

    old, future = asyncio.run(listen())
    assert '"number":6' in old.splitlines()[1]
    assert old.count("event: hit") == feeds.KEPT
    assert future == b""


def test_standalone_what_all_processes_have_counted_is_told(fresh, serve, open_cache, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.figures.EVERY", 0.05)
    api = serve()
    with Events(api) as events:
        with open_cache() as cache:
            cache.cached(version="1", name="host.tokens")(lambda audio: [1])(b"dora")
        _, said, _ = events.next("counts")
    assert said["misses"] == 1


def test_what_becomes_of_voices_is_told(fresh, serve, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.figures.EVERY", 0.05)
    api = serve()
    watch(api, "/srv/voices")
    with Events(api) as events:
        wait_until(lambda: "/srv/voices" in api.service._watched)
        watch(api, "/srv/voices", status="troubled", trouble="no mount")
        _, said, _ = events.next("prewarm")
    assert (said["folder"], said["status"]) == ("/srv/voices", "troubled")
    assert said["changed"] == "troubled; 1 done; no mount"
