import errno
import json
import os
import time

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.support.values import entry, recipe

HOUR = 3600.0
MODELS = ["a" * 64, "b" * 64]


@pytest.fixture
def store(root):
    """A store of ten voices, each an hour older than the one before."""
    made = Store(LocalBackend(root))
    now = time.time()
    for number in range(10):
        manifest, blob = entry(
            number, fingerprint=MODELS[number % 2], plugin="p", created=f"2026-01-01T0{number}"
        )
        made.commit(manifest, blob)
        for path in (layout.manifest_path(manifest.key), layout.object_path(manifest.object)):
            when = now - (number + 1.5) * HOUR
            os.utime(f"{root}/{path}", (when, when))
    return made


@pytest.fixture
def gc(root, capsys):
    """Run it; return its exit code, the lines of JSON it wrote, and what it complained of."""

    def run(*words):
        code = main(["--store", str(root), "gc", *words])
        output, errors = capsys.readouterr()
        return code, [json.loads(line) for line in output.splitlines()], errors

    return run


def left(store, numbers=range(10)):
    return [n for n in numbers if store.read(recipe(n).key, touch=False) is not None]


def test_in_a_pipe_it_sums_up_in_one_line(gc, store, root):
    code, [summary], errors = gc("--max-entries", "4")
    assert (code, errors) == (0, "")
    assert left(store) == [0, 1, 2, 3]
    assert summary["store"] == f"file://{root}"
    assert summary["found"]["entries"] == summary["found"]["objects"] == 10
    assert summary["removed"]["entries"] == summary["going"]["entries"] == 6
    assert summary["removed"]["bytes"] == summary["going"]["bytes"] > 0
    assert [(r["reason"], r["model"], r["entries"]) for r in summary["reasons"]] == [
        ("entries", MODELS[0], 3),
        ("entries", MODELS[1], 3),
    ]


def test_a_dry_run_says_what_a_run_then_removes_and_removes_nothing(gc, store, root):
    backend = store.backend
    backend.put(layout.pin_path(recipe(8).key), b"")
    before = sorted(found.path for found in backend.everything(layout.VERSION))
    words = ["--max-age", "8h", "--max-entries", "5", "--json"]
    code, planned, _ = gc(*words, "--dry-run")
    assert code == 0
    assert sorted(found.path for found in backend.everything(layout.VERSION)) == before
    _, done, _ = gc(*words)
    assert done[:-1] == planned[:-1]
    assert (planned[-1]["dry_run"], done[-1]["dry_run"]) == (True, False)
    assert done[-1]["going"] == planned[-1]["going"]
    assert done[-1]["reasons"] == planned[-1]["reasons"]
    assert {item["key"]: item["reason"] for item in done[:-1]} == {
        recipe(n).key: "age" if n > 6 else "entries" for n in (9, 7, 6, 5, 4)
    }
    assert left(store) == [0, 1, 2, 3, 8]


def test_everything_that_goes_is_listed(gc, store, root):
    lost, blob = entry(20, ["lost"])
    paths = [layout.object_path(lost.object), f"{layout.OBJECTS}/ab/.tmp-1-a"]
    paths.append(layout.fingerprint_path("c" * 64))
    for path in paths:
        os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
        with open(f"{root}/{path}", "wb") as file:
            file.write(blob)
        os.utime(f"{root}/{path}", (1, 1))
    _, lines, _ = gc("--json")
    assert [(item["kind"], item["reason"]) for item in lines[:-1]] == [
        ("object", "unreferenced"),
        ("temporary", "left by the dead"),
        ("fingerprint", "model without entries"),
    ]
    assert lines[-1]["removed"] == {
        "entries": 0, "objects": 1, "others": 2, "bytes": 3 * len(blob), "spared": 0,
        "failures": 0,
    }  # fmt: skip
    assert not any(os.path.exists(f"{root}/{path}") for path in paths)


def test_entries_of_models_that_are_not_kept_go(gc, store, root):
    long_ago = time.time() - 48 * HOUR
    for number in range(10):
        os.utime(f"{root}/{layout.manifest_path(recipe(number).key)}", (long_ago, long_ago))
    gc("--keep-model", "current")
    assert left(store) == [1, 3, 5, 7, 9]
    gc("--keep-model", "aaaa", "bbbb")
    assert left(store) == [1, 3, 5, 7, 9]
    code, _, errors = gc("--keep-model", "cccc")
    assert (code, left(store)) == (2, [1, 3, 5, 7, 9])
    assert "no entry in file://" in errors


def test_what_has_to_stay_over_the_bounds_is_said(gc, store):
    for number in range(10):
        store.backend.put(layout.pin_path(recipe(number).key), b"")
    code, [summary], _ = gc("--max-size", "100", "--max-entries", "3")
    assert code == 0
    assert summary["over"]["entries"] == 7
    assert summary["over"]["bytes"] == summary["found"]["bytes"] - 100
    assert summary["stay"]["pinned"] == 10


def test_a_second_one_is_refused_in_one_line(gc, store):
    lock = store.backend.try_lock("gc")
    code, lines, errors = gc("--max-entries", "0")
    lock.release()
    assert (code, lines) == (1, [])
    assert errors.startswith("cas-tool: another gc is at work on file://")
    assert len(errors.splitlines()) == 1
    assert len(left(store)) == 10


def test_where_nothing_may_be_written_it_only_looks(gc, store, root, monkeypatch):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    code, _, errors = gc("--max-entries", "0")
    assert code == 2
    assert "STEPAUDIO_CAS_MODE is ro" in errors
    before = sorted(found.path for found in store.backend.everything(layout.VERSION))
    code, [summary], _ = gc("--max-entries", "0", "--dry-run")
    assert (code, summary["going"]["entries"]) == (0, 10)
    assert sorted(found.path for found in store.backend.everything(layout.VERSION)) == before
    assert not os.path.exists(f"{root}/{layout.PROBES}")


def test_a_store_that_is_not_there_is_not_made(gc, root):
    code, _, errors = gc()
    assert code == 2
    assert errors == f"cas-tool: there is no store at {root}\n"
    assert not root.exists()


def test_what_cannot_be_removed_is_said(gc, store, monkeypatch):
    delete = LocalBackend.delete

    def refuse(self, path, **options):
        if path == layout.manifest_path(recipe(9).key):
            raise PermissionError("not permitted")
        return delete(self, path, **options)

    monkeypatch.setattr(LocalBackend, "delete", refuse)
    code, [summary], errors = gc("--max-entries", "0")
    assert (code, left(store)) == (1, [9])
    assert errors == "cas-tool: not removed: not permitted\n"
    assert summary["removed"]["failures"] == 1


@pytest.mark.parametrize(
    "words",
    [["--max-size", "much"], ["--max-age", "-1"], ["--max-entries", "x"], ["--policy", "fifo"]],
    ids=" ".join,
)
def test_wrong_bounds_are_refused(gc, store, words):
    with pytest.raises(SystemExit) as end:
        gc(*words)
    assert end.value.code == 2


def test_on_a_terminal_it_draws_a_table(store, root, monkeypatch, capsys):
    monkeypatch.setattr("stepaudio_cas.cli.tables.on_terminal", lambda: True)
    store.backend.put(layout.pin_path(recipe(9).key), b"")
    assert main(["--store", str(root), "gc", "--max-age", "5h", "--dry-run"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][1:4] == ["10", "entries,", "10"]
    assert lines[1] == ["reason", "model", "entries", "objects", "bytes"]
    assert lines[2][:4] == ["age", "aaaaaaaaaaaa", "3", "3"]
    assert lines[3][:4] == ["age", "bbbbbbbbbbbb", "2", "2"]
    assert lines[4][:4] == ["in", "all", "5", "5"]
    assert lines[5] == ["1", "pinned", "entries", "stay"]
    assert lines[6][:2] == ["would", "free"]
    assert main(["--store", str(root), "gc", "--max-age", "5h"]) == 0
    assert "removed 5 entries and 5 objects, freed" in capsys.readouterr().out


def test_a_disk_with_no_room_left_is_made_room_on(gc, store, root, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LocalBackend, "put", full)
    code, [summary], errors = gc("--max-entries", "4")
    assert (code, errors) == (0, "")
    assert summary["removed"]["entries"] == 6
    assert left(store) == [0, 1, 2, 3]


def test_a_dry_run_needs_no_right_to_write(gc, store, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for verb in ("put", "delete", "try_lock"):
        monkeypatch.setattr(LocalBackend, verb, denied)
    monkeypatch.setattr(os, "utime", denied)
    code, [*_, summary], errors = gc("--max-entries", "4", "--dry-run", "--json")
    assert (code, errors, summary["going"]["entries"]) == (0, "", 6)


def test_what_cannot_be_read_goes_before_what_can(gc, store, root):
    """A file with a hole in it may seem larger than all the store."""
    path = f"{root}/{layout.manifest_path(recipe(0).key)}"
    os.truncate(path, 5 << 30)
    os.utime(path, (time.time() - HOUR, time.time() - HOUR))
    gc("--max-size", "1MB")
    assert left(store) == list(range(1, 10))
