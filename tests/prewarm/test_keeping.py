"""Pins that come and go with files."""

import json
import os

import pytest

from stepaudio_cas.prewarm.keeping import Keeping, Ledger

A, B = "/v/a.wav", "/v/b.wav"


class Board:
    """Pins of a store, and what was done to them."""

    def __init__(self):
        self.pins, self.broken, self.filled = {}, False, []

    def pin(self, key, label):
        self.check()
        return self.pins.setdefault(key, label) is label

    def label(self, key):
        return self.pins.get(key)

    def relabel(self, key, label):
        self.pins[key] = label

    def unpin(self, key):
        self.check()
        self.pins.pop(key, None)

    def has(self, key):
        return key in self.pins

    def fill(self, key, source):
        self.filled.append((key, source))

    def check(self):
        if self.broken:
            raise OSError("down")


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def keep(board, tmp_path):
    """Return what a daemon that is started now has."""
    return lambda: Keeping([board], {"/v": Ledger(str(tmp_path / "ledger"))})


def test_what_is_let_go_of_is_unpinned_by_the_sweep(keep, board):
    keeping = keep()
    keeping.hold(A, ["1", "2"])
    keeping.hold(A, ["2", "3"])
    assert board.pins.keys() == {"1", "2", "3"}
    keeping.sweep()
    assert board.pins == {"2": A, "3": A}
    keeping.leave(A)
    keeping.sweep()
    assert (board.pins, keeping.loose, keeping.unpinned) == ({}, 0, 3)


def test_who_is_started_again_knows_what_was_pinned(keep, board):
    keep().hold(A, ["1"])
    keeping = keep()
    assert (list(keeping.voices("/v")), keeping.believed(["1"])) == ([A], False)
    keeping.leave(A)
    keeping.sweep()
    assert board.pins == {}
    assert list(keep().voices("/v")) == []


def test_a_pin_that_was_written_down_and_not_made_is_made(keep, board):
    board.broken = True
    keep().hold(A, ["1"])
    board.broken = False
    keep().hold(A, ["1"])
    assert board.pins == {"1": A}


def test_a_pin_that_a_store_does_not_make_is_owed_and_made_when_it_is_back(keep, board):
    keeping = keep()
    board.broken = True
    keeping.hold(A, ["1"])
    assert (keeping.owed, keeping.refused) == (1, {0: "OSError: down"})
    board.broken = False
    keeping.hold(B, ["2"])  # a store that has failed is left alone
    keeping.pay()
    assert (board.pins, keeping.owed, keeping.payable) == ({}, 2, False)
    keeping.trust(0)
    assert keeping.payable
    keeping.pay()
    assert (board.pins, keeping.owed, keeping.owes(0)) == ({"1": A, "2": B}, 0, False)


def test_what_is_owed_for_a_file_that_has_gone_is_not_made(keep, board):
    keeping = keep()
    board.broken = True
    keeping.hold(A, ["1"])
    keeping.leave(A)
    board.broken = False
    keeping.trust(0)
    keeping.pay()
    assert board.pins == {}
    keeping.sweep()
    assert (keeping.owed, list(keep().voices("/v"))) == (0, [])


def test_one_store_that_is_away_does_not_keep_another_from_its_pins(board, tmp_path):
    other = Board()
    keeping = Keeping([board, other], {"/v": Ledger(str(tmp_path / "ledger"))})
    keeping.hold(A, ["1", "2"])
    other.broken = True
    keeping.hold(A, ["2", "3"])
    keeping.sweep()
    assert (board.pins, keeping.loose, keeping.owed) == ({"2": A, "3": A}, 0, 3)
    other.broken = False
    keeping.trust(1)
    keeping.pay()
    keeping.sweep()
    assert (other.pins, keeping.owed, keeping.unpinned) == (board.pins, 0, 1)
    assert (board.filled, sorted(key for key, _ in other.filled)) == ([], ["2", "3"])


def test_a_line_that_a_full_disk_has_cut_off_spoils_no_other(tmp_path, monkeypatch):
    path = tmp_path / "ledger"
    ledger = Ledger(str(path))
    with monkeypatch.context() as full:
        full.setattr("os.write", lambda file, text, write=os.write: write(file, text[:5]))
        with pytest.raises(OSError, match="No space left"):
            ledger.add("1", A)
    ledger.add("2", A)
    ledger.close()
    assert Ledger(str(path)).entries == {("2", A)}


def test_a_sweep_that_failed_is_done_again(keep, board):
    keeping = keep()
    keeping.hold(A, ["1"])
    keeping.leave(A)
    board.broken = True
    keeping.sweep()
    assert (keeping.loose, keeping.owed, list(keep().voices("/v"))) == (0, 1, [A])
    board.broken = False
    keeping.trust(0)
    assert keeping.loose == 1
    keeping.sweep()
    assert board.pins == {}


def test_a_key_that_another_file_has_stays_pinned_under_its_name(keep, board):
    keeping = keep()
    keeping.hold(A, ["1"])
    keeping.leave(A)
    keeping.hold(B, ["1"])
    keeping.sweep()
    assert board.pins == {"1": B}


@pytest.mark.parametrize("label", ["keep", "/vv/a.wav", ""])
def test_what_somebody_else_has_pinned_stays(label, keep, board):
    board.pins["1"] = label
    keeping = keep()
    keeping.hold(A, ["1"])
    keeping.leave(A)
    keeping.sweep()
    assert board.pins == {"1": label}


def test_a_line_that_was_not_finished_is_passed_over(tmp_path):
    path = tmp_path / "ledger"
    whole = json.dumps(["+", "1", A])
    path.write_text(f'{whole}\n7\n["+", "2", "/v/b')
    ledger = Ledger(str(path))
    ledger.add("3", "/v/\udcff.wav")
    ledger.close()
    assert Ledger(str(path)).entries == {("1", A), ("3", "/v/\udcff.wav")}


def test_a_ledger_does_not_grow_for_ever(tmp_path):
    path = tmp_path / "ledger"
    for _ in range(3):
        ledger = Ledger(str(path))
        for number in range(50):
            ledger.add(str(number), A)
            ledger.remove(str(number), A)
        ledger.close()
    Ledger(str(path)).close()
    assert path.read_text() == ""


def test_what_is_held_is_pinned_whatever_has_become_of_the_pin_that_was_made(keep, board):
    keeping = keep()
    keeping.hold(A, ["1"])
    board.pins.clear()
    keeping.hold(B, ["1"])
    assert board.pins == {"1": B}


def test_what_the_first_store_has_lost_is_not_held_until_somebody_holds_it(keep):
    keeping = keep()
    keeping.hold(A, ["1", "2"])
    keeping.hold(B, ["3"])
    assert keeping.lost(0, ["1", "8"]) == {A}
    assert keeping.kept(0) == ["3"]
    assert (keeping.believed(["3"]), keeping.believed(["1"])) == (True, False)
    keeping.hold(A, ["1", "2"])
    assert sorted(keeping.kept(0)) == ["1", "2", "3"]


def test_what_a_later_store_has_lost_is_owed_by_it(board, tmp_path):
    other = Board()
    keeping = Keeping([board, other], {"/v": Ledger(str(tmp_path / "ledger"))})
    keeping.hold(A, ["1", "2"])
    other.pins.clear()
    assert keeping.lost(1, ["1"]) == {A}
    assert (keeping.kept(1), sorted(keeping.kept(0))) == (["2"], ["1", "2"])
    keeping.pay()
    assert (other.pins, other.filled) == ({"1": A}, [("1", board)])
