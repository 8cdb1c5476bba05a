"""One voice through a host: what becomes of it."""

import json

import pytest

from stepaudio_cas.activation.loading import Host
from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.prewarm.encode import FAILED, NEW, THERE, Encoding, find_keys
from stepaudio_cas.prewarm.voices import Voice
from stepaudio_cas.runtime.attended import Attended
from stepaudio_cas.runtime.opening import build_kind
from stepaudio_cas.settings import Settings
from stepaudio_cas.store import layout


def pin_all(backend, key, label):
    pin(backend, key, label=label)


@pytest.fixture
def voice(tmp_path):
    path = tmp_path / "anna.wav"
    path.write_text("la")
    return Voice(str(path))


@pytest.fixture
def cache(root):
    settings = Settings(stores=(str(root),)).override(log="off", memory=0)
    made = build_kind(Attended, settings, strict=True)
    yield made
    made.close()


@pytest.fixture
def host(cache):
    @cache.cached(version="1", name="encode", keep=lambda tokens: tokens != [0])
    def encode(audio):
        return [len(audio)]

    def ask(path):
        with open(path, "rb") as file:
            return encode(file.read())

    return Host([ask], cache)


def test_a_voice_is_new_and_then_there(host, voice):
    first, second = Encoding()(host, voice), Encoding()(host, voice)
    assert (first.state, first.label) == (NEW, voice.label)
    assert (second.state, second.keys) == (THERE, first.keys)
    assert len(first.keys) == 1


def test_its_entries_are_labelled_and_pinned_with_its_path(host, voice):
    (key,) = Encoding(pin_all)(host, voice).keys
    (store,) = host.stores
    assert store.read(key).manifest.label == voice.label
    assert json.loads(store.backend.get(layout.pin_path(key)))["label"] == voice.label


def test_a_voice_that_is_there_already_is_pinned_as_well(host, voice):
    Encoding()(host, voice)
    (key,) = Encoding(pin_all)(host, voice).keys
    assert host.stores[0].backend.stat(layout.pin_path(key)) is not None


def test_without_pins_there_are_none(host, voice):
    Encoding()(host, voice)
    assert list(host.stores[0].backend.list(layout.PINS)) == []


def test_what_the_host_says_of_a_broken_voice_is_passed_on(cache, voice):
    def ask(path):
        raise OSError(f"{path} is no sound")

    outcome = Encoding(pin_all)(Host([ask], cache), voice)
    assert outcome.state == FAILED
    assert outcome.why == f"the host says: OSError: {voice.label} is no sound"


def test_a_voice_that_is_not_there_is_an_outcome_like_others(host, tmp_path):
    outcome = Encoding()(host, Voice(str(tmp_path / "gone.wav")))
    assert (outcome.state, "No such file" in outcome.why) == (FAILED, True)
    outcome = Encoding()(host, Voice("memory://no-such/gone.wav"))
    assert (outcome.state, "FileNotFoundError" in outcome.why) == (FAILED, True)


def test_a_host_that_asks_for_nothing_that_is_cached_is_told_so(cache, voice):
    outcome = Encoding()(Host([len], cache), voice)
    assert (outcome.state, "no call that is cached" in outcome.why) == (FAILED, True)


def test_a_call_that_is_passed_through_fails_with_its_reason(cache, voice):
    encode = cache.cached(version="1", name="encode")(lambda audio: [1])
    outcome = Encoding()(Host([lambda path: encode([object()])], cache), voice)
    assert outcome.state == FAILED
    assert outcome.why.startswith("encode is passed through: undescribable")


def test_what_is_not_kept_has_failed(host, cache, voice):
    empty = Voice(voice.label)
    with open(voice.label, "w"):
        pass
    outcome = Encoding(pin_all)(host, empty)
    why = "what encode returned could not be kept: not-kept: the result is not one to keep"
    assert (outcome.state, outcome.why, outcome.store) == (FAILED, why, "")


def test_a_store_that_does_not_take_it_makes_it_fail(host, cache, voice, monkeypatch):
    def full(path, data, *, create=False):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.chain.tiers[0].store.backend, "put", full)
    outcome = Encoding()(host, voice)
    assert (outcome.state, "could not be kept" in outcome.why) == (FAILED, True)
    text = f"could not be kept in {cache.chain.tiers[0].store.url}: OSError: [Errno 28] No space"
    assert text in outcome.why


def test_a_store_that_takes_no_pins_is_named(host, cache, voice):
    def full(backend, key, label):
        raise OSError(28, "No space left on device")

    outcome = Encoding(full)(host, voice)
    why = f"it is encoded, but cannot be pinned in {cache.chain.tiers[0].store.url}: OSError"
    assert (outcome.state, why in outcome.why) == (FAILED, True)


def test_a_full_disk_for_copies_is_named(host, voice, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("shutil.copyfile", full)
    outcome = Encoding(apart=True)(host, voice)
    why = f"{tmp_path} has no room for a copy: No space left on device; TMPDIR names another"
    assert (outcome.state, outcome.why) == (FAILED, why)
    assert outcome.store == str(tmp_path)


def test_a_store_that_cannot_be_asked_whether_it_has_it_is_named(host, cache, voice, monkeypatch):
    def unplugged(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cache.chain.tiers[0].store.backend, "stat", unplugged)
    outcome = Encoding()(host, voice)
    assert (outcome.state, outcome.store) == (FAILED, host.stores[0].url)


def test_who_waits_for_a_store_asks_it_again_at_once(host, cache, voice, monkeypatch):
    encoding = Encoding(patient=True)

    def full(path, data, *, create=False):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as outage:
        outage.setattr(cache.chain.tiers[0].store.backend, "put", full)
        assert encoding(host, voice).store == host.stores[0].url
    assert cache.chain.tiers[0].writing.state == "open"
    assert encoding(host, voice).state == NEW


def test_keys_are_found_as_they_would_stand_in_the_store(host, cache, voice):
    keys = find_keys(host, voice)
    (call,) = keys.calls
    assert host.stores[0].read(call.manifest.key) is None
    Encoding()(host, voice)
    stored = host.stores[0].read(call.manifest.key).manifest
    told = ("key", "schema", "inputs", "params", "fingerprint")
    assert [getattr(call.manifest, n) for n in told] == [getattr(stored, n) for n in told]
    path = layout.fingerprint_path(stored.fingerprint)
    assert call.document == host.stores[0].backend.get(path)


def test_what_keeps_us_from_finding_keys_is_said(host, tmp_path):
    keys = find_keys(host, Voice(str(tmp_path / "gone.wav")))
    assert keys.calls == ()
    assert "No such file" in keys.trouble
