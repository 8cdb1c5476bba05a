"""What stores have lost is found, and made good."""

import threading

import pytest

from stepaudio_cas.prewarm.keeping import Keeping, Ledger
from stepaudio_cas.prewarm.losses import Losses
from tests.prewarm.test_daemon_outage import (  # noqa: F401 - fixtures
    Unplugged,
    document,
    failures,
    notes,
    other,
    pins_in,
    watch,
)

OFTEN = 0.05


def lose(folder):
    """Have a store lose all it has, all at once: somebody may be writing to it."""
    folder.rename(folder.with_name(f"{folder.name}.lost"))


class Shelf:
    """A store that counts how often it is asked."""

    def __init__(self, url):
        self.url, self.keys, self.asked, self.broken = url, set(), 0, False

    def pin(self, key, label):
        self.keys.add(key)
        return True

    def has(self, key):
        if self.broken:
            raise OSError("down")
        self.asked += 1
        return key in self.keys


class Looking:
    """What looks for losses in two stores with 500 voices of two keys each."""

    def __init__(self, folder):
        self.shelves = [Shelf("first"), Shelf("second")]
        self.keeping = Keeping(self.shelves, {"/v": Ledger(str(folder / "ledger"))})
        for number in range(500):
            self.keeping.hold(f"/v/{number}.wav", [f"{number}a", f"{number}b"])
        self.said, self.again, self.rang = [], [], threading.Semaphore(0)
        self.losses = Losses(
            self.shelves, self.keeping, ring=self.rang.release, every=1000.0,
            say=lambda text, **_: self.said.append(text),
            lost=lambda voice: self.again.append(voice) or True,
        )  # fmt: skip

    def look(self, url, **how):
        self.losses.suspect(url, **how)
        assert self.losses.turn(()) == []
        assert self.rang.acquire(timeout=60)
        return self.losses.turn(())


@pytest.fixture
def looking(tmp_path):
    return Looking(tmp_path)


def test_few_keys_are_looked_for_while_none_is_missing(looking):
    assert looking.look("first") == []
    assert (looking.shelves[0].asked, looking.said, looking.again) == (16, [], [])
    looking.look("first", all_of_it=True)
    assert looking.shelves[0].asked == 1016


def test_all_are_looked_for_if_one_is_missing(looking):
    looking.shelves[0].keys = {f"{number}a" for number in range(1, 500)}
    looking.look("first", all_of_it=True)
    assert looking.again == sorted(f"/v/{number}.wav" for number in range(500))
    assert looking.said == ["500 voices are not in first any more: they are encoded again"]
    looking.shelves[0].asked = 0
    looking.losses.suspect("first")
    assert looking.losses.turn(()) == []  # nothing is in doubt that is not there
    assert looking.shelves[0].asked == 0


def test_what_a_later_store_lacks_is_not_encoded_again(looking):
    looking.shelves[1].keys.discard("7a")
    looking.look("second", all_of_it=True)
    assert looking.said == ["1 voice is not in second any more: it is copied there"]
    assert (looking.again, looking.keeping.owes(1), looking.keeping.owes(0)) == ([], True, False)


def test_a_store_that_does_not_answer_is_told_of_and_one_that_is_away_left_alone(looking):
    looking.shelves[0].broken = True
    assert looking.look("first") == [("first", "OSError: down")]
    looking.losses.suspect("first")
    assert looking.losses.turn({"first"}) == []
    assert (looking.losses._looking, looking.losses.due > 0.0) == (set(), True)
    assert looking.again == []


def test_a_store_that_was_emptied_is_filled_again(watch, small, root, notes):  # noqa: F811
    voices = [small.voice(f"{n}.wav", f"la {n}") for n in range(3)]
    with watch(losses=OFTEN) as watching:
        for voice in voices:
            watching.wait_for(voice, "new")
        lose(root)
        for voice in voices:
            watching.wait_for(voice, "new", times=2)
        watching.until(lambda: sorted(watching.labels().values()) == sorted(voices * 2))
        watching.until(lambda: document(watching)["status"] == "idle")
    text = f"3 voices are not in file://{root} any more: they are encoded again"
    assert any(said == text for said, _ in watching.said)


def test_a_store_that_comes_back_empty_is_filled_again(watch, small, root):  # noqa: F811
    anna = small.voice("anna.wav", "la")
    with watch() as watching:
        watching.wait_for(anna, "new")
        with Unplugged(root):
            bert = small.voice("bert.wav", "lo")
            watching.until(lambda: failures(watching) > 2)
            kept = root.with_name(f"{root.name}.kept")
            lose(kept)
            kept.mkdir()
        watching.wait_for(bert, "new")
        watching.wait_for(anna, "new", times=2)
        watching.until(lambda: sorted(watching.labels().values()) == sorted([anna, bert] * 2))


def test_a_voice_that_is_new_although_it_was_kept_tells_of_a_loss(watch, small, root):  # noqa: F811
    anna, bert = small.voice("anna.wav", "la"), small.voice("bert.wav", "lo")
    with watch() as watching:
        watching.wait_for(anna, "new")
        watching.wait_for(bert, "new")
        lose(root)
        copy = small.voice("copy.wav", "la")
        watching.wait_for(copy, "new")
        watching.wait_for(bert, "new", times=2)
        watching.until(lambda: len(watching.labels()) == 4)


def test_a_later_store_that_was_emptied_gets_what_it_had(watch, small, other, notes):  # noqa: F811
    anna = small.voice("anna.wav", "la")
    with watch(other, losses=OFTEN) as watching:
        watching.wait_for(anna, "new")
        watching.until(lambda: pins_in(other) == watching.labels() != {})
        lose(other)
        watching.until(lambda: other.exists() and pins_in(other) == watching.labels())
        for key in watching.labels():
            assert (other / f"v1/manifests/{key[:2]}/{key}.json").exists()
    assert notes() == ["la"]


def test_a_store_that_goes_while_nothing_is_to_be_done_is_trouble(watch, small, root):  # noqa: F811
    with watch(losses=OFTEN) as watching:
        watching.wait_for(small.voice("anna.wav", "la"), "new")
        with Unplugged(root):
            watching.until(lambda: document(watching)["status"] == "troubled")
        watching.until(lambda: document(watching)["status"] == "idle")
        assert len(watching.labels()) == 2


def test_who_takes_a_pin_away_is_not_gainsaid(watch, small):  # noqa: F811
    with watch(losses=OFTEN) as watching:
        watching.wait_for(small.voice("anna.wav", "la"), "new")
        (pins,) = watching.keeping.pins
        for key in watching.labels():
            pins.unpin(key)
        looks, has = threading.Semaphore(0), pins.has
        pins.has = lambda key: looks.release() or has(key)
        for _ in range(6):
            assert looks.acquire(timeout=60)
        assert watching.labels() == {}
