"""Stores that are away for a while: nothing is lost, and nothing is encoded for nothing."""

import contextlib
import shutil

import pytest

from stepaudio_cas.prewarm.settle import Settle
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.pins import read_pin
from tests.prewarm.watching import QUICK, Watching


class Unplugged:
    """A folder that is not there for a while; not even root can write where it was."""

    def __init__(self, folder):
        self._folder, self._kept = folder, folder.with_name(f"{folder.name}.kept")

    def __enter__(self):
        self._folder.rename(self._kept)
        while not self._folder.is_file():
            shutil.rmtree(self._folder, ignore_errors=True)  # a writer may have made it anew
            with contextlib.suppress(IsADirectoryError):
                self._folder.touch()

    def __exit__(self, *_):
        self._folder.unlink()
        self._kept.rename(self._folder)


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Return what has been encoded, in order, when it is called."""
    path = tmp_path / "notes"
    path.touch()
    monkeypatch.setenv("SMALL_HOST_NOTES", str(path))
    return lambda: path.read_text().splitlines()


@pytest.fixture
def watch(small, root, tmp_path, notes):
    def start(*roots, **how):
        plan = QUICK._replace(**how)
        return Watching(small, root, tmp_path / "states", plan, roots=roots)

    return start


def document(watching):
    return watching.places[0].read() or {}


def failures(watching):
    """Return how often a store that is away has failed so far."""
    return max((away.failures for away in watching.daemon._stores._away.values()), default=0)


def test_while_the_store_is_away_voices_wait_and_then_all_of_them_go(watch, small, root, notes):
    with watch() as watching:
        watching.wait_for(small.voice("0.wav", "la 0"), "new")
        with Unplugged(root):
            voices = [small.voice(f"{n}.wav", f"la {n}") for n in range(1, 6)]
            watching.until(lambda: failures(watching) > 9)  # more often than a file is tried again
            watching.until(lambda: document(watching).get("status") == "troubled")
            found = document(watching)
            assert found["trouble"].startswith(f"file://{root}: NotADirectoryError")
            watching.until(lambda: document(watching)["voices"]["waiting"] == 5)
            assert document(watching)["failures"] == []
            encoded = len(notes())
            assert encoded <= 3  # what was in hand, and what had been given already
        for voice in voices:
            watching.wait_for(voice, "new")
        watching.until(lambda: document(watching)["status"] == "idle")
        assert len(notes()) == encoded + 5
        assert len(watching.labels()) == 12


def test_a_store_that_takes_a_trial_but_no_voice_gets_one_at_a_time(watch, small, root, notes):
    with watch() as watching:
        watching.wait_for(small.voice("0.wav", "la 0"), "new")
        with Unplugged(root / "v1/manifests"):
            voices = [small.voice(f"{n}.wav", f"la {n}") for n in range(1, 4)]
            watching.until(lambda: failures(watching) > 5)
            watching.until(lambda: document(watching).get("status") == "troubled")
            assert len(notes()) <= 2 + failures(watching)
            assert set(notes()) == {f"la {n}" for n in range(4)}  # none of them is to blame
        for voice in voices:
            watching.wait_for(voice, "new")
        watching.until(lambda: document(watching)["status"] == "idle")


def test_a_file_that_goes_while_its_store_is_away_leaves_no_trouble_behind(watch, small, root):
    with watch() as watching:
        watching.wait_for(small.voice("0.wav", "la 0"), "new")
        with Unplugged(root):
            voice = small.voices / "1.wav"
            small.voice("1.wav", "la 1")
            watching.until(lambda: failures(watching) > 1)
            voice.unlink()
            watching.until(lambda: str(voice) not in watching.daemon.desk.records)
        watching.until(lambda: document(watching)["status"] == "idle")


def test_a_voice_that_the_host_does_not_let_us_keep_is_to_blame_itself(watch, small, notes):
    broken = small.voice("1.wav", "broken")
    with watch() as watching:
        watching.wait_for(broken, "failed", times=3)
        watching.until(lambda: document(watching).get("status") == "idle")
        assert watching.daemon._stores.trouble == ""


@pytest.fixture
def other(tmp_path):
    made = tmp_path / "other"
    made.mkdir()
    return made


def pins_in(folder):
    backend = LocalBackend(folder)
    found = {path.name for path in (folder / "v1/pins").rglob("*") if path.is_file()}
    return {key: read_pin(backend, key).label for key in found}


def test_a_later_store_that_is_away_holds_nobody_up_and_gets_all_it_lacks(
    watch, small, other, notes
):
    with watch(other) as watching:
        gone = small.voices / "gone.wav"
        watching.wait_for(small.voice("gone.wav", "la la"), "new")
        watching.until(lambda: len(pins_in(other)) == 2)
        with Unplugged(other):
            voices = [small.voice(f"{n}.wav", f"la {n}") for n in range(3)]
            for voice in voices:
                watching.wait_for(voice, "new")
            gone.unlink()
            watching.until(lambda: document(watching)["owed"] == 8)
            watching.until(lambda: len(watching.labels()) == 6)
            found = document(watching)
            assert (found["status"], found["voices"]["done"]) == ("troubled", 3)
            assert found["trouble"].startswith(f"file://{other}: NotADirectoryError")
        watching.until(lambda: document(watching)["status"] == "idle")
        watching.until(lambda: pins_in(other) == watching.labels())
        for key in watching.labels():
            assert (other / f"v1/manifests/{key[:2]}/{key}.json").exists()
        assert document(watching)["owed"] == 0
    assert sorted(notes()) == ["la 0", "la 1", "la 2", "la la"]


def test_once_ends_although_a_store_is_away(watch, small, root, notes):
    root.touch()
    for number in range(5):
        small.voice(f"{number}.wav", f"la {number}")
    with watch(once=True) as watching:
        watching._thread.join(60)
        assert not watching._thread.is_alive()
        assert watching.daemon.troubled
        assert watching.daemon.unwritten == 0
    assert len(notes()) <= 2
    said = [text for text, _ in watching.said]
    assert any(text.endswith("; --once does not wait for it") for text in said)
    assert not any("wait" in text.replace("does not wait", "") for text in said)


def test_once_ends_although_a_later_store_is_away(watch, small, other, notes):
    small.voice("1.wav", "la 1")
    with Unplugged(other), watch(other, once=True) as watching:
        watching._thread.join(60)
        assert not watching._thread.is_alive()
        assert watching.daemon.troubled
    assert notes() == ["la 1"]


def test_once_promises_nothing_that_it_does_not_do(watch, small):
    broken = small.voice("1.wav", "broken")
    with watch(once=True) as watching:
        watching._thread.join(60)
    (text,) = [text for text, facts in watching.said if facts.get("voice") == broken]
    assert text.endswith("; --once does not try it again")


def test_a_ledger_that_cannot_be_written_makes_voices_wait(watch, small, monkeypatch):
    with watch() as watching:
        (ledger,) = watching.keeping._ledgers.values()
        refusals = iter([OSError(28, "No space left on device")] * 4)
        original = ledger.add

        def full(key, voice):
            for error in refusals:
                raise error
            original(key, voice)

        ledger.add = full
        anna = small.voice("anna.wav", "la")
        watching.wait_for(anna, "waiting", times=4)
        watching.wait_for(anna, "there")
        watching.until(lambda: document(watching).get("status") == "idle")
        assert set(watching.labels().values()) == {anna}


def test_what_is_heard_of_polling_is_no_error_if_it_was_asked_for(watch, small):
    said = []
    watching = watch(poll=True, settle=Settle(0.01))
    watching.daemon._watched[str(small.voices)]._tell = lambda text, **how: said.append((text, how))
    with watching:
        watching.wait_for(small.voice("1.wav", "la 1"), "new")
    assert said == [(f"{small.voices} is polled: as told", {"error": False})]
