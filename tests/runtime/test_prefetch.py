"""What a worker that has just started copies, and what it leaves alone."""

import threading

import pytest

from stepaudio_cas.artifact.signing import Ed25519, Signer
from stepaudio_cas.identity.fingerprint import make_fingerprint
from stepaudio_cas.runtime.prefetch import AT_ONCE, MAX_FAILURES, PINS, Prefetch
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.runtime.helpers import GENEROUS, chain, counted, quiet
from tests.support.faulty import FaultyBackend
from tests.support.processes import wait_until
from tests.support.values import Computation, entry, recipe


@pytest.fixture
def shared(monkeypatch):
    """A store that others have filled with ten voices, the last one newest; two are pinned."""
    backend = FaultyBackend()
    store, now = Store(backend), [1_000_000.0]
    monkeypatch.setattr("stepaudio_cas.store.memory.time.time", lambda: now[0])
    for number in range(10):
        now[0] += 60
        store.commit(*entry(number, voice(number)))
    for number in (3, 7):
        backend.put(layout.pin_path(recipe(number).key), b"")
    backend.calls.clear()
    return backend


def voice(number):
    """Return tokens of a realistic length."""
    return [number] * 3000, [number]


def fetch(local, shared, what, *, recorder=None, stop=None):
    recorder = recorder or quiet()
    of = chain(local, shared, recorder=recorder)
    Prefetch(of, recorder, what).run(stop or threading.Event())
    return {n for n in range(10) if Store(local).read(recipe(n).key) is not None}


def test_pinned_voices_are_copied_and_no_others(local_store, shared):
    recorder = quiet()
    assert fetch(local_store, shared, PINS, recorder=recorder) == {3, 7}
    assert counted(recorder, "promoted") == counted(recorder, "stored") == 2
    assert counted(recorder, "bytes.read") == counted(recorder, "bytes.written") > 0


def test_a_copy_costs_two_reads_and_no_look_before(local_store, shared):
    fetch(local_store, shared, PINS)
    assert sorted(verb for verb, _ in shared.calls) == ["get"] * 4 + ["list"]


def test_the_description_of_a_model_comes_with_its_entries_once(local_store, shared):
    model = make_fingerprint(files={}, settings={"beam": 4}, source={}, runtime={})
    for number in (3, 7):
        manifest, blob = entry(number + 20, voice(number), fingerprint=model.id)
        Store(shared).commit(manifest, blob, model)
        shared.put(layout.pin_path(manifest.key), b"")
    shared.calls.clear()
    fetch(local_store, shared, PINS)
    assert Store(local_store).fingerprint(model.id) == model
    described = [path for verb, path in shared.calls if path == layout.fingerprint_path(model.id)]
    assert len(described) == 1


def test_everything_is_copied_if_the_bound_allows_it(local_store, shared):
    assert fetch(local_store, shared, 10**9) == set(range(10))


def test_the_newest_are_copied_up_to_the_bound_today_and_tomorrow(local_store, shared):
    size = len(entry(9, voice(9))[1])
    copied = fetch(local_store, shared, size * 4 + 1)
    assert len(copied) == 4
    assert copied <= set(range(10 - 4 - (AT_ONCE - 1), 10))  # some are on their way at once
    assert fetch(local_store, shared, size * 4 + 1) == copied


def test_what_is_there_is_not_copied_again(local_store, shared):
    fetch(local_store, shared, 10**9)
    shared.calls.clear()
    assert fetch(local_store, shared, 10**9) == set(range(10))
    assert [verb for verb, _ in shared.calls] == ["list"]


def test_a_damaged_voice_is_left_out(local_store, shared):
    shared.inner.put(layout.manifest_path(recipe(3).key), b"damaged")
    assert fetch(local_store, shared, PINS) == {7}


def test_a_pin_without_a_voice_is_left_out(local_store, shared):
    shared.put(layout.pin_path(recipe(99).key), b"")
    assert fetch(local_store, shared, PINS) == {3, 7}


def test_a_store_that_fails_is_given_up_and_its_breaker_left_alone(local_store, shared):
    for number in range(10, 60):
        shared.put(layout.manifest_path(recipe(number).key), b"whatever")
    shared.fail("get", OSError("down"))
    recorder = quiet()
    of = chain(local_store, shared, recorder=recorder)
    Prefetch(of, recorder, 10**9).run(threading.Event())
    assert MAX_FAILURES <= counted(recorder, "error.prefetch.t1") < MAX_FAILURES + AT_ONCE
    assert of.tiers[1].reading.state == "closed"


def test_a_store_that_does_not_list_is_said(local_store, shared):
    shared.fail("list", OSError("no"))
    recorder = quiet()
    assert fetch(local_store, shared, PINS, recorder=recorder) == set()
    assert counted(recorder, "error.prefetch.t1") == 1


def test_it_stops_when_told(local_store, shared):
    stop = threading.Event()
    stop.set()
    assert fetch(local_store, shared, 10**9, stop=stop) == set()


def test_one_process_of_a_machine_does_it(local_store, shared):
    lock = local_store.try_lock("prefetch")
    assert fetch(local_store, shared, PINS) == set()
    assert shared.calls == []
    lock.release()
    assert fetch(local_store, shared, PINS) == {3, 7}


def test_without_a_local_store_there_is_nowhere_to_copy_to(shared):
    above = MemoryBackend("prefetch-above")
    assert fetch(above, shared, PINS) == set()
    assert shared.calls == []


def test_a_cache_that_is_opened_has_what_is_pinned_before_the_first_call(
    open_cache, shared, root, monkeypatch
):
    backends = {"here": LocalBackend(root), "there": shared}
    monkeypatch.setattr("stepaudio_cas.runtime.opening.open_backend", backends.__getitem__)
    monkeypatch.setenv("STEPAUDIO_CAS_PREFETCH", "pins")
    cache = open_cache("here,there", memory="0", deadline=GENEROUS)
    wait_until(lambda: Store(backends["here"]).read(recipe(7).key))
    computation = Computation()
    assert cache.get_or_compute(recipe(7), computation) == voice(7)
    assert computation.runs == 0


def test_a_call_does_not_wait_for_a_prefetch_that_hangs(open_cache, shared, root, monkeypatch):
    backends = {"here": LocalBackend(root), "there": shared}
    monkeypatch.setattr("stepaudio_cas.runtime.opening.open_backend", backends.__getitem__)
    shared.hang("list")
    cache = open_cache("here,there", memory="0", deadline=GENEROUS, prefetch="1GB")
    wait_until(lambda: ("list", layout.MANIFESTS) in shared.calls)
    computation = Computation(number=4)
    assert cache.get_or_compute(recipe(4), computation) == voice(4)
    assert computation.runs == 0
    cache.close()
    shared.mend()


def test_nothing_is_fetched_unless_it_is_asked_for(open_cache, shared, root, monkeypatch):
    backends = {"here": LocalBackend(root), "there": shared}
    monkeypatch.setattr("stepaudio_cas.runtime.opening.open_backend", backends.__getitem__)
    cache = open_cache("here,there")
    assert cache._housekeeping._prefetch is None
    assert not cache._housekeeping.started


@pytest.fixture
def local_store(root):
    return LocalBackend(root)


def test_who_has_only_public_keys_gets_copies_as_they_were_signed(local_store):
    pytest.importorskip("cryptography")
    private = Ed25519(private=bytes(range(32)))
    public = Signer([Ed25519(public=private.public)])
    shared = MemoryBackend("signed")
    Store(shared, signer=Signer([private])).commit(*entry(1))
    of = chain(local_store, shared)
    for tier in of.tiers:
        tier.store = Store(tier.store.backend, signer=public)
    Prefetch(of, quiet(), 10**9).run(threading.Event())
    assert Store(local_store, signer=public).read(recipe(1).key) is not None
