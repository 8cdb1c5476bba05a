"""Processes and threads that ask for one new key at once, of a host that is not deterministic."""

import pytest

from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.support.processes import run_program
from tests.support.values import recipe


def race(root, tmp_path, processes, threads, *options):
    log = tmp_path / "computations"
    found = run_program("race", root, log, processes, threads, *options)
    values = [value for process in found for value in process["values"]]
    assert len(values) == processes * threads
    totals = {}
    for process in found:
        for name, number in process["counters"].items():
            totals[name] = totals.get(name, 0) + number
    return values, len(log.read_text().splitlines()), totals


def only_manifest(root):
    [found] = LocalBackend(root).list(layout.MANIFESTS)
    assert found.path == layout.manifest_path(recipe().key)
    return Store(LocalBackend(root)).read(recipe().key)


def test_eight_processes_get_one_value_and_encode_once(root, tmp_path):
    values, computations, totals = race(root, tmp_path, 8, 1)
    assert all(value == values[0] for value in values)
    assert computations == 1
    assert totals == {"miss": 1, "stored": 1, "hit.disk": 7}
    only_manifest(root)


@pytest.mark.parametrize("attempt", range(3))
def test_eight_processes_without_locks_all_encode_and_get_one_value(root, tmp_path, attempt):
    values, computations, totals = race(root, tmp_path, 8, 1, "no-locks", "together")
    assert computations == 8, "they did not race"
    assert all(value == values[0] for value in values)
    assert totals == {"miss": 8, "lost": 7, "stored": 1}
    only_manifest(root)
    assert list(LocalBackend(root).list(layout.LEASES)) == []


def test_processes_without_locks_whose_threads_share_what_their_process_got(root, tmp_path):
    values, computations, totals = race(root, tmp_path, 4, 8, "no-locks", "together")
    assert computations == 4
    assert all(value == values[0] for value in values)
    assert totals["miss"] == 4
    assert totals["lost"] == 3
    assert totals.get("hit.shared", 0) + totals.get("hit.memory", 0) == 28


def test_sixty_four_threads_in_each_of_four_processes_encode_once(root, tmp_path):
    values, computations, totals = race(root, tmp_path, 4, 64)
    assert computations == 1
    assert all(value == values[0] for value in values)
    hits = sum(number for name, number in totals.items() if name.startswith("hit."))
    assert (totals["miss"], hits) == (1, 255)
    assert "lost" not in totals
    assert not any(name.startswith("error.") for name in totals)
    only_manifest(root)


def test_nobody_gets_anything_but_the_winners_value_while_a_damaged_entry_is_healed(root, tmp_path):
    backend = LocalBackend(root)
    backend.put(layout.manifest_path(recipe().key), b"damaged")
    values, computations, totals = race(root, tmp_path, 8, 1, "no-locks", "together")
    assert computations == 8
    assert all(value == values[0] for value in values)
    assert totals["stored"] == 1
    assert totals["error.manifest"] >= 8
    only_manifest(root)
