"""Imports, copies and repairs killed at every write: the next run does the rest."""

import io
import os
import signal

import pytest

from stepaudio_cas.maintenance.archive import Reader
from stepaudio_cas.maintenance.exchange import Import
from stepaudio_cas.maintenance.repair import Repairer
from stepaudio_cas.maintenance.sync import Sync
from stepaudio_cas.maintenance.verify import Verification
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import documents, filled, found, later, readable
from tests.maintenance.tars import exported, imported
from tests.support.values import entry
from tests.support.writers import end_of, start

ENTRIES = 4


class Deadly(LocalBackend):
    """A disk whose user is killed before the `last`-th change, or in the middle of it."""

    def __init__(self, root, last):
        super().__init__(root)
        self.left = last

    def _step(self):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write_temp(self, target, data):
        self._step()
        temp = super()._write_temp(target, data)
        self._step()  # the document is there, and has no name yet
        return temp

    def delete(self, path, **options):
        self._step()
        return super().delete(path, **options)


def killed_everywhere(folder, work, *, before=lambda root: None, changes=ENTRIES * 2):
    """Yield a store for each change at which `work(store)` may die, after it has died there."""
    for last in range(1000):
        root = folder / str(last)
        before(root)
        status = end_of(start(lambda root=root, last=last: work(Store(Deadly(root, last)))))
        assert status in {0, -signal.SIGKILL}
        if status == 0:
            assert last >= changes
            return
        yield Store(LocalBackend(root))


@pytest.fixture
def source(tmp_path):
    return filled(LocalBackend(tmp_path / "source"), ENTRIES)


def assert_whole(store):
    """Every entry there is, is right; only objects and halves of files may be left over."""
    assert {kind for kind, _ in found(store)} <= {"orphan", "leftover"}
    for key, (_, blob) in readable(store).items():
        assert blob in {entry(number)[1] for number in range(ENTRIES)}, key


def test_an_import_that_is_killed_is_completed_by_the_next(source, root):
    data, _ = exported(source)
    seen = set()
    for store in killed_everywhere(root, lambda store: imported(store, data, pinning=True)):
        assert_whole(store)
        already = len(readable(store))
        seen.add(already)
        assert imported(store, data, pinning=True) == ([], (ENTRIES - already, already, 0))
        assert documents(store) == documents(source)
        assert len(list(store.backend.list(layout.PINS))) == ENTRIES
    assert seen == set(range(ENTRIES + 1))


def test_a_copy_that_is_killed_is_completed_by_the_next(source, root):
    seen = set()
    for store in killed_everywhere(root, lambda store: list(Sync(source, store).run())):
        assert_whole(store)
        already = len(readable(store))
        seen.add(already)
        assert len(list(Sync(source, store).run())) == ENTRIES - already
        assert documents(store) == documents(source)
    assert seen >= set(range(ENTRIES))


def repair(store, *donors):
    return list(Verification(store, repairer=Repairer(store, donors), clock=later).run())


@pytest.mark.parametrize("helped", [True, False], ids=["from another store", "quarantine"])
def test_a_repair_that_is_killed_is_completed_by_the_next_and_loses_nothing(source, root, helped):
    damage = {
        layout.object_path(entry(0)[0].object): b"damaged object",
        layout.manifest_path(entry(1)[0].key): b"damaged manifest",
        layout.manifest_path(entry(2)[0].key): b"",
    }
    donors = [source] if helped else []

    def before(root):
        store = filled(LocalBackend(root), ENTRIES)
        for path, data in damage.items():
            store.backend.put(path, data)

    def work(store):
        repair(store, *donors)

    for store in killed_everywhere(root, work, before=before, changes=6):
        assert helped or set(damage.values()) <= set(_everything(store))
        repair(store, *donors)
        assert {kind for kind, _ in found(store)} <= {"orphan", "leftover"}
        assert helped or set(damage.values()) <= set(_everything(store))
        list(Sync(source, store).run())  # what was just being replaced is a miss
        assert readable(store) == readable(source)


def _everything(store):
    return [store.backend.get(e.path) for e in store.backend.list(layout.VERSION)]


def test_a_file_that_fails_in_the_middle_leaves_whole_entries(source, root):
    data, _ = exported(source)
    store = Store(LocalBackend(root))

    class Failing(io.BytesIO):
        reads = 0

        def read(self, *args):
            self.reads += 1
            if self.reads > 15:
                raise OSError(5, "Input/output error")
            return super().read(*args)

    with pytest.raises(OSError, match="Input/output error"):
        list(Import(store, Reader(Failing(data))).run())
    assert 0 < len(readable(store)) < ENTRIES
    assert_whole(store)
    imported(store, data)
    assert documents(store) == documents(source)
