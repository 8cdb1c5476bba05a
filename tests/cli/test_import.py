"""`cas-tool import` as it is typed."""

import json
import os
import subprocess
import sys

import fsspec
import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import documents, in_memory, readable
from tests.maintenance.tars import exported, index, member, packed

ODD = packed([index(), member("../../etc/passwd", b"x")])


@pytest.fixture
def source(tmp_path):
    return in_memory(f"{tmp_path}-source", 4)


@pytest.fixture
def voices(source, tmp_path):
    path = tmp_path / "voices.tar"
    path.write_bytes(exported(source)[0])
    return path


@pytest.fixture
def tool(root, capsys):
    """Run `cas-tool import`; return its exit code, what was refused, and the summary."""

    def run(*words):
        code = main(["--store", str(root), "import", *map(str, words)])
        *refused, said = map(json.loads, capsys.readouterr().out.splitlines())
        return code, refused, said["summary"]

    return run


def test_what_was_exported_is_there_and_a_second_time_already(voices, tool, root, source):
    url = f"file://{root}"
    counts = {"store": url, "new": 4, "there": 0, "refused": 0, "pinned": 0, "dry_run": False}
    assert tool(voices) == (0, [], counts)
    assert documents(Store(LocalBackend(root))) == documents(source)
    assert tool(voices) == (0, [], {**counts, "new": 0, "there": 4})


def test_a_dry_run_writes_nothing(voices, tool, root):
    code, _, said = tool(voices, "--dry-run")
    assert (code, said["new"], said["dry_run"], root.exists()) == (0, 4, True, False)


def test_pins_are_set_if_asked(voices, tool, root, source):
    assert tool(voices, "--pin")[2]["pinned"] == 4
    pins = {layout.digest_in(e.path) for e in LocalBackend(root).list(layout.PINS)}
    assert pins == readable(source).keys()


def test_what_is_refused_is_named_and_1(tool, root, tmp_path):
    (tmp_path / "odd.tar").write_bytes(ODD)
    code, refused, said = tool(tmp_path / "odd.tar")
    assert (code, said["refused"]) == (1, 1)
    assert refused == [{"refused": "../../etc/passwd", "reason": "nothing of ours has such a name"}]


def test_a_file_that_is_cut_is_said_to_be(voices, tool, root):
    voices.write_bytes(voices.read_bytes()[:9000])
    code, [refused], said = tool(voices)
    assert (code, said["refused"]) == (1, 1)
    assert "cut off" in refused["reason"]
    assert said["new"] == len(readable(Store(LocalBackend(root)))) > 0


def test_a_file_that_is_none_of_ours_is_one_line(root, tmp_path, capsys):
    for name, content in (("text", b"hello" * 200), ("gone", None), ("empty", b"")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert main(["--store", str(root), "import", str(tmp_path / name)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("cas-tool: ")
        assert str(tmp_path / name) in line
    assert not root.exists()


def test_a_key_signs_what_is_imported(voices, root, tmp_path, monkeypatch):
    (tmp_path / "key").write_text("0123456789abcdef")
    monkeypatch.setenv("STEPAUDIO_CAS_SIGNING_KEY_FILE", str(tmp_path / "key"))
    assert main(["--store", str(root), "import", str(voices)]) == 0
    assert main(["--store", str(root), "verify"]) == 0
    assert b',"mac":"' in next((root / layout.MANIFESTS).rglob("*.json")).read_bytes()


def test_it_is_taken_from_a_pipe_too(voices, root, source):
    done = subprocess.run(
        [sys.executable, "-m", "stepaudio_cas", "--store", str(root), "import", "-"],
        input=voices.read_bytes(), capture_output=True, check=True, timeout=100,
    )  # fmt: skip
    assert b'"new":4' in done.stdout
    assert documents(Store(LocalBackend(root))) == documents(source)


def test_and_from_a_url(voices, tool, tmp_path):
    with fsspec.open(f"memory://{tmp_path.name}/in.tar", "wb") as file:
        file.write(voices.read_bytes())
    assert tool(f"memory://{tmp_path.name}/in.tar")[2]["new"] == 4


def test_a_store_that_may_only_be_read_is_left_alone(voices, root, monkeypatch):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    assert main(["--store", str(root), "import", str(voices)]) == 2
    assert not root.exists()


def test_on_a_terminal_it_is_said_in_words(voices, root, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("stepaudio_cas.cli.tables.on_terminal", lambda: True)
    assert main(["--store", str(root), "import", str(voices), "--pin"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"file://{root}: 4 new, 0 already there, 0 refused, 4 pinned".replace("  ", " ")
    (tmp_path / "odd.tar").write_bytes(ODD)
    assert main(["--store", str(root), "import", str(tmp_path / "odd.tar")]) == 1
    assert "refused: ../../etc/passwd" in capsys.readouterr().out
    assert os.path.isdir(root)
