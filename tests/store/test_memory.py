import threading

import pytest

from stepaudio_cas.store.memory import MemoryBackend
from tests.support.processes import in_child, wait_until


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


class WatchedLock:
    """Counts those who have come to it, whether it let them in or not."""

    def __init__(self):
        self.visits = 0
        self._lock = threading.Lock()

    def __enter__(self):
        self.visits += 1
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


@pytest.mark.parametrize("create", [True, False])
def test_a_document_that_is_written_during_a_listing_waits_for_its_end(monkeypatch, create):
    lock, writers = WatchedLock(), []
    monkeypatch.setattr(MemoryBackend, "_lock", lock)
    backend, other = MemoryBackend("test-busy"), MemoryBackend("test-busy")

    class Path(str):  # noqa: SLOT000
        """Has another document written when a listing looks at it."""

        def startswith(self, prefix):
            new = {"path": "v1/objects/new", "data": b"", "create": create}
            writers.append(threading.Thread(target=other.put, kwargs=new))
            writers[0].start()
            wait_until(lambda: lock.visits == 2 or not writers[0].is_alive())
            return str.startswith(self, prefix)

    backend._documents[Path("v1/objects/old")] = (b"", 1.0)
    assert [entry.path for entry in backend.list("v1/objects")] == ["v1/objects/old"]
    writers[0].join()
    assert other.get("v1/objects/new") == b""
    del backend._documents["v1/objects/old"], backend._documents["v1/objects/new"]


def test_touch_moves_the_time_of_last_use():
    backend = MemoryBackend("test-touch")
    backend.put("v1/objects/a", b"")
    backend._documents["v1/objects/a"] = (b"", 1.0)
    backend.get("v1/objects/a")
    assert backend.stat("v1/objects/a").mtime == 1.0
    backend.get("v1/objects/a", touch=True)
    assert backend.stat("v1/objects/a").mtime > 1.0
