"""Preset voices, encoded by a host's own live model between requests."""

import json
import os
import threading

import pytest

from stepaudio_cas.activation import session
from stepaudio_cas.activation.presets import Presets
from stepaudio_cas.prewarm import state
from tests.activation.preset_host import PresetHost
from tests.support.processes import in_child, wait_until


@pytest.fixture
def make(loader, monkeypatch, tmp_path):
    made = []

    def make_(**gate):
        made.append(PresetHost(loader, monkeypatch, tmp_path / "voices", **gate))
        return made[0]

    yield make_
    for host in made:
        for name in ("go on", "served"):
            host.event(name).set()
        host.presets.stop()


@pytest.fixture
def host(make):
    return make()


def test_voices_are_encoded_by_the_instance_that_is_there(host):
    voice = host.voice("anna.wav", "anna")
    encoder = host.module.Encoder()
    host.until_kept(voice)
    assert encoder.encode(b"anna") == list(b"anna")
    assert host.ran == ["anna"]


def test_they_are_labelled_and_pinned_with_their_path(host):
    voice = host.voice("anna.wav", "anna")
    encoder = host.module.Encoder()
    host.until_kept(voice)
    (key,) = host.pins()
    assert host.cache.chain.tiers[0].store.read(key).manifest.label == voice
    assert encoder.encode(b"bert") == list(b"bert")
    assert host.pins() == {key: voice}


def test_a_file_that_goes_takes_its_pin_along(host):
    voices = [host.voice(name, name) for name in ("anna.wav", "bert.wav")]
    encoder = host.module.Encoder()
    host.until_kept(*voices)
    os.unlink(voices[0])
    host.until_kept(voices[1])
    assert encoder.encode(b"anna.wav") == list(b"anna.wav")
    assert sorted(host.ran) == ["anna.wav", "bert.wav"]


def test_while_the_model_is_not_loaded_nothing_is_encoded(host):
    voice = host.voice("anna.wav", "anna")
    encoder = host.module.Encoder(loaded=False)
    host.until_counted(working=1)
    assert host.ran == []
    encoder.model = host.module.Loaded()
    host.until_kept(voice)
    assert host.ran == ["anna"]


def test_while_the_host_is_being_made_nothing_is_encoded(host):
    voice = host.voice("anna.wav", "anna")
    first = host.module.Encoder(loaded=False)

    def meanwhile():
        host.until_counted(working=1)
        first.model = host.module.Loaded()
        assert not host.presets.gate.take(0.0)

    host.module.Encoder(meanwhile=meanwhile)
    host.until_kept(voice)


def test_while_a_request_runs_no_voice_begins(host):
    encoder = host.module.Encoder()
    thread, answers = host.encode_elsewhere(encoder.serve, b"request")
    assert host.event("serving").wait(60)
    voice = host.voice("anna.wav", "anna")
    host.until_counted(working=1)
    assert host.ran == []
    host.event("served").set()
    host.until_kept(voice)
    thread.join(60)
    assert (host.ran, answers) == (["request", "anna"], [list(b"request")])


def test_a_request_waits_for_the_voice_in_hand_and_for_no_other(host, monkeypatch):
    voices = [host.voice(f"{n}.wav", f"hold {n}") for n in range(2)]
    encoder = host.module.Encoder()
    assert host.event("begun").wait(60)
    gate, waiting = host.presets.gate, []
    wait = gate.wait
    monkeypatch.setattr(gate, "wait", lambda: (waiting.append(1), wait()))
    host.event("served").set()
    first, answers = host.encode_elsewhere(encoder.encode, b"request")
    second, others = host.encode_elsewhere(encoder.serve, b"another")
    wait_until(lambda: len(waiting) == 2)
    assert len(host.ran) == 1
    host.event("go on").set()
    host.until_kept(*voices)
    first.join(60)
    second.join(60)
    assert (answers, others) == ([list(b"request")], [list(b"another")])
    assert [text[:4] for text in (host.ran[0], host.ran[3])] == ["hold", "hold"]
    assert sorted(host.ran[1:3]) == ["another", "request"]


def test_a_request_whose_answer_is_kept_does_not_wait(host):
    encoder = host.module.Encoder()
    encoder.encode(b"known")
    host.voice("anna.wav", "hold")
    assert host.event("begun").wait(60)
    assert encoder.encode(b"known") == list(b"known")
    assert host.ran == ["known", "hold"]


def test_a_request_for_the_voice_in_hand_gets_what_comes_of_it(host):
    voice = host.voice("anna.wav", "hold")
    encoder = host.module.Encoder()
    assert host.event("begun").wait(60)
    thread, answers = host.encode_elsewhere(encoder.encode, b"hold")
    wait_until(lambda: host.presets.gate.running)
    host.event("go on").set()
    thread.join(60)
    host.until_kept(voice)
    assert (answers, host.ran) == ([list(b"hold")], ["hold"])


def test_a_request_does_not_wait_for_ever(make):
    host = make(patience=0.01)
    host.voice("anna.wav", "hold")
    encoder = host.module.Encoder()
    assert host.event("begun").wait(60)
    assert encoder.encode(b"request") == list(b"request")
    assert not host.event("go on").is_set()


def test_a_file_that_the_host_refuses_is_named_and_the_rest_goes_on(host):
    broken, good = host.voice("a.wav", "broken"), host.voice("b.wav", "good")
    encoder = host.module.Encoder()
    host.until_kept(good)
    host.until_counted(failed=1, done=1)
    assert any(broken in text and "ValueError: this is no sound" in text for text in host.said)
    with pytest.raises(ValueError, match="this is no sound"):
        encoder.encode(b"broken")
    os.rename(host.voice("new.part", "mended"), broken)
    host.until_kept(broken, good)


def test_whatever_the_host_raises_ends_one_voice_only(host):
    wrong, good = host.voice("a.wav", "interrupt"), host.voice("b.wav", "good")
    encoder = host.module.Encoder()
    host.until_kept(good)
    host.until_counted(failed=1, done=1)
    assert any(wrong in text and "KeyboardInterrupt: as a host may" in text for text in host.said)
    assert encoder.encode(b"good") == list(b"good")
    assert set(host.ran) == {"interrupt", "good"}


def test_a_result_that_cannot_be_kept_is_the_fault_of_no_store(host):
    wrong, good = host.voice("a.wav", "no tokens"), host.voice("b.wav", "good")
    encoder = host.module.Encoder()
    host.until_kept(good)
    host.until_counted(failed=1, done=1)
    assert any(f"{wrong} failed: what test.Encoder.encode/1 returned" in t for t in host.said)
    assert state.read_all(state.default_folder())[0]["trouble"] == ""
    assert encoder.encode(b"good") == list(b"good")


def test_while_a_store_is_away_voices_wait(host, root):
    store = host.cache.chain.tiers[0].store.backend
    put, store.put = store.put, lambda *_, **__: os.open("/nowhere/at/all", os.O_RDONLY)
    voices = [host.voice(f"{n}.wav", f"{n}") for n in range(3)]
    encoder = host.module.Encoder()
    host.until_counted(waiting=3)
    wait_until(lambda: any("does not do its part" in text for text in host.said))
    assert state.read_all(state.default_folder())[0]["trouble"]
    store.put = put
    host.until_kept(*voices)
    assert encoder.encode(b"1") == list(b"1")


def test_a_call_that_cannot_be_kept_is_not_made_for_a_voice(host):
    host.voice("anna.wav", "anna")
    captured = []
    host.module.Encoder.serve = lambda self, audio: captured  # what it does has no text
    encoder = host.module.Encoder()
    host.until_counted(failed=1)
    assert host.ran == []
    assert encoder.encode(b"request") == list(b"request")
    assert any("encode/1 is passed through: changed-host" in text for text in host.said)


def test_the_class_that_is_declared_last_is_asked(make):
    host = make(studio=True)
    voice = host.voice("anna.wav", "anna")
    studio = host.module.Studio(host.module.Encoder())
    wait_until(lambda: len(host.pins()) == 2)
    assert set(host.pins().values()) == {voice}
    assert studio.prepare(voice) == [list(b"studio: anna")]
    assert host.ran == ["studio: anna"]


def test_while_it_has_no_instance_another_class_is_asked_only_if_it_serves(make):
    host = make(studio=True)
    voice = host.voice("anna.wav", "anna")
    encoder = host.module.Encoder()
    host.until_counted(working=1)
    assert not host.presets.ready
    encoder.encode(b"request")
    host.until_kept(voice)
    assert host.ran == ["request", "anna"]


def test_an_instance_that_is_gone_is_not_asked_and_not_kept_alive(host):
    encoder = host.module.Encoder()
    host.encode_elsewhere(encoder.encode, b"request")[0].join(60)
    assert host.presets.ready
    del encoder
    wait_until(lambda: not host.presets.ready)


def test_of_two_that_watch_a_folder_one_does_it_and_the_other_says_so(host):
    host.module.Encoder()
    host.until_counted(done=0)
    other = Presets(host.cache, [str(host.voices)])
    other._say = lambda text, **_: said.append(text)
    said = []
    other._start()
    wait_until(lambda: said)
    other.stop()
    assert said[0].startswith(f"{host.voices} is watched already, by process {os.getpid()}")


def test_a_folder_that_is_not_there_is_said_once_and_the_host_goes_on(host, tmp_path):
    other = host.watch([str(tmp_path / "missing")])
    other._start()
    wait_until(lambda: host.said)
    other.stop()
    assert host.said == [f"presets: {tmp_path}/missing: there is no such folder"]


def test_a_host_whose_plugin_encodes_no_voice_says_so_once_and_watches_nothing(make):
    host = make(mute=True)
    host.voice("anna.wav", "anna")
    for _ in range(2):
        assert host.module.Encoder().encode(b"bert") == list(b"bert")
    (said,) = host.said
    assert said.startswith(f"presets: {host.voices} is not watched: the plugin test does not say")
    assert state.read_all(state.default_folder()) == []
    assert host.presets._thread is None


def test_a_forked_child_waits_for_nobody_and_leaves_the_folder_to_its_parent(host):
    voice = host.voice("anna.wav", "hold")
    encoder = host.module.Encoder()
    assert host.event("begun").wait(60)

    def work():
        found = encoder.encode(b"child")
        return found, host.presets.gate.taken, [t.name for t in threading.enumerate()][1:]

    found, taken, threads = in_child(work)
    assert (found, taken) == (list(b"child"), False)
    assert threads.count("stepaudio-cas presets") <= 1
    host.event("go on").set()
    host.until_kept(voice)
    assert json.loads(json.dumps(state.read_all(state.default_folder())))[0]["pid"] == os.getpid()


@pytest.fixture
def own_session(monkeypatch, root):
    monkeypatch.setenv("STEPAUDIO_CAS", str(root))
    monkeypatch.setenv("STEPAUDIO_CAS_LOG", "error")
    monkeypatch.setenv("STEPAUDIO_CAS_WATCH", "/srv/a, /srv/b")
    made = session.Session()
    yield made
    made.cache().close()


def test_the_environment_says_which_folders(own_session):
    assert own_session.presets()._folders == ("/srv/a", "/srv/b")
    assert own_session.presets() is own_session.presets()


@pytest.mark.parametrize("mode", ["ro", "off"])
def test_where_nothing_can_be_written_nothing_is_watched(own_session, monkeypatch, mode, capfd):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", mode)
    assert own_session.presets() is None
    assert "STEPAUDIO_CAS_WATCH: no store here may be written to" in capfd.readouterr().err


def test_a_tool_that_has_a_cache_of_its_own_watches_nothing(own_session, open_cache):
    own_session.use(open_cache())
    assert own_session.presets() is None


def test_the_whole_voice_is_pinned_although_a_request_had_it_encoded(make, tmp_path):
    host = make(studio=True)
    studio = host.module.Studio(host.module.Encoder())
    asked = tmp_path / "asked.wav"
    asked.write_text("anna")
    studio.prepare(str(asked))
    voice = host.voice("anna.wav", "anna")
    host.until_kept(voice, voice)
    moved = str(host.voices / "moved.wav")
    os.rename(voice, moved)
    host.until_kept(moved, moved)
    assert host.ran == ["studio: anna"]


def test_a_live_host_is_given_nothing_but_real_results(make):
    host = make(studio=True)
    studio = host.module.Studio(host.module.Encoder())
    voice = host.voice("anna.wav", "anna")
    host.until_kept(voice, voice)
    calls, trouble = host.presets.key(voice)
    assert ([call.state for call in calls], trouble) == (["asked", "there"], "")
    assert host.module.given == [list(b"studio: anna")] * 2
    other = host.voices.parent / "other.wav"
    other.write_text("bert")
    calls, trouble = host.presets.key(str(other))
    assert ([call.state for call in calls], trouble) == (["asked", "asked"], "")
    assert (host.ran, len(host.module.given)) == (["studio: anna"], 2)
    assert studio.prepare(voice) == [list(b"studio: anna")]


def test_a_store_that_has_lost_a_voice_gets_it_although_memory_has_it(host, root):
    anna, bert = host.voice("anna.wav", "anna"), host.voice("bert.wav", "bert")
    encoder = host.module.Encoder()
    host.until_kept(anna, bert)
    encoder.encode(b"anna")
    assert len(host.cache.chain.memory)
    root.rename(root.with_name("lost"))
    copy = host.voice("copy.wav", "anna")
    wait_until(lambda: sorted(host.ran) == ["anna", "anna", "bert", "bert"])
    wait_until(lambda: len(host.pins()) == 2)
    assert set(host.pins().values()) <= {anna, bert, copy}
