import sys

import pytest

from stepaudio_cas.store.memory import MemoryBackend
from tests.support.processes import in_child, in_threads


def test_backends_of_one_name_are_one_store_and_of_another_name_another():
    MemoryBackend("test-one").put("v1/objects/a", b"content")
    assert MemoryBackend("test-one").get("v1/objects/a") == b"content"
    assert MemoryBackend("test-two").get("v1/objects/a") is None


def test_a_child_forked_while_the_lock_is_held_still_writes():
    backend = MemoryBackend("test-fork")
    with MemoryBackend._lock:

        def child():
            return backend.put("v1/objects/a", b"of the child"), backend.delete("v1/objects/a")

        assert in_child(child) == [True, True]


@pytest.fixture
def many_switches():
    """Let threads take turns thousands of times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_a_listing_goes_on_while_other_instances_of_that_name_are_written(many_switches):
    instances = [MemoryBackend("test-busy") for _ in range(4)]
    for number in range(500):
        instances[0].put(f"v1/objects/{number}", b"")

    def work(me):
        for turn in range(40):
            for number in range(20):
                instances[me].put(f"v1/objects/{me}-{turn}-{number}", b"", create=bool(number % 2))
            assert len(list(instances[me].list("v1/objects"))) >= 500

    in_threads(4, work)


def test_touch_moves_the_time_of_last_use():
    backend = MemoryBackend("test-touch")
    backend.put("v1/objects/a", b"")
    backend._documents["v1/objects/a"] = (b"", 1.0)
    backend.get("v1/objects/a")
    assert backend.stat("v1/objects/a").mtime == 1.0
    backend.get("v1/objects/a", touch=True)
    assert backend.stat("v1/objects/a").mtime > 1.0
