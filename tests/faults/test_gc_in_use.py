"""gc runs over and over, and is killed, while processes write and read."""

import contextlib
import os
import random
import signal
import time

import stepaudio_cas as cas
from stepaudio_cas.maintenance import gc as collecting
from stepaudio_cas.maintenance import plan as planning
from stepaudio_cas.maintenance import sweep as sweeping
from stepaudio_cas.maintenance.gc import Asked, Collector
from stepaudio_cas.maintenance.lease import Taken
from stepaudio_cas.maintenance.plan import Bounds
from stepaudio_cas.store.local import LocalBackend
from tests.support.clocked import dangling
from tests.support.processes import in_child, in_children
from tests.support.writers import PATIENT, encode, end_of, is_right, start, survey, voice

SECONDS = 4.0
VOICES = 40
USERS = 4


def collect(root, bounds):
    """Do one run that knows no grace: the worst that a wrong clock could make of it."""
    for module in (collecting, planning, sweeping):
        for name in ("GRACE", "RECENT"):
            if hasattr(module, name):
                setattr(module, name, -1.0)
    collector = Collector(LocalBackend(root), Asked(bounds))
    with contextlib.suppress(Taken), collector.alone():
        return collector.sweep(collector.plan()).entries
    return 0


def collect_for_ever(root, chance):
    while True:
        collect(root, Bounds(max_entries=chance.randrange(VOICES // 2)))


def harass(root, until):
    """Have gc run in processes of its own, two at a time, and kill one after the other."""
    chance, living, kills = random.Random(1), [], 0
    while time.monotonic() < until:
        while len(living) < 2:
            living.append(start(lambda: collect_for_ever(root, chance)))
        time.sleep(chance.uniform(0.05, 0.3))
        os.kill(living[0], signal.SIGKILL)
        assert end_of(living.pop(0)) == -signal.SIGKILL, "gc has failed before it was killed"
        kills += 1
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        assert end_of(pid) == -signal.SIGKILL, "gc has failed before it was killed"
    return {"kills": kills}


def use(root, number, until):
    """Ask for voices; say how many answers were wrong."""
    chance, wrong, asked, encodes = random.Random(number), [], 0, []
    with cas.open(
        root, **PATIENT | {"log": "error", "memory": "0" if number % 2 else "1MB"}
    ) as cache:
        while time.monotonic() < until:
            which = chance.randrange(VOICES)

            def compute(which=which):
                encodes.append(which)
                return encode(which)

            value = cache.get_or_compute(voice(which), compute)
            asked += 1
            if not is_right(which, value):
                wrong.append([which, repr(value)[:200]])
        counted = cache.stats()["counters"]
    odd = [n for n in counted if n.startswith("error.") and n != "error.object-missing"]
    return {"asked": asked, "wrong": wrong, "encodes": len(encodes), "odd": odd}


def test_no_answer_is_ever_wrong_and_everything_mends(root):
    cas.open(root, log="off").close()
    os.makedirs(root, exist_ok=True)
    until = time.monotonic() + SECONDS
    harassed, *users = in_children(
        USERS + 1, lambda n: use(root, n, until) if n else harass(root, until)
    )
    assert [user["wrong"] for user in users] == [[]] * USERS
    assert [user["odd"] for user in users] == [[]] * USERS
    assert harassed["kills"] > 2
    assert sum(user["encodes"] for user in users) > VOICES, "gc has removed nothing"
    for _ in range(2):
        with cas.open(root, **PATIENT) as cache:
            for number in range(VOICES):
                value = cache.get_or_compute(voice(number), lambda n=number: encode(n))
                assert is_right(number, value)
    assert dangling(LocalBackend(root)) == []
    found = survey(root)
    assert sorted(found.values) == list(range(VOICES))
    assert found.unreadable == []
    assert in_child(lambda: collect(root, Bounds(max_entries=0))) == VOICES
    assert survey(root) == ({}, [], [])
