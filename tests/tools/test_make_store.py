"""The maker of large stores: what it makes is a store, and the same one every time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stepaudio_cas.artifact import codec
from stepaudio_cas.maintenance.inventory import manifests, pinned
from stepaudio_cas.maintenance.statistics import Look, statistics
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tools.make_store import Plan, main, make_store

TOOL = Path(__file__).parents[2] / "tools" / "make_store.py"
NOW = 1_800_000_000
ENTRIES = 600


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    plan = Plan(str(tmp_path_factory.mktemp("made") / "store"), ENTRIES, seed=3, now=NOW)
    make_store(plan, jobs=1)
    return Store(LocalBackend(plan.root))


def contents(root):
    """Everything that is below a folder, with the time of its last use where that is told."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        if path.is_file():
            when = path.stat().st_mtime_ns if path.parts[-3] in {"manifests", "objects"} else None
            found[str(path.relative_to(root))] = path.read_bytes(), when
    return found


def test_every_entry_can_be_read(made):
    keys = [kept.key for kept in manifests(made.backend)]
    assert len(keys) == ENTRIES
    for key in keys:
        found = made.read(key, touch=False)
        assert codec.decode(found.manifest.codec, found.blob)


def test_it_is_as_mixed_as_a_store_in_use(made):
    every = list(manifests(made.backend))
    objects = {kept.manifest.object for kept in every}
    assert 0.8 * ENTRIES < len(objects) < ENTRIES
    assert len({kept.manifest.plugin for kept in every}) == 3
    models = {kept.manifest.fingerprint for kept in every}
    assert len(models) == 4
    assert all(made.backend.stat(layout.fingerprint_path(model)) for model in models)
    ages = sorted(NOW - kept.entry.mtime for kept in every)
    assert ages[0] >= 7200
    assert ages[ENTRIES // 2] < 60 * 86400 < ages[-1]
    assert len({kept.manifest.size for kept in every}) > 50


def test_some_entries_are_pinned_by_their_labels(tmp_path):
    plan = Plan(str(tmp_path / "s"), 200, seed=3, now=NOW, pinned=100)
    make_store(plan)
    backend = LocalBackend(plan.root)
    labelled = {kept.key for kept in manifests(backend) if kept.manifest.label}
    assert 5 < len(labelled) < 50
    assert pinned(backend) == labelled


def test_its_statistics_agree_with_it(made):
    found = statistics([made], look=Look(deep=True, remember=False))
    assert (found["entries"], found["processes"]) == (ENTRIES, 8)
    assert sum(line["entries"] for line in found["by_plugin"].values()) == ENTRIES
    assert found["hits"] > found["misses"] > 0
    assert all(voice["name"] and voice["plugin"] for voice in found["top_voices"])


def test_the_same_seed_makes_the_same_store_however_many_make_it(made, tmp_path):
    plan = Plan(str(tmp_path / "again"), ENTRIES, seed=3, now=NOW)
    make_store(plan, jobs=3)
    assert contents(plan.root) == contents(made.backend.root)


def test_another_seed_makes_another_store(made, tmp_path):
    plan = Plan(str(tmp_path / "other"), 50, seed=4, now=NOW)
    make_store(plan)
    other = {kept.key for kept in manifests(LocalBackend(plan.root))}
    assert len(other) == 50
    assert other.isdisjoint(kept.key for kept in manifests(made.backend))


def test_the_program_makes_a_store_from_anywhere(tmp_path):
    done = subprocess.run(
        [sys.executable, TOOL, tmp_path / "s", "--entries", "20"],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.startswith("20 entries in ")
    assert len(list(manifests(LocalBackend(tmp_path / "s")))) == 20


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--entries", "1"])
    assert "is not empty" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["precious"]
