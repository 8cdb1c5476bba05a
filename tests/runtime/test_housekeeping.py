import subprocess
import sys
import threading

import pytest

from stepaudio_cas.runtime import housekeeping as module
from stepaudio_cas.runtime.background import Background
from stepaudio_cas.runtime.housekeeping import Housekeeping
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.settings import Level
from stepaudio_cas.store.backend import Entry
from stepaudio_cas.store.counters import Subject, read_tally
from stepaudio_cas.store.local import LocalBackend
from tests.runtime.helpers import GENEROUS, chain, counted
from tests.support.faulty import FaultyBackend
from tests.support.processes import REPOSITORY, in_child, wait_until
from tests.support.values import Computation, recipe, tokens


@pytest.fixture
def backend():
    made = FaultyBackend()
    yield made
    made.mend()


@pytest.fixture
def recorder():
    return Recorder(Log(Level.ERROR))


@pytest.fixture
def keeping(recorder):
    """Make the housekeeping of a chain of stores; it is closed afterwards."""
    made = []

    def make(*backends, keeper=None, background=None, **options):
        background = Background() if background is None else background
        of = chain(*backends, recorder=recorder, background=background, **options)
        made.append(Housekeeping(of, background, recorder, keeper))
        return made[-1]

    yield make
    for each in made:
        each.close()


def saved(backend):
    return read_tally(backend.inner if isinstance(backend, FaultyBackend) else backend)


def test_counters_are_saved_every_few_seconds(keeping, backend, recorder, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    keeping(backend).start()
    for number in (1, 2):
        recorder.count(Subject(), {"miss": 1})
        wait_until(lambda n=number: saved(backend).total("miss") == n)


def test_a_store_that_fails_does_not_end_the_saving(keeping, backend, recorder, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    backend.fail("put", OSError("down"))
    recorder.count(Subject(), {"miss": 1})
    keeping(backend).start()
    wait_until(lambda: counted(recorder, "error.store.t0") >= 1)
    backend.mend()
    wait_until(lambda: saved(backend).total("miss") == 1)


def test_counters_go_to_the_first_store_that_may_be_written(keeping, recorder):
    stores = [FaultyBackend(), FaultyBackend(), FaultyBackend()]
    recorder.count(Subject(), {"miss": 1})
    assert keeping(*stores, ro=(0,)).flush(GENEROUS)
    assert [saved(store).total("miss") for store in stores] == [0, 1, 0]


def test_it_is_started_once_and_ends_when_closed(keeping, backend):
    before = threading.active_count()
    subject = keeping(backend)
    assert not subject.started
    for _ in range(3):
        subject.start()
    named = [t for t in threading.enumerate() if t is subject._thread]
    assert len(named) == 1
    subject.close()
    named[0].join(GENEROUS)
    assert not named[0].is_alive()
    assert threading.active_count() >= before


def test_when_no_thread_can_be_started_that_is_nobodys_problem(keeping, backend, monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    keeping(backend).start()


def test_closing_waits_for_background_writes_and_saves(keeping, backend, recorder):
    background, done = Background(), []
    subject = keeping(backend, background=background)
    background.submit(lambda: done.append(1))
    recorder.count(Subject(), {"miss": 1})
    subject.close()
    assert done == [1]
    assert saved(backend).total("miss") == 1


def test_what_could_not_be_written_in_time_is_counted_and_said(
    keeping, backend, recorder, monkeypatch, capfd
):
    monkeypatch.setattr(module, "EXIT_SECONDS", 0.01)
    background, gate = Background(), threading.Event()
    subject = keeping(backend, background=background)
    background.submit(gate.wait)
    background.submit(lambda: None)
    subject.close()
    gate.set()
    assert saved(backend).total("dropped") == 2
    assert "2 writes to stores were given up at exit" in capfd.readouterr().err


def test_flush_tells_whether_all_was_written(keeping, backend):
    background, gate = Background(), threading.Event()
    subject = keeping(backend, background=background)
    assert subject.flush(GENEROUS)
    background.submit(gate.wait)
    assert not subject.flush(0.01)
    gate.set()
    assert subject.flush(GENEROUS)


class Overwriting(FaultyBackend):
    """A store that takes no notice of `create`."""

    def put(self, path, data, *, create=False):
        return super().put(path, data)


class Skewed(FaultyBackend):
    """A store whose clock is an hour slow."""

    def stat(self, path):
        entry = super().stat(path)
        return entry and Entry(entry.path, entry.size, entry.mtime - 3600)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (Overwriting(), "does not create exclusively (overwrites)"),
        (Skewed(), "is off by -3600 s"),
    ],
    ids=["overwrites", "skewed"],
)
def test_a_store_that_does_not_do_as_it_should_is_probed_and_said(keeping, backend, words, capfd):
    subject = keeping(backend)
    subject.start()
    wait_until(lambda: subject._chain.tiers[0].store.known_capabilities)
    subject._stop.set()
    subject._thread.join(GENEROUS)
    assert words in capfd.readouterr().err


def test_a_store_that_does_as_it_should_is_probed_and_nothing_is_said(keeping, backend, capfd):
    subject = keeping(backend)
    subject.start()
    wait_until(lambda: subject._chain.tiers[0].store.known_capabilities)
    subject._stop.set()
    subject._thread.join(GENEROUS)
    assert capfd.readouterr().err == ""


def test_a_store_that_may_only_be_read_is_not_probed(keeping, backend):
    subject = keeping(backend, ro=(0,))
    subject.start()
    subject.close()
    subject._thread.join(GENEROUS)
    assert backend.calls == []


class Keeper:
    """Does passes of three steps."""

    def __init__(self, error=None):
        self.steps_done, self.passes, self.closed, self.error = 0, 0, 0, error

    def steps(self):
        self.passes += 1
        try:
            for _ in range(3):
                yield
                if self.error is not None:
                    raise self.error
                self.steps_done += 1
        finally:
            self.closed += 1


def test_the_store_is_kept_from_time_to_time(keeping, backend, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    monkeypatch.setattr(module, "KEEP_EVERY", 0.01)
    keeper = Keeper()
    keeping(backend, keeper=keeper).start()
    wait_until(lambda: keeper.passes >= 3)
    assert keeper.steps_done >= 6


def test_a_pass_that_fails_is_counted_and_the_next_is_done(keeping, backend, recorder, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    monkeypatch.setattr(module, "KEEP_EVERY", 0.01)
    keeper = Keeper(OSError("I/O error"))
    keeping(backend, keeper=keeper).start()
    wait_until(lambda: keeper.passes >= 2)
    assert counted(recorder, "error.keeping") >= 1


def test_a_pass_is_left_in_the_middle_when_the_cache_is_closed(keeping, backend):
    keeper, subject = Keeper(), keeping(backend)
    subject._stop.set()
    subject._keep(keeper)
    assert (keeper.passes, keeper.steps_done, keeper.closed) == (1, 0, 1)


def raise_in(cache):
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute(recipe(), lambda: 1 / 0)


@pytest.mark.parametrize(
    "use",
    [
        lambda cache: cache.get_or_compute(recipe(), Computation()),
        lambda cache: cache.get_many([recipe()], lambda _: [tokens()]),
        lambda cache: cache.put(recipe(), tokens()),
        lambda cache: cache.get_or_compute(recipe(), object),
        lambda cache: cache.cached(version="1")(lambda odd: 1)(object()),
        raise_in,
    ],
    ids=["computed", "computed in a batch", "put", "result bypassed", "call bypassed", "raised"],
)
def test_whatever_is_counted_is_saved(open_cache, root, use, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    use(open_cache())
    wait_until(lambda: saved(LocalBackend(root)).totals())


def test_a_hit_alone_is_saved_too(open_cache, root, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    open_cache().put(recipe(), tokens())
    cache = open_cache()
    cache.get(recipe())
    wait_until(lambda: saved(LocalBackend(root)).total("hit.") == 1)


def test_a_forked_child_that_uses_the_cache_saves_on_its_own(open_cache, root, monkeypatch):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.01)
    cache = open_cache()
    cache.get_or_compute(recipe(), Computation())

    def child():
        started = cache._housekeeping.started
        cache.get_or_compute(recipe(1), Computation())
        wait_until(lambda: saved(LocalBackend(root)).processes == 2)
        return started

    wait_until(lambda: saved(LocalBackend(root)).total("miss") == 1)
    assert in_child(child) is False
    assert saved(LocalBackend(root)).total("miss") == 2


PROGRAM = """
import multiprocessing, os, sys
import stepaudio_cas as cas

cache = cas.open(sys.argv[1], log="off")

def use(number):
    return cache.get_or_compute(cas.make_recipe("t/1", params={"n": number}), lambda: [number])

def batch():
    cache.get_many([cas.make_recipe("t/1", params={"n": 1})], lambda _: [[1]])

def put():
    cache.put(cas.make_recipe("t/1", params={"n": 1}), [1])

def bypass():
    cache.cached(version="1")(lambda odd: 1)(object())

def children(how):
    context = multiprocessing.get_context(how)
    for number in (1, 2):
        child = context.Process(target=use, args=(number,))
        child.start()
        child.join()
        assert child.exitcode == 0

if __name__ == "__main__":
    use(0)
    eval(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("0", {"miss": 1, "stored": 2}),
        ("sys.exit(0)", {"miss": 1, "stored": 2}),
        ("children('fork')", {"miss": 3, "stored": 6}),
        ("children('spawn')", {"miss": 3, "stored": 6}),
    ],
    ids=["end", "exit", "fork", "spawn"],
)
def test_at_exit_counters_are_saved_and_writes_finished(tmp_path, then, expected):
    run_program(tmp_path, then)
    tally = read_tally(LocalBackend(tmp_path / "near"))
    assert {name: tally.total(name) for name in expected} == expected
    far = LocalBackend(tmp_path / "far")
    assert len(list(far.list("v1/objects"))) == expected["miss"]


@pytest.mark.parametrize(
    ("use", "name"), [("batch", "miss"), ("put", "stored"), ("bypass", "bypass.")]
)
def test_whatever_the_first_use_was_nothing_is_lost_at_exit(tmp_path, use, name):
    run_program(tmp_path, f"{use}()", PROGRAM.replace("    use(0)\n", ""))
    assert read_tally(LocalBackend(tmp_path / "near")).total(name) >= 1


def run_program(tmp_path, then, text=PROGRAM):
    program = tmp_path / "program.py"
    program.write_text(text)
    stores = f"{tmp_path / 'near'},{tmp_path / 'far'}"
    done = subprocess.run(
        [sys.executable, program, stores, then], cwd=REPOSITORY, capture_output=True, text=True,
        timeout=100, check=False, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
