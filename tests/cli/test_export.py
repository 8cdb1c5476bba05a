"""`cas-tool export` as it is typed: to a path, a pipe, a URL."""

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.maintenance.archive import Reader
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from tests.maintenance.filled import filled
from tests.maintenance.tars import exported
from tests.support.values import entry


@pytest.fixture
def store(root):
    return filled(LocalBackend(root), 5)


@pytest.fixture
def export(root, capsys):
    """Run `cas-tool export`; return its exit code and what it said."""

    def run(*words):
        code = main(["--store", str(root), "export", *map(str, words)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def names(data):
    return {m.name for m in Reader(io.BytesIO(data)).members() if m.kind == layout.MANIFESTS}


def test_everything_goes_into_a_file(store, export, tmp_path):
    code, [said] = export(tmp_path / "voices.tar")
    data = (tmp_path / "voices.tar").read_bytes()
    assert code == 0
    assert data == exported(store)[0]
    assert said["summary"]["entries"] == said["summary"]["objects"] == 5
    assert said["summary"]["fingerprints"] == 1
    assert [p.name for p in tmp_path.iterdir() if "voices" in p.name] == ["voices.tar"]


@pytest.mark.parametrize(
    "words",
    [["--label", "voice-[02].wav"], ["voice-0.wav", "voice-2.wav"],
     [entry(0)[0].key[:12], entry(2)[0].key]],
)  # fmt: skip
def test_filters_voices_and_keys_say_what_goes(store, export, tmp_path, words):
    assert export(tmp_path / "some.tar", *words)[0] == 0
    assert names((tmp_path / "some.tar").read_bytes()) == {entry(n)[0].key for n in (0, 2)}


@pytest.mark.parametrize("words", [["nobody.wav"], ["--label", "nobody*"], ["0" * 64]])
def test_where_nothing_is_meant_nothing_is_written(store, export, tmp_path, words):
    (tmp_path / "old.tar").write_bytes(b"as it was")
    assert export(tmp_path / "old.tar", *words)[0] == 1
    assert (tmp_path / "old.tar").read_bytes() == b"as it was"
    assert {p.name for p in tmp_path.iterdir()} <= {"old.tar", "store", "xdg"}


def test_what_is_damaged_is_named_and_left_out(store, export, tmp_path):
    store.backend.put(layout.object_path(entry(0)[0].object), b"damaged")
    code, [line, said] = export(tmp_path / "rest.tar")
    assert (code, said["summary"]["entries"], said["summary"]["damaged"]) == (1, 4, 1)
    assert line["damaged"] == layout.manifest_path(entry(0)[0].key)


def test_a_pipe_gets_the_file_and_nothing_else(store, root):
    done = subprocess.run(
        [sys.executable, "-m", "stepaudio_cas", "--store", str(root), "export", "-"],
        capture_output=True, check=True, timeout=100,
    )  # fmt: skip
    assert done.stdout == exported(store)[0]
    assert done.stderr.startswith(b"-: 5 entries")


def test_a_terminal_is_no_place_for_it(store, root, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["--store", str(root), "export", "-"]) == 2
    assert "no text for a terminal" in capsys.readouterr().err


def test_a_url_will_do(store, export, tmp_path):
    assert export(f"memory://{tmp_path.name}/voices.tar")[0] == 0
    with fsspec.open(f"memory://{tmp_path.name}/voices.tar", "rb") as file:
        assert file.read() == exported(store)[0]


@pytest.mark.parametrize("name", ["nowhere/voices.tar", "no-such://x/voices.tar"])
def test_a_file_that_cannot_be_written_is_one_line(store, root, tmp_path, name, capsys):
    name = name if "://" in name else str(tmp_path / name)
    assert main(["--store", str(root), "export", name]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("cas-tool: ")
    assert name.rsplit("/", 1)[0] in line


def test_a_link_stays_one_and_what_it_leads_to_is_written(store, export, tmp_path):
    (tmp_path / "link.tar").symlink_to(tmp_path / "voices.tar")
    for _ in range(2):
        assert export(tmp_path / "link.tar")[0] == 0
        assert (tmp_path / "link.tar").is_symlink()
        assert (tmp_path / "voices.tar").read_bytes() == exported(store)[0]


def test_a_pipe_is_written_to_and_stays_one(store, export, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_bytes)
        assert export(tmp_path / "pipe")[0] == 0
        assert read.result(60) == exported(store)[0]
    assert (tmp_path / "pipe").is_fifo()
