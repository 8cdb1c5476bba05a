"""A thousand faults at random, each of them found and none besides; and a store that is in use."""

import os
import random
import signal

from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.maintenance.repair import Repairer
from stepaudio_cas.maintenance.verify import Verification
from stepaudio_cas.runtime.keeper import Keeper
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.settings import Level
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import MODEL, fill, filled, flipped, found, later
from tests.support.processes import wait_until
from tests.support.values import entry
from tests.support.writers import Frontier, Writer, end_of, start

ENTRIES, FAULTS = 1300, 1000


class Injector:
    """Does one thing to one entry, and knows what verify has to say, and may say besides."""

    def __init__(self, root, chance):
        self.root = root
        self.chance = chance
        self.expected = set()
        self.allowed = set()

    def inject(self, number):
        manifest, _ = entry(number)
        self.object = layout.object_path(manifest.object)
        self.manifest = layout.manifest_path(manifest.key)
        name = self.chance.choice([name for name in dir(self) if name.startswith("do_")])
        self.expected.add(getattr(self, name)(number))

    def damage(self, path):
        """Flip a bit, cut it, zero it, empty it, or append to it."""
        whole = (self.root / path).read_bytes()
        chance = self.chance
        way = chance.randrange(5)
        if way == 0:
            damaged = flipped(whole, chance.randrange(8 * len(whole)))
        elif way == 1:
            damaged = whole[: chance.randrange(len(whole))]
        elif way == 2:
            damaged = bytes(len(whole))
        elif way == 3:
            damaged = b""
        else:
            damaged = whole + chance.randbytes(1 + chance.randrange(20))
        (self.root / path).write_bytes(damaged)
        return path

    def do_damage_an_object(self, _):
        return "object", self.damage(self.object)

    def do_damage_a_manifest(self, _):
        self.allowed.add(("orphan", self.object))  # if its name can no longer be read
        return "manifest", self.damage(self.manifest)

    def do_lose_an_object(self, _):
        (self.root / self.object).unlink()
        return "object-missing", self.manifest

    def do_lose_a_manifest(self, _):
        (self.root / self.manifest).unlink()
        return "orphan", self.object

    def do_swap_the_manifest(self, number):
        sealed = entry(number)[0]._replace(key=entry(number + 5000)[0].key).seal()
        (self.root / self.manifest).write_bytes(sealed)
        self.allowed.add(("orphan", self.object))
        return "foreign", self.manifest

    def do_lie_about_the_size(self, number):
        manifest = entry(number)[0]
        sealed = manifest._replace(size=manifest.size + self.chance.choice([-1, 1])).seal()
        (self.root / self.manifest).write_bytes(sealed)
        return "size", self.manifest

    def do_leave_a_file(self, number):
        path = f"{self.object.rsplit('/', 1)[0]}/copy-of-{number}"
        (self.root / path).write_bytes(b"?")
        return "stray", path

    def do_leave_half_a_file(self, number):
        path = f"{self.manifest.rsplit('/', 1)[0]}/.tmp-{number}-0"
        (self.root / path).write_bytes(b"?")
        return "leftover", path


def test_a_thousand_random_faults_are_found_and_nothing_else(root, tmp_path):
    store = filled(LocalBackend(root), ENTRIES)
    donor = filled(LocalBackend(tmp_path / "donor"), ENTRIES)
    injector = Injector(root, random.Random(20261121))
    for number in injector.chance.sample(range(ENTRIES), FAULTS):
        injector.inject(number)
    assert len(injector.expected) == FAULTS
    findings = found(store)
    assert len(findings) == len(set(findings))
    assert injector.expected - set(findings) == set()
    assert set(findings) - injector.expected - injector.allowed == set()
    list(Verification(store, repairer=Repairer(store, [donor]), clock=later).run())
    assert {kind for kind, _ in found(store)} <= {"orphan", "stray"}
    lost = {path for kind, path in injector.expected if kind == "orphan"}
    for number in range(ENTRIES):
        manifest, blob = entry(number)
        if layout.object_path(manifest.object) not in lost:
            assert store.read(manifest.key).blob == blob


def keep_for_ever(root):
    """What a store that keeps itself does, and more of it than ever."""
    recorder = Recorder(Log(Level.OFF))
    while True:
        Keeper(LocalBackend(root), recorder, max_size=200_000, ttl=None).run()


def test_a_store_in_use_is_all_well(root):
    """Writers that are killed, one that writes anew what is there, readers, and a keeper."""
    frontier = Frontier()
    frontier.advance(60)
    workers = [Writer(root, frontier, serial, lambda: None) for serial in range(3)]
    keeper = start(lambda: keep_for_ever(root))
    store = Store(LocalBackend(root))
    seen = []
    try:
        wait_until(lambda: len(list(store.backend.list(layout.MANIFESTS))) > 30)
        for _ in range(12):
            verification = Verification(store)
            assert list(verification.run()) == []
            seen.append(verification.entries)
            frontier.advance(30)
    finally:
        os.kill(keeper, signal.SIGKILL)
        assert end_of(keeper) == -signal.SIGKILL
        for worker in workers:
            worker.end()
    assert len(set(seen)) > 1, "nothing was at work"
    assert list(Verification(store).run()) == []


def test_an_object_of_every_length_is_judged_by_all_of_it(root):
    """Small ones one after the other, large ones in threads: the last byte counts in both."""
    store = Store(LocalBackend(root))
    fill(store, [0])
    expected = []
    for length in (1, 1 << 10, 1 << 17, 3 << 20):
        data = random.Random(length).randbytes(length)
        path = layout.object_path(digest_bytes(data))
        store.backend.put(path, data[:-1] + bytes([data[-1] ^ 1]))
        expected.append(("object", path))
    findings = [f for f in found(store) if f[0] == "object"]
    assert findings == sorted(expected)
    assert store.backend.get(layout.fingerprint_path(MODEL.id)) == MODEL.document
