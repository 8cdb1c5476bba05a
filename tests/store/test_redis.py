"""What is particular to Redis; the contract of all backends is in test_backends.py."""

import pytest

from stepaudio_cas.errors import Damaged, Forbidden
from stepaudio_cas.store import layout
from stepaudio_cas.store import redis as module
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from tests.support.processes import in_child
from tests.support.values import entry, recipe

OBJECT, MANIFEST = "v1/objects/ab/abcd", "v1/manifests/ab/abcd.json"


@pytest.fixture
def backend(redis_url):
    return open_backend(redis_url)


@pytest.fixture
def raw(backend):
    """The client, and the name of a key, to do what others might do."""
    client = backend._connect()
    client.key = backend._key
    return client


@pytest.fixture
def round_trips(monkeypatch):
    made, answers = [], module.answers

    def counting(pipe):
        made.append(len(pipe))
        return answers(pipe)

    monkeypatch.setattr(module, "answers", counting)
    return made


def age(raw, backend, path, seconds):
    times, member = backend._times(path)
    raw.zincrby(times, -seconds, member)


def test_a_document_is_a_plain_string_under_its_path(backend, raw, redis_url):
    backend.put(OBJECT, b"\x00content\xff")
    prefix = redis_url.partition("prefix=")[2]
    assert raw.get(f"{prefix}{OBJECT}") == b"\x00content\xff"


def test_prefixes_and_databases_keep_stores_apart(redis_server):
    urls = [f"{redis_server.url}/{db}?prefix={p}" for db in (0, 1) for p in ("a*:", "a[b]:", "ab:")]
    stores = [open_backend(url) for url in urls]
    for number, store in enumerate(stores):
        store.put(OBJECT, b"%d" % number)
    assert [store.get(OBJECT) for store in stores] == [b"%d" % n for n in range(len(stores))]
    assert [len(list(store.list("v1"))) for store in stores] == [1] * len(stores)


def test_only_objects_and_manifests_expire(redis_url, raw):
    backend = open_backend(f"{redis_url}&ttl=1h")
    kept = ["v1/pins/ab/abcd", "v1/counters/x.json", "v1/fingerprints/abcd.json"]
    for path in (OBJECT, MANIFEST, *kept):
        backend.put(path, b"x", create=path is MANIFEST)
    assert [raw.pttl(raw.key(path)) for path in kept] == [-1] * 3
    assert all(3_000_000 < raw.pttl(raw.key(path)) <= 3_600_000 for path in (OBJECT, MANIFEST))


def test_the_time_to_live_of_the_settings_counts_unless_the_url_has_one(redis_url, open_cache, raw):
    backend = open_backend(redis_url)
    backend.expire_after(60.0)
    backend.put(OBJECT, b"x")
    assert 0 < raw.pttl(raw.key(OBJECT)) <= 60_000
    own = open_backend(f"{redis_url}&ttl=1h")
    own.expire_after(60.0)
    own.put(OBJECT, b"x")
    assert raw.pttl(raw.key(OBJECT)) > 60_000
    with open_cache(redis_url, ttl="2m") as cache:
        cache.put(recipe(), [1])
    assert 60_000 < raw.pttl(raw.key(layout.manifest_path(recipe().key))) <= 120_000


def test_a_document_that_is_used_lives_on(redis_url, raw):
    open_backend(f"{redis_url}&ttl=1h").put(OBJECT, b"x")
    raw.pexpire(raw.key(OBJECT), 1_000_000)
    user = open_backend(f"{redis_url}&ttl=1h")
    assert user.get(OBJECT) == b"x"
    assert raw.pttl(raw.key(OBJECT)) <= 1_000_000
    assert user.get(OBJECT, touch=True) == b"x"
    assert raw.pttl(raw.key(OBJECT)) > 1_000_000


def test_reading_an_entry_lets_its_object_live_on_too(redis_url, raw):
    store = Store(open_backend(f"{redis_url}&ttl=1h"))
    manifest, blob = entry()
    store.commit(manifest, blob)
    paths = layout.manifest_path(manifest.key), layout.object_path(manifest.object)
    for read in (lambda s: s.read(manifest.key), lambda s: s.read_many([manifest.key])):
        for path in paths:
            raw.pexpire(raw.key(path), 1_000_000)
        read(Store(open_backend(f"{redis_url}&ttl=1h")))
        assert all(raw.pttl(raw.key(path)) > 1_000_000 for path in paths)


def test_the_time_of_a_document_is_that_of_its_last_use(redis_url, backend, raw):
    backend.put(OBJECT, b"x")
    now = backend.stat(OBJECT).mtime
    age(raw, backend, OBJECT, 5000)
    assert backend.stat(OBJECT).mtime == pytest.approx(now - 5000, abs=1)
    assert backend.get(OBJECT) == b"x"
    assert list(backend.list("v1")) == [backend.stat(OBJECT)]
    assert backend.stat(OBJECT).mtime == pytest.approx(now - 5000, abs=1), "a look is no use"
    assert backend.get(OBJECT, touch=True) == b"x"
    assert backend.stat(OBJECT).mtime > now - 100


def test_a_use_is_marked_once_an_hour(backend, raw):
    backend.put(OBJECT, b"x")
    backend.get(OBJECT, touch=True)
    age(raw, backend, OBJECT, 5000)
    before = backend.stat(OBJECT).mtime
    backend.get(OBJECT, touch=True)
    assert backend.stat(OBJECT).mtime == before


def test_a_time_that_was_lost_is_taken_for_now(backend, raw):
    backend.put(OBJECT, b"x")
    age(raw, backend, OBJECT, 5000)
    raw.delete(backend._times(OBJECT)[0])
    assert abs(backend.stat(OBJECT).mtime - backend._now()) < 60


def test_a_miss_leaves_no_time_behind(backend, raw):
    assert backend.get(OBJECT, touch=True) is None
    assert not raw.exists(backend._times(OBJECT)[0])
    backend.put(OBJECT, b"x")
    backend.delete(OBJECT)
    assert not raw.exists(backend._times(OBJECT)[0])


def test_times_of_what_redis_has_evicted_are_forgotten_in_the_end(backend, raw):
    paths = [f"v1/manifests/ab/ab{n:02d}.json" for n in range(40)]
    for number, path in enumerate(paths):
        backend.put(path, b"x")
        age(raw, backend, path, 1000 - number)
    raw.delete(*map(raw.key, paths[:30]))
    for number in range(64):
        backend.put(f"v1/manifests/ab/new{number}.json", b"x")
    times, _ = backend._times(MANIFEST)
    assert {m.decode() for m in raw.zrange(times, 0, -1) if m.startswith(b"ab")} == {
        f"ab{n}" for n in range(30, 40)
    }


def test_a_document_that_is_too_long_is_not_even_sent(backend, raw, redis_server):
    backend.put(OBJECT, bytes(4_000_000))
    before = raw.info("stats")["total_net_output_bytes"]
    with pytest.raises(Damaged):
        backend.get(OBJECT, limit=1000)
    [found] = backend.get_many([OBJECT], limit=1000)
    assert isinstance(found, Damaged)
    assert raw.info("stats")["total_net_output_bytes"] - before < 1_000_000


def test_a_key_of_another_type_is_damage_and_is_healed(backend, raw):
    manifest, blob = entry()
    path = layout.manifest_path(manifest.key)
    raw.lpush(raw.key(path), b"a list")
    with pytest.raises(Damaged):
        backend.get(path)
    assert [type(found) for found in backend.get_many([path])] == [Damaged]
    assert list(backend.list("v1")) == []
    store = Store(backend)
    store.commit(manifest, blob)
    assert store.read(manifest.key).blob == blob


def test_a_document_takes_one_round_trip_whether_it_is_there_or_not(backend, round_trips):
    backend.put(OBJECT, b"x")
    round_trips.clear()
    backend.get(OBJECT)
    backend.get(OBJECT, touch=True)
    backend.get(MANIFEST)
    assert len(round_trips) == 3


def test_a_hundred_entries_take_two_round_trips(backend, round_trips):
    store = Store(backend)
    entries = [entry(number) for number in range(100)]
    for manifest, blob in entries:
        store.commit(manifest, blob)
    keys = [manifest.key for manifest, _ in entries]
    round_trips.clear()
    found = store.read_many(keys)
    assert len(round_trips) == 2
    assert [found[key].blob for key in keys] == [blob for _, blob in entries]


def test_empty_and_missing_documents_are_told_apart_in_many(backend):
    backend.put("v1/pins/ab/a", b"")
    assert backend.get_many(["v1/pins/ab/a", "v1/pins/ab/b"]) == [b"", None]
    assert backend.get_many([]) == []


def test_listing_never_asks_for_all_keys_at_once(backend, raw):
    for number in range(50):
        backend.put(f"v1/objects/{number:02x}/x", b"x")
    raw.config_resetstat()
    assert len(list(backend.list("v1/objects"))) == 50
    used = raw.info("commandstats")
    assert "cmdstat_scan" in used
    assert "cmdstat_keys" not in used


def test_who_may_only_read_is_forbidden_to_write_and_reads_on(own_redis):
    server = own_redis()
    open_backend(server.url).put(OBJECT, b"x")
    server.ask("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection")
    backend = open_backend(server.url.replace("//", "//reader:pw@"))
    assert backend.get(OBJECT) == b"x"
    assert backend.get(OBJECT, touch=True) == b"x"
    assert backend.get_many([OBJECT, MANIFEST], touch=True) == [b"x", None]
    assert [found.path for found in backend.list("v1")] == [OBJECT]
    with pytest.raises(Forbidden):
        backend.put(OBJECT, b"y")
    with pytest.raises(Forbidden):
        backend.try_lock("x")


def test_a_server_that_is_full_goes_on_serving(own_redis):
    server = own_redis(maxmemory="4mb", maxmemory_policy="noeviction", appendonly="no")
    backend = open_backend(server.url)
    backend.put(OBJECT, b"x")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(OSError, match="memory is full") as full:
        backend.put(MANIFEST, bytes(1000))
    assert full.value.errno == 28
    assert open_backend(server.url).get(OBJECT, touch=True) == b"x"


def test_a_replica_cannot_be_written(own_redis):
    server = own_redis()
    server.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(OSError, match="replica"):
        open_backend(server.url).put(OBJECT, b"x")


def test_it_goes_on_after_a_restart_with_every_connection_it_had(own_redis):
    server = own_redis()
    backend = open_backend(server.url)
    backend.put(OBJECT, b"x")
    server.restart()
    assert backend.get(OBJECT) == b"x"
    assert backend.put(MANIFEST, b"y", create=True) is True


def test_a_forked_child_leaves_the_connections_of_the_parent_alone(backend):
    backend.put(OBJECT, b"parent")
    before = backend._connect().client_id()

    def child():
        backend.put(MANIFEST, b"child")
        return backend._connect().client_id()

    assert in_child(child) != before
    assert backend._connect().client_id() == before
    assert backend.get_many([OBJECT, MANIFEST]) == [b"parent", b"child"]


def test_times_are_those_of_the_servers_clock(redis_url, monkeypatch):
    backend = open_backend(redis_url)
    real = module.time.time
    monkeypatch.setattr(module.time, "time", lambda: real() + 5000)
    backend.put(OBJECT, b"x")
    monkeypatch.undo()
    assert abs(open_backend(redis_url).stat(OBJECT).mtime - real()) < 60
