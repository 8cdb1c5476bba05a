"""`cas-tool explain`, on a small host of its own, in a pipe and on a terminal."""

import json
import os
import sys

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.maintenance.inventory import manifests
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from tests.cli.terminal import on_terminal, plain

OUTER, INNER = "small.Studio.prepare/1", "small.Encoder.encode/1"


@pytest.fixture
def tool(root, capfd):
    def run(*words):
        code = main(["--store", str(root), *map(str, words)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def explain(tool, small):
    """Ask about voices with the host; return the exit code and the document."""

    def ask(*words):
        code, out, _ = tool("explain", *words, "--host", small.spec, "--json")
        return code, json.loads(out)

    return ask


@pytest.fixture
def anna(small, tool):
    """A voice that is in the store."""
    path = small.voice("anna.wav", "la")
    assert tool("prewarm", path, "--host", small.spec)[0] == 0
    return path


def files(root):
    return sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))


def key_of(root, schema, label):
    found = (kept.manifest for kept in manifests(LocalBackend(root)))
    return next(m.key for m in found if (m.schema, m.label) == (schema, label))


def texts(near):
    return [difference["text"] for difference in near["differences"]]


def test_a_voice_that_is_there(explain, anna, root):
    before = files(root)
    code, (said,) = explain(anna)
    assert (code, said["voice"], said["there"], said["trouble"]) == (0, anna, True, "")
    calls = [(c["method"], c["state"], c["within"], c["store"]) for c in said["calls"]]
    url = LocalBackend(root).url
    assert calls == [(OUTER, "there", "", url), (INNER, "there", OUTER, url)]
    assert said["calls"][0]["key"] == key_of(root, OUTER, anna)
    assert files(root) == before


def test_a_voice_that_was_never_encoded_is_compared_with_the_nearest(explain, anna, small, root):
    other = small.voice("bert.wav", "la la")
    before = files(root)
    code, (said,) = explain(other)
    assert (code, said["there"]) == (1, False)
    (near,) = said["calls"][0]["nearest"]
    assert near["from"]["voice"] == anna
    assert texts(near) == ["input path: other content, 2 bytes -> 5 bytes"]
    assert files(root) == before


def test_a_model_that_was_changed_since(explain, anna, small):
    small.weights.write_text("456")
    code, (said,) = explain(anna)
    assert code == 1
    for call in said["calls"]:
        file, setting = texts(call["nearest"][0])
        assert file.startswith("weights.txt changed on 20")
        assert setting == "setting weights: 123 -> 456"


def test_code_that_was_changed_since(explain, anna, small):
    module = small.code / "encoder.py"
    module.write_text(module.read_text().replace("[len(audio), rate]", "[rate, len(audio)]"))
    _, (said,) = explain(anna)
    inner = said["calls"][1]
    assert "the source of Encoder changed on 20" in texts(inner["nearest"][0])[0]


def test_a_file_with_the_same_sound_in_it_finds_what_is_inside(explain, anna, small):
    code, (said,) = explain(small.voice("copy.wav", "la\n"))
    assert [call["state"] for call in said["calls"]] == ["not there", "there"]
    assert code == 1


def test_an_entry_that_is_damaged_is_not_there(explain, anna, root):
    key = key_of(root, OUTER, anna)
    LocalBackend(root).put(layout.manifest_path(key), b"nothing")
    code, (said,) = explain(anna)
    assert (code, said["calls"][0]["state"]) == (1, "not there")


def test_a_voice_that_the_host_cannot_load(explain, anna, small):
    code, (first, second) = explain(anna, small.voice("broken.wav", "broken"))
    assert (code, first["there"]) == (1, True)
    assert second["trouble"] == "ValueError: this is no sound"
    assert [call["state"] for call in second["calls"]] == ["not there"]


def test_a_recording_is_never_encoded_to_be_explained(explain, small, root):
    _, (said,) = explain(small.voice("deadly.wav", "die"))
    assert [call["state"] for call in said["calls"]] == ["not there", "not there"]
    assert said["calls"][0]["nearest"] == []
    assert not root.exists()


def test_two_keys(tool, anna, small, root):
    bert = small.voice("bert.wav", "la la")
    tool("prewarm", bert, "--host", small.spec)
    keys = [key_of(root, OUTER, voice)[:12] for voice in (anna, bert)]
    code, out, _ = tool("explain", *keys)
    assert code == 0
    said = json.loads(out)
    assert (said["same"], said["hints"]) == (False, [])
    assert texts(said) == ["input path: other content, 2 bytes -> 5 bytes"]


def test_two_voices_are_compared_method_by_method(tool, anna, small):
    tool("prewarm", small.voice("bert.wav", "la la"), "--host", small.spec)
    _, out, _ = tool("explain", "anna.wav", "bert.wav")
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["from"]["schema"] for line in lines} == {OUTER, INNER}
    assert all(line["from"]["schema"] == line["to"]["schema"] for line in lines)


def test_one_key_says_what_it_is_made_of(tool, anna, root):
    key = key_of(root, INNER, anna)
    code, out, _ = tool("explain", key)
    made = {(part["part"], part["name"]): part["value"] for part in json.loads(out)["made_of"]}
    assert code == 0
    assert made["param", "rate"] == 16000
    assert made["setting", "weights"] == "123"
    assert ("input", "audio") in made


def test_the_same_key_twice(tool, anna, root):
    key = key_of(root, INNER, anna)
    _, out, _ = tool("explain", key, key)
    assert json.loads(out)["same"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "explain what?"),
        (["a", "b", "c"], 2, "explain compares two"),
        (["nobody.wav"], 1, "nobody.wav"),
        (["nobody.wav", "--host", "small"], 2, "nobody.wav: there is no such file"),
        (["anna.wav", "--host", "small"], 2, "write PLUGIN:FOLDER"),
    ],
)
def test_what_cannot_be_explained_is_one_line(words, code, text, tool, anna, monkeypatch):
    monkeypatch.chdir(os.path.dirname(anna))
    found = tool("explain", *words)
    assert (found[0], found[1]) == (code, "")
    assert text in found[2]
    assert len(found[2].splitlines()) == 1


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal_it_is_said_in_words(columns, tool, anna, small, root):
    small.weights.write_text("456")
    path = os.pathsep.join([str(small.site), *sys.path])
    options = {"columns": columns, "variables": {"PYTHONPATH": path}}
    code, text = on_terminal("--store", root, "explain", anna, "--host", small.spec, **options)
    lines = [line.rstrip() for line in plain(text).splitlines()]
    assert code == 1
    assert any(line.startswith(f"  not there  {OUTER}") for line in lines)
    assert "      setting weights: 123 -> 456" in lines
    assert all(len(line) <= columns for line in lines if "/" not in line)
    code, text = on_terminal("--store", root, "explain", "anna.wav", **options)
    assert code == 0
    assert "audio: bytes" in plain(text)
    code, text = on_terminal("--store", root, "explain", "anna.wav", "anna.wav", **options)
    assert plain(text).count("they are the same key") == 2
