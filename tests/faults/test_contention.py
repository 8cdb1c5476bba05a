"""Processes that want what another one is encoding, and chains that meet in a shared store."""

import json
import multiprocessing
import os
import signal

import pytest

import stepaudio_cas as cas
from stepaudio_cas.runtime import turns
from stepaudio_cas.runtime.tier import Tier
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import read_tally
from stepaudio_cas.store.local import LocalBackend
from tests.runtime.helpers import GENEROUS, in_thread
from tests.support.processes import in_children, wait_until
from tests.support.values import counters, recipe
from tests.support.writers import PATIENT, end_of, start, watched


def names(root):
    return [layout.digest_in(entry.path) for entry in LocalBackend(root).list(layout.MANIFESTS)]


class Holder:
    """A process in the middle of its encode, holding the lock. `finish` lets it go on."""

    def __init__(self, root):
        self.ended = None
        begun, begins = os.pipe()
        waits, self._go_on = os.pipe()
        self._result, result = os.pipe()

        def encode():
            os.write(begins, b"!")
            os.read(waits, 1)
            return ["the holder's"]

        def work():
            with cas.open(root, **PATIENT) as cache:
                value = cache.get_or_compute(recipe(), encode)
                os.write(result, json.dumps([value, counters(cache)]).encode())

        self.pid = start(work)
        assert os.read(begun, 1) == b"!"
        for pipe in (begun, begins, waits, result):
            os.close(pipe)

    def send(self, number):
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            assert os.WIFSTOPPED(os.waitpid(self.pid, os.WUNTRACED)[1])

    def finish(self):
        """Return what it got, and what it counted."""
        os.write(self._go_on, b"!")
        self.ended = end_of(self.pid)
        assert self.ended == 0
        return json.loads(os.read(self._result, 1 << 16))

    def close(self):
        if self.ended is None:
            self.send(signal.SIGKILL)
            end_of(self.pid)
        os.close(self._go_on)
        os.close(self._result)


@pytest.fixture
def holder(root):
    holder = Holder(root)
    yield holder
    holder.close()


def waiting(cache, monkeypatch):
    """Ask for the key in a thread that is seen to wait for its turn; return the future."""
    looks, try_lock = [], Tier.try_lock

    def trying(tier, key):
        answer = try_lock(tier, key)
        looks.append(answer[0])
        return answer

    monkeypatch.setattr(Tier, "try_lock", trying)
    asked = in_thread(lambda: cache.get_or_compute(recipe(), lambda: ["the next one's"]))
    wait_until(lambda: looks.count(False) > 1)
    assert not asked.done()
    return asked


def test_a_process_killed_in_the_middle_of_its_encode_blocks_nobody(
    root, holder, open_cache, monkeypatch
):
    asked = waiting(open_cache(**PATIENT), monkeypatch)
    holder.send(signal.SIGKILL)
    assert asked.result(turns.PATIENCE / 2) == ["the next one's"]
    assert names(root) == [recipe().key]


def test_a_process_that_finishes_gives_its_value_to_those_who_wait(
    root, holder, open_cache, monkeypatch
):
    cache = open_cache(**PATIENT)
    asked = waiting(cache, monkeypatch)
    value, counts = holder.finish()
    assert value == asked.result(GENEROUS) == ["the holder's"]
    assert (counts, counters(cache)) == ({"miss": 1, "stored": 1}, {"hit.disk": 1})
    assert names(root) == [recipe().key]


def test_a_process_stopped_in_the_middle_of_its_encode_blocks_nobody_for_ever(
    root, holder, open_cache, monkeypatch
):
    holder.send(signal.SIGSTOP)
    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    cache = open_cache(**PATIENT)
    asked = in_thread(lambda: cache.get_or_compute(recipe(), lambda: ["the next one's"]))
    assert asked.result(GENEROUS) == ["the next one's"]
    holder.send(signal.SIGCONT)
    value, counts = holder.finish()
    assert value == ["the next one's"]
    assert counts == {"miss": 1, "lost": 1}
    assert cache.get(recipe()) == ["the next one's"]
    assert names(root) == [recipe().key]


@pytest.mark.parametrize("memory", ["1MB", "0"])
def test_two_chains_with_one_shared_store_end_with_one_artifact_in_all(tmp_path, memory):
    keys, shared, fork = 5, tmp_path / "shared", multiprocessing.get_context("fork")
    both_encode, both_have_written = fork.Barrier(2), fork.Barrier(2)

    def encode():
        both_encode.wait(GENEROUS)
        return [os.getpid(), os.urandom(8).hex()]

    def work(number):
        settings = {**PATIENT, "memory": memory}
        with cas.open(f"{tmp_path / str(number)},{shared}", **settings) as cache:
            cache.chain.tiers[1].lockable = False  # as most stores that machines share
            computed = [cache.get_or_compute(recipe(n), encode) for n in range(keys)]
            assert cache.flush(GENEROUS)
            both_have_written.wait(GENEROUS)
            return computed, [cache.get(recipe(n)) for n in range(keys)]

    (mine, mine_now), (yours, yours_now) = in_children(2, watched(work))
    assert mine_now == yours_now
    assert all(a != b and now in (a, b) for a, b, now in zip(mine, yours, mine_now, strict=True))
    stores = [tmp_path / "0", tmp_path / "1", shared]
    for n in range(keys):
        path = layout.manifest_path(recipe(n).key)
        assert len({LocalBackend(root).get(path) for root in stores}) == 1
    assert [len(names(root)) for root in stores] == [keys] * 3
    assert sum(read_tally(LocalBackend(root)).total("lost") for root in stores[:2]) == keys
