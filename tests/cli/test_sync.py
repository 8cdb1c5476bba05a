"""`cas-tool sync` as it is typed."""

import json
from itertools import pairwise

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import documents, fill, filled, readable
from tests.support.values import entry


@pytest.fixture
def source(root):
    return filled(LocalBackend(root), 4)


@pytest.fixture
def target(tmp_path):
    return Store(LocalBackend(tmp_path / "target"))


@pytest.fixture
def tool(source, target, capsys):
    """Run `cas-tool sync` between the two; return its exit code, its lines and the summary."""

    def run(*words):
        ends = [source.backend.root, target.backend.root]
        code = main(["sync", *ends, *words])
        *lines, said = map(json.loads, capsys.readouterr().out.splitlines())
        return code, lines, said["summary"]

    return run


def test_what_is_missing_is_copied_and_then_nothing_is(tool, source, target):
    code, lines, said = tool()
    assert (code, lines, said["copied"], said["entries"]) == (0, [], 4, 4)
    assert said["bytes"] > 0
    assert documents(target) == documents(source)
    assert tool()[2]["copied"] == 0


def test_a_dry_run_names_what_it_would_copy(tool, target):
    code, lines, said = tool("--dry-run")
    assert (code, len(lines), said["copied"]) == (0, 4, 4)
    assert {line["event"] for line in lines} == {"copied"}
    assert list(target.backend.list("v1")) == []


def test_what_is_damaged_is_named_and_1(tool, source):
    source.backend.put(layout.object_path(entry(0)[0].object), b"damaged")
    code, [line], said = tool()
    assert (code, said["copied"], said["damaged"]) == (1, 3, 1)
    assert (line["event"], line["key"]) == ("damaged", entry(0)[0].key)


def test_filters_pins_and_delete(tool, source, target):
    [gone] = fill(target, [9])
    source.backend.put(layout.pin_path(entry(1)[0].key), b"")
    code, lines, said = tool("--label", "voice-1.wav", "--pins", "--delete")
    assert (code, lines, said["copied"], said["pinned"], said["deleted"]) == (0, [], 1, 1, 0)
    code, [line], said = tool("--delete")
    assert (said["copied"], said["deleted"], line["key"]) == (3, 1, gone.key)
    assert readable(target).keys() == readable(source).keys()


def test_between_two_kinds_of_stores(source, tmp_path, target, capsys):
    steps = [source.backend.root, f"file://{tmp_path}/b", "memory://cli-sync", target.backend.root]
    for one, two in pairwise(steps):
        assert main(["sync", one, two]) == 0
        assert '"copied":4' in capsys.readouterr().out
    assert documents(target) == documents(source)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{root}", "{root}"], "are the same store"),
        (["{root}", "file://{root}/."], "are the same store"),
        (["{root}", "{link}"], "are the same store"),
        (["{root}-not", "{root}"], "there is no such folder"),
        (["{root},memory://x", "{root}"], "one store, please"),
        (["{root}", "memory://x", "--store", "memory://y"], "and no --store"),
        (["redis:", "{root}"], "neither a path nor a URL"),
    ],
)
def test_what_can_only_be_a_mistake_is_2(source, root, tmp_path, words, said, capsys):
    (tmp_path / "link").symlink_to(root)
    filled_in = [word.format(root=root, link=tmp_path / "link") for word in words]
    assert main(["sync", *filled_in]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_an_empty_source_deletes_nothing(source, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["sync", str(tmp_path / "empty"), source.backend.root, "--delete"]) == 1
    assert "is it mounted" in capsys.readouterr().err
    assert len(readable(source)) == 4


def test_stores_that_may_only_be_read_are_left_alone(tool, source, target, monkeypatch):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    assert main(["sync", source.backend.root, target.backend.root]) == 2
    assert tool("--dry-run")[0] == 0
    assert list(target.backend.list("v1")) == []


def test_on_a_terminal_it_is_said_in_words(source, target, monkeypatch, capsys):
    monkeypatch.setattr("stepaudio_cas.cli.tables.on_terminal", lambda: True)
    source.backend.put(layout.object_path(entry(0)[0].object), b"damaged")
    assert main(["sync", source.backend.root, target.backend.root]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"damaged: {entry(0)[0].key}" in said
    assert "3 copied, 1 damaged" in said
