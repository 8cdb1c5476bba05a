"""Processes that load a host once, and outlive what happens to it."""

import ctypes
import fcntl
import multiprocessing
import os
import queue
import signal
import sys
import threading

import pytest

from stepaudio_cas.errors import CasError, SettingError
from stepaudio_cas.prewarm.workers import Lost, Workers, _end_with
from tests.support.processes import wait_until


class Loaded:
    """A host that notes what happens in a folder."""

    def __init__(self, folder, *, error=None, written=True):
        self.folder, self.error, self.written = folder, error, written

    def __call__(self):
        if self.error is not None:
            raise self.error
        self.note("loaded")
        os.write(1, b"printed while loading")
        return self

    def note(self, what):
        (self.folder / f"{what}-{os.getpid()}").touch()

    def close(self):
        self.note("closed")
        return self.written


def double(host, item):
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "leave":
        sys.exit(3)
    if isinstance(item, tuple):  # tell that we are at it, and wait to be let go on
        begun, go_on = item
        with open(begun, "w"), open(go_on):
            pass
        return "went on"
    return item * 2, os.getpid()


def notes(folder, what):
    return sorted(folder.glob(f"{what}-*"))


def test_nothing_is_loaded_for_nothing(tmp_path):
    with Workers(Loaded(tmp_path), double) as workers:
        assert list(workers.run([])) == []
    assert notes(tmp_path, "loaded") == []


def test_a_process_loads_once_and_closes_what_it_loaded(tmp_path):
    with Workers(Loaded(tmp_path), double) as workers:
        results = dict(workers.run([1, 2, 3]))
        assert {item: value for item, (value, _) in results.items()} == {1: 2, 2: 4, 3: 6}
        workers.finish()
    assert {pid for _, pid in results.values()}.isdisjoint({os.getpid()})
    assert len(notes(tmp_path, "loaded")) == len(notes(tmp_path, "closed")) == 1
    assert workers.unwritten == 0


def test_two_processes_work_at_the_same_time(tmp_path):
    pipes = [tmp_path / f"{number}{kind}" for number in (1, 2) for kind in ("begun", "go")]
    for pipe in pipes:
        os.mkfifo(pipe)
    items = [tuple(map(str, pipes[:2])), tuple(map(str, pipes[2:]))]
    with Workers(Loaded(tmp_path), double, 2) as workers:
        for item in items:
            workers.give(item)
        while len(workers._workers) < 2 or not all(w.busy for w in workers._workers):
            assert workers.hear() == []
        for begun, _ in items:  # both have begun before either may go on
            with open(begun):
                pass
        for _, go_on in items:
            with open(go_on, "w"):
                pass
        done = []
        while workers.pending:
            done += workers.hear()
    assert sorted(done) == sorted((item, "went on") for item in items)


def test_items_are_taken_no_faster_than_they_are_done(tmp_path):
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    with Workers(Loaded(tmp_path), double) as workers:
        for done, _ in enumerate(workers.run(items()), start=1):
            assert len(taken) <= done + 2


@pytest.mark.parametrize("item", ["die", "leave"])
def test_an_item_that_kills_its_process_is_named_and_the_next_goes_on(item, tmp_path):
    with Workers(Loaded(tmp_path), double) as workers:
        results = dict(workers.run([1, item, 2]))
    why = {"die": "SIGKILL", "leave": "exit code 3"}[item]
    assert results.pop(item) == Lost(f"its process died ({why})")
    assert sorted(value for value, _ in results.values()) == [2, 4]
    assert len(notes(tmp_path, "loaded")) == 2


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SettingError("no option such"), SettingError, "^no option such$"),
        (CasError("the host cannot be loaded"), CasError, "^the host cannot be loaded$"),
        (RuntimeError("no GPU"), CasError, "^RuntimeError: no GPU$"),
    ],
)
def test_a_host_that_cannot_be_loaded_ends_it(error, kind, text, tmp_path):
    with Workers(Loaded(tmp_path, error=error), double) as workers, pytest.raises(kind, match=text):
        list(workers.run([1]))


def test_a_process_that_dies_while_it_loads_ends_it(tmp_path):
    with (
        Workers(os.abort, double) as workers,
        pytest.raises(CasError, match=r"cannot be loaded: its process died \(SIGABRT\)"),
    ):
        list(workers.run([1]))


def test_what_is_in_hand_is_finished_when_we_are_told_to_end(tmp_path):
    begun, go_on = str(tmp_path / "begun"), str(tmp_path / "go")
    os.mkfifo(begun)
    os.mkfifo(go_on)
    with Workers(Loaded(tmp_path), double) as workers:
        workers.give((begun, go_on))
        workers.give("never begun")
        workers.hear()
        with open(begun):
            pass
        with open(go_on, "w"):
            pass
        assert workers.finish() == [((begun, go_on), "went on")]
    assert len(notes(tmp_path, "closed")) == 1


def test_an_error_of_ours_stops_the_processes_at_once(tmp_path):
    begun = str(tmp_path / "begun")
    os.mkfifo(begun)
    seen = []

    def fail():
        with Workers(Loaded(tmp_path), double) as workers:
            workers.give((begun, "nobody reads"))
            workers.hear()
            seen.append(workers._workers[0].process)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen[0].exitcode == -signal.SIGKILL


@pytest.mark.parametrize("how", ["sleeping", "never letting a thread run"])
def test_a_process_ends_with_its_parent_whatever_the_host_does(how, tmp_path):
    if how != "sleeping" and not hasattr(fcntl, "F_SETSIG"):
        pytest.skip("only Linux ends such a process")
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    parent = multiprocessing.get_context("spawn").Process(
        target=give_and_wait, args=(tmp_path, (str(begun), how))
    )
    parent.start()
    with open(begun) as file:
        worker = int(file.read())
    assert is_there(worker)
    parent.kill()
    parent.join()
    wait_until(lambda: not is_there(worker))


def give_and_wait(folder, item):
    workers = Workers(Loaded(folder), hang)
    workers.give(item)
    while True:
        workers.hear()


def hang(host, item):
    begun, how = item
    with open(begun, "w") as file:
        file.write(str(os.getpid()))
    if how == "sleeping":
        threading.Event().wait()
    ctypes.PyDLL(None).pause()  # without letting go of the interpreter's lock


def is_there(pid):
    """Tell whether a process runs; one that has ended may wait for its parent to be told."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_ends_with_its_parent_where_the_kernel_does_not_help(monkeypatch):
    gone, ended = threading.Event(), queue.SimpleQueue()
    monkeypatch.setattr(os, "_exit", ended.put)

    class Parent:  # without a pipe to wait on
        join = gone.wait

    _end_with(Parent())
    assert ended.empty()
    gone.set()
    assert ended.get(timeout=60) == 1


def test_what_was_not_written_everywhere_is_counted(tmp_path):
    with Workers(Loaded(tmp_path, written=False), double) as workers:
        list(workers.run([1]))
        workers.finish()
    assert workers.unwritten == 1


def test_what_the_host_prints_reaches_neither_our_output_nor_if_not_wanted_our_errors(
    tmp_path, capfd
):
    for show in (False, True):
        with Workers(Loaded(tmp_path), double, show=show) as workers:
            list(workers.run([1]))
            workers.finish()
        out, err = capfd.readouterr()
        assert out == ""
        assert ("printed while loading" in err) is show
