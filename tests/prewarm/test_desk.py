"""Which file is next, and what becomes of it; by a clock that stands until it is set."""

import os

import pytest

from stepaudio_cas.prewarm.desk import DONE, FAILED, SETTLING, WAITING, WORKING, Desk, Retry
from stepaudio_cas.prewarm.settle import Settle


class Room:
    """A desk, a folder and a clock."""

    def __init__(self, folder):
        self.folder, self.now, self.there = str(folder), 100.0, True
        self.desk = Desk(
            Settle(1.0), Retry(2, 10.0), present=lambda _: self.there, clock=lambda: self.now
        )

    def write(self, name, text="la", **how):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        self.desk.hint(self.folder, path, **how)
        return path

    def wait(self, seconds):
        """Let time pass; return what was found out."""
        until, found = self.now + seconds, []
        while self.desk.next_due() <= until:
            self.now = max(self.now, self.desk.next_due())
            found.append(self.desk.advance())
        self.now = until
        return found

    def fail(self, path):
        assert self.desk.take() == path
        return self.desk.failed(self.desk.returned(path), "broken")

    def state(self, path):
        return self.desk.records[path].state


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def test_a_file_settles_waits_is_worked_on_and_is_done(room):
    path = room.write("a.wav")
    assert (room.state(path), room.desk.take()) == (SETTLING, None)
    room.wait(5)
    assert room.state(path) == WAITING
    assert room.desk.take() == path
    assert room.state(path) == WORKING
    room.desk.done(room.desk.returned(path))
    assert (room.state(path), room.desk.calm, room.desk.count(DONE)) == (DONE, True, 1)


def test_a_hint_at_nothing_new_changes_nothing(room):
    path = room.write("a.wav")
    room.wait(5)
    room.desk.take()
    room.desk.done(room.desk.returned(path))
    room.desk.hint(room.folder, path)
    room.wait(5)
    assert (room.state(path), room.desk.take()) == (DONE, None)


def test_what_failed_is_tried_again_after_twice_as_long_each_time_and_then_no_more(room):
    path = room.write("a.wav", closed=True)
    room.wait(5)
    assert room.fail(path) == 10
    room.wait(9.9)
    assert room.desk.take() is None
    room.wait(0.2)
    assert room.fail(path) == 20
    room.wait(20.1)
    assert room.fail(path) == float("inf")
    room.wait(1e6)
    assert (room.state(path), room.desk.take()) == (FAILED, None)


def test_what_failed_and_changes_has_all_its_attempts_again(room):
    path = room.write("a.wav")
    for _ in range(3):
        room.wait(25)
        room.fail(path)
    room.write("a.wav", "something else")
    room.wait(5)
    assert room.fail(path) == 10


def test_new_files_come_before_those_that_failed(room):
    bad = room.write("bad.wav")
    room.wait(5)
    room.fail(bad)
    room.wait(9)
    new = room.write("new.wav")
    room.wait(5)
    assert [room.desk.take(), room.desk.take(), room.desk.take()] == [new, bad, None]


def test_a_file_that_changes_while_it_is_worked_on_is_worth_nothing_and_waited_for_longer(room):
    path = room.write("a.wav", closed=True)
    room.wait(5)
    assert room.desk.take() == path
    room.write("a.wav", "something else", closed=True)
    assert room.desk.returned(path) is None
    room.wait(0.25)
    assert room.desk.take() is None
    room.wait(0.2)
    assert room.desk.take() == path


def test_a_file_is_in_hand_once_only(room):
    path = room.write("a.wav")
    room.wait(5)
    assert room.desk.take() == path
    room.write("a.wav", "something else")
    room.wait(5)
    assert (room.state(path), room.desk.take()) == (WAITING, None)
    assert room.desk.returned(path) is None
    assert room.desk.take() == path
    assert room.desk.returned(path) is not None


def test_a_file_that_changes_while_it_waits_settles_again(room):
    path = room.write("a.wav")
    room.wait(5)
    with open(path, "a") as file:  # and nobody says so
        file.write("more")
    assert (room.desk.take(), room.state(path)) == (None, SETTLING)


def test_what_is_gone_is_forgotten_unless_its_folder_is_gone(room):
    path = room.write("a.wav")
    room.wait(5)
    room.desk.take()
    room.desk.done(room.desk.returned(path))
    os.unlink(path)
    room.there = False
    room.desk.hint(room.folder, path)
    room.wait(5)
    assert room.state(path) == DONE
    room.there = True
    room.desk.hint(room.folder, path)
    (found,) = [changes for changes in room.wait(5) if changes.gone]
    assert [record.path for record in found.gone] == [path]
    assert (room.desk.records, room.desk.count(DONE)) == ({}, 0)


def test_what_could_not_be_kept_waits_behind_all_others_and_has_failed_at_nothing(room):
    first, second = room.write("1.wav"), room.write("2.wav")
    room.wait(5)
    assert room.desk.take() == first
    room.desk.put_off(room.desk.returned(first))
    assert (room.state(first), room.desk.calm) == (WAITING, False)
    assert [room.desk.take(), room.desk.take(), room.desk.take()] == [second, first, None]
    assert room.desk.failed(room.desk.returned(first), "broken") == 10


def test_what_nobody_has_got_to_waits_again_before_others(room):
    first, second = room.write("1.wav"), room.write("2.wav")
    room.wait(5)
    assert room.desk.take() == first
    room.desk.put_back(first)
    assert [room.desk.take(), room.desk.take()] == [first, second]


def test_a_file_that_is_not_kept_any_more_waits_again(room):
    paths = [room.write("a.wav"), room.write("b.wav")]
    room.wait(5)
    for path in paths:
        assert room.desk.take() == path
        room.desk.done(room.desk.returned(path))
    room.desk.hint(room.folder, paths[1])
    assert [room.desk.lost(path) for path in (*paths, "/no/such.wav")] == [True, True, False]
    assert not room.desk.lost(paths[0])
    room.wait(5)
    assert [room.state(path) for path in paths] == [WAITING, WAITING]
    assert {room.desk.take(), room.desk.take()} == set(paths)


def test_what_is_tried_again_has_been_tried(room):
    path = room.write("a.wav", "broken")
    room.wait(5)
    assert not room.desk.tried
    room.fail(path)
    assert room.desk.tried
    room.wait(10)
    assert (room.state(path), room.desk.tried, room.desk.calm) == (WAITING, True, False)
    assert room.desk.take() == path
    assert (room.desk.tried, room.desk.calm) == (True, False)
    other = room.write("b.wav")
    assert not room.desk.tried
    room.wait(5)
    assert room.desk.take() == other
    assert not room.desk.tried
    room.desk.done(room.desk.returned(other))
    room.desk.done(room.desk.returned(path))
    assert (room.desk.tried, room.desk.calm) == (True, True)
