"""What a daemon does with one file after the other."""

import itertools
import os
import shutil

import pytest

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.maintenance.pins import pin, read_pin
from stepaudio_cas.prewarm import watched as watched_module
from stepaudio_cas.prewarm.daemon import check_folder
from stepaudio_cas.prewarm.settle import Settle
from tests.prewarm.watching import QUICK, Watching

BOTH = pytest.mark.parametrize("poll", [False, True], ids=["events", "polling"])


@pytest.fixture
def watch(small, root, tmp_path):
    def start(**how):
        return Watching(small, root, tmp_path / "states", QUICK._replace(**how))

    return start


@BOTH
def test_what_is_there_and_what_comes_is_encoded_labelled_and_pinned(poll, watch, small):
    anna = small.voice("anna.wav", "la")
    with watch(poll=poll) as watching:
        watching.wait_for(anna, "new")
        bert = small.voice("more/and more/bert.mp3", "lo")
        watching.wait_for(bert, "new")
        assert sorted(watching.labels().values()) == [anna, anna, bert, bert]


@BOTH
def test_a_file_that_goes_takes_its_pins_along_and_its_entry_stays(poll, watch, small):
    anna = small.voice("anna.wav", "la")
    with watch(poll=poll) as watching:
        watching.wait_for(anna, "new")
        (key, *_) = watching.labels()
        os.unlink(anna)
        watching.until(lambda: not watching.labels())
        assert watching.backend.stat(f"v1/manifests/{key[:2]}/{key}.json") is not None


@BOTH
def test_a_file_that_moves_keeps_its_pins_and_gets_a_new_label(poll, watch, small):
    anna = small.voice("anna.wav", "la")
    with watch(poll=poll) as watching:
        watching.wait_for(anna, "new")
        before = watching.labels().keys()
        moved = str(small.voices / "moved.wav")
        os.rename(anna, moved)
        watching.wait_for(moved, "there")
        watching.until(lambda: set(watching.labels().values()) == {moved})
        assert watching.labels().keys() == before


def test_two_files_that_sound_the_same_share_a_pin_until_both_are_gone(watch, small):
    first, second = small.voice("1.wav", "la"), small.voice("2.wav", "la")
    with watch() as watching:
        watching.wait_for(second, "there")
        os.unlink(first)
        watching.until(lambda: set(watching.labels().values()) == {second})
        os.unlink(second)
        watching.until(lambda: not watching.labels())


@BOTH
def test_a_file_that_is_written_over_has_the_pins_of_what_it_is_now(poll, watch, small):
    anna = small.voice("anna.wav", "la")
    with watch(poll=poll) as watching:
        watching.wait_for(anna, "new")
        before = watching.labels().keys()
        small.voice("anna.wav", "something else")
        watching.wait_for(anna, "new", times=2)
        watching.until(lambda: len(watching.labels()) == 2)
        assert not watching.labels().keys() & before


def test_a_broken_file_is_named_tried_again_and_blocks_nothing(watch, small):
    broken, good = small.voice("1.wav", "broken"), small.voice("2.wav", "la")
    with watch() as watching:
        watching.wait_for(broken, "failed", times=3)
        watching.wait_for(good, "new")
        watching.until(lambda: watching.daemon.desk.calm)
        watching.until(
            lambda: [f["attempts"] for f in watching.places[0].read()["failures"]] == [3]
        )
        (failure,) = watching.places[0].read()["failures"]
        assert (failure["voice"], failure["again_in"]) == (broken, None)
        assert "this is no sound" in failure["why"]
        small.voice("1.wav", "la la")
        watching.wait_for(broken, "new")


def test_a_file_that_kills_the_host_is_named_and_the_next_goes_on(watch, small):
    deadly, good = small.voice("1.wav", "die"), small.voice("2.wav", "la")
    with watch() as watching:
        watching.wait_for(good, "new")
        watching.wait_for(deadly, "failed", times=3)
    assert any("its process died (SIGKILL)" in text for text, _ in watching.said)


def test_a_file_that_takes_too_long_has_failed(watch, small):
    os.mkfifo(small.voices / "pipe")
    hanging = small.voice("1.wav", f"wait {small.voices / 'pipe'}")
    good = small.voice("2.wav", "la")
    with watch(limit=0.3) as watching:
        watching.wait_for(hanging, "failed")
        watching.wait_for(good, "new")
    assert any("it took longer than 0.3 seconds" in text for text, _ in watching.said)


def test_other_files_are_refused_by_name_and_names_that_pass_are_left_alone(watch, small):
    notes, hidden = small.voice("notes.txt", "la"), small.voice(".anna.wav", "la")
    passing = [small.voice(name, "la") for name in ("a.wav.part", "b.wav~", "#c.wav#", ".d/e.wav")]
    with watch() as watching:
        watching.wait_for(notes, "other")
        good = str(small.voices / "a.wav")
        os.rename(passing[0], good)
        watching.wait_for(good, "new")
        assert watching.daemon.desk.records.keys() == {notes, good}
        assert not any(watching.states(path) for path in [hidden, *passing])
    assert any("recordings are .aac" in text for text, _ in watching.said)


@BOTH
def test_what_is_no_file_is_said_once_and_not_opened(poll, watch, small):
    pipe, link = str(small.voices / "pipe.wav"), str(small.voices / "link.wav")
    os.mkfifo(pipe)
    target = small.voices / ".later"
    os.symlink(target, link)
    with watch(poll=poll) as watching:
        watching.wait_for(pipe, "other")
        watching.wait_for(link, "other")
        later = small.voices / "later.wav"
        os.mkfifo(later)
        watching.wait_for(later, "other")
        watching.until(lambda: watching.places[0].read()["left_out"] == 3)
        target.write_text("la")
        watching.wait_for(link, "new")
        watching.until(lambda: watching.places[0].read()["left_out"] == 2)
        assert watching.states(pipe) == ["other"]
    assert (f"{pipe} is left out: it is a pipe") in [text for text, _ in watching.said]


def test_a_file_is_not_taken_while_it_is_written(watch, small):
    settle = Settle(0.05, lambda path: not done)
    done = []
    path = small.voices / "slow.wav"
    with watch(settle=settle) as watching, open(path, "w", buffering=1) as file:
        for _ in range(20):
            file.write("la ")
            watching.until(lambda: str(path) in watching.daemon.desk.records)
            assert watching.daemon.desk.records[str(path)].state == "settling"
        file.close()
        done.append(True)
        watching.wait_for(path, "new")
        watching.until(lambda: len(set(watching.labels().values())) == 1)


def test_links_to_files_and_folders_elsewhere_are_followed_and_circles_are_not(
    watch, small, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "anna.wav").write_text("la")
    (small.voices / "linked").symlink_to(elsewhere)
    (small.voices / "circle").symlink_to(small.voices)
    (small.voices / "bert.wav").symlink_to(elsewhere / "anna.wav")
    linked = str(small.voices / "linked/anna.wav")
    with watch() as watching:
        watching.until(lambda: watching.daemon.desk.count("done") == 2)
        (elsewhere / "anna.wav").write_text("something else")
        watching.until(lambda: len(watching.states(linked)) == 2)
        watching.until(lambda: watching.daemon.desk.calm and len(watching.labels()) == 2)


def test_pins_of_others_stay(watch, small, root):
    anna = small.voice("anna.wav", "la")
    with watch() as watching:
        watching.wait_for(anna, "new")
        keys = list(watching.labels())
    for key in keys:
        watching.backend.delete(f"v1/pins/{key[:2]}/{key}")
        pin(watching.backend, key, label="keep it")
    with watch() as watching:
        watching.wait_for(anna, "there")
        os.unlink(anna)
        watching.wait_for(anna, "gone")
        watching.until(lambda: not watching.keeping.loose)
        assert [read_pin(watching.backend, key).label for key in keys] == ["keep it"] * 2


def test_a_folder_that_vanishes_unpins_nothing_and_comes_back(watch, small, tmp_path):
    anna = small.voice("anna.wav", "la")
    with watch(poll=True) as watching:
        watching.wait_for(anna, "new")
        os.rename(small.voices, tmp_path / "unmounted")
        watching.until(lambda: watching.places[0].read()["status"] == "troubled")
        small.voices.mkdir()
        watching.until(lambda: "is it not mounted" in watching.places[0].read()["trouble"])
        assert len(watching.labels()) == 2
        small.voices.rmdir()
        os.rename(tmp_path / "unmounted", small.voices)
        watching.until(lambda: watching.places[0].read()["status"] == "idle")
        assert len(watching.labels()) == 2


def test_a_subfolder_that_is_removed_or_moved_is_followed(watch, small):
    small.voice("a/b/1.wav", "la 1")
    small.voice("c/2.wav", "la 2")
    with watch() as watching:
        watching.until(lambda: watching.daemon.desk.count("done") == 2)
        os.rename(small.voices / "a", small.voices / "z")
        shutil.rmtree(small.voices / "c")
        watching.until(lambda: watching.pinned_voices() == {"z/b/1.wav"})


def test_where_no_events_come_from_is_polled(watch, small, monkeypatch):
    monkeypatch.setattr(watched_module, "silent", lambda folder: "nfs4")
    with watch() as watching:
        anna = small.voice("anna.wav", "la")
        watching.wait_for(anna, "new")
        watching.until(lambda: watching.places[0].read()["mode"] == "polling")
        assert watching.places[0].read()["why_polling"] == "no events come from nfs4"


def test_events_that_do_not_arrive_are_found_out_by_provoking_one(watch, small, monkeypatch):
    monkeypatch.setattr(watched_module, "observe", lambda folder, bell: Deaf())
    with watch(pace=QUICK.pace._replace(trust=0.1)) as watching:
        watching.until(lambda: (watching.places[0].read() or {}).get("mode") == "polling")
        assert "provoked" in watching.places[0].read()["why_polling"]
        watching.wait_for(small.voice("anna.wav", "la"), "new")


def test_events_that_are_missing_are_found_out_by_what_is_found(watch, small, monkeypatch):
    monkeypatch.setattr(watched_module, "observe", lambda folder, bell: Deaf())
    monkeypatch.setattr(watched_module, "_PROBE", "nowhere/probe")  # none can be provoked
    numbers = itertools.count()
    with watch(pace=QUICK.pace._replace(trust=0.1, longest=0.2)) as watching:

        def is_polled_after_another():
            number = next(numbers)
            watching.wait_for(small.voice(f"{number}.wav", f"la {number}"), "new")
            return watching.places[0].read()["mode"] == "polling"

        watching.until(is_polled_after_another)
        assert "changes were found that none told of" in watching.places[0].read()["why_polling"]


class Deaf:
    alive = True

    def end(self):
        pass


def test_a_thread_of_the_observer_that_has_died_is_replaced(watch, small):
    with watch() as watching:
        watching.wait_for(small.voice("anna.wav", "la"), "new")
        one = watching.daemon._watched[str(small.voices)]
        before = one._observed
        before._observer.stop()
        watching.daemon.bell.ring()
        watching.until(lambda: one._observed is not before)
        watching.wait_for(small.voice("bert.wav", "lo"), "new")


def test_a_pin_that_a_store_does_not_take_is_made_when_it_does(watch, small):
    anna = small.voice("anna.wav", "la")
    with watch() as watching:
        (pins,) = watching.keeping.pins
        original = pins.pin
        refusals = iter([OSError(28, "No space left on device")] * 3)

        def full(key, label):
            for error in refusals:
                raise error
            return original(key, label)

        pins.pin = full
        watching.wait_for(anna, "new")
        watching.until(lambda: len(watching.labels()) == 2)
        watching.until(lambda: watching.places[0].read()["status"] == "idle")
        assert watching.places[0].read()["owed"] == 0
    assert any("does not do its part: OSError: [Errno 28]" in text for text, _ in watching.said)
    assert watching.states(anna) == ["new"]


def test_a_host_that_cannot_be_loaded_ends_it(small, root, tmp_path):
    small.voice("anna.wav", "la")
    small.weights.unlink()
    watching = Watching(small, root, tmp_path / "states")
    with pytest.raises(CasError, match="the host cannot be loaded: FileNotFoundError"), watching:
        watching._thread.join(60)


def test_a_host_that_cannot_be_loaded_again_is_waited_for(watch, small, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.prewarm.daemon._AGAIN", 0.05)
    with watch() as watching:
        watching.wait_for(small.voice("1.wav", "la"), "new")
        small.weights.rename(small.weights.with_suffix(".away"))
        small.voice("2.wav", "die")
        watching.until(lambda: (watching.places[0].read() or {}).get("status") == "troubled")
        small.weights.with_suffix(".away").rename(small.weights)
        watching.wait_for(small.voice("3.wav", "lo"), "new")


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(SettingError, match="there is no such folder"):
        check_folder(str(tmp_path / "none"))
