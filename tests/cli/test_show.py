"""`cas-tool show`: everything that is known of an entry, for programs and for people."""

import numpy as np
import pytest

from stepaudio_cas.maintenance.pins import pin
from stepaudio_cas.store import layout
from tests.cli.drawer import MODEL, TOKENS
from tests.cli.terminal import on_terminal, plain


def test_a_pipe_gets_all_of_it(drawer):
    manifest = drawer.voice(3, "anna.wav")
    drawer.model()
    pin(drawer.backend, manifest.key, label="house", clock=lambda: 1_800_000_000.0)
    code, [said] = drawer.tool("show", "anna.wav")
    assert code == 0
    assert said["key"] == manifest.key
    assert (said["damage"], said["pinned"]) == (None, True)
    assert said["pin"] == {"since": "2027-01-15T08:00:00Z", "label": "house"}
    assert said["content"] == {"tokens": {"speech": 2, "vq02": 5, "vq06": 3}}
    assert said["inputs"] == manifest.inputs
    assert said["params"] == manifest.params
    assert said["producer"] == manifest.producer
    assert said["model"] == MODEL.id
    assert said["fingerprint"]["files"]["encoder"] == {"digest": "ab" * 32, "size": 900_000_000}
    assert (said["object"], said["object_size"]) == (manifest.object, manifest.size)


def test_a_terminal_shows_it_readably(drawer):
    manifest = drawer.voice(3, "anna.wav")
    drawer.model()
    pin(drawer.backend, manifest.key, label="house")
    code, text = on_terminal("show", manifest.key[:8], "--store", drawer.root)
    lines = plain(text).splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0] == manifest.key
    told = {line[:14].strip(): line[16:].strip() for line in lines[1:] if line[:14].strip()}
    assert told["voice"] == "house"
    assert told["computes"] == TOKENS
    assert told["tokens"] == "speech 2, vq02 5, vq06 3"
    assert told["object"] == manifest.object
    assert told["model"] == MODEL.id
    assert told["files"] == "encoder: digest abababababababab…, size 900000000"
    assert told["params"] == "sample_rate 48000"
    assert told["audio"] == "10.00 s"
    assert told["last used"].endswith("Z, 2 h ago") or told["last used"].endswith("Z, 120 min ago")
    assert told["pinned"].endswith(", as house")
    assert ", tokens/1, whole" in text


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (([1], [2, 3]), {"tokens": {"0": 1, "1": 2}}),
        ({"mel": np.zeros((80, 7), "float32")}, {"mel": "numpy float32 [80, 7]"}),
        (["text", b"bytes", None, 1.5, {}], ["str of 4", "bytes of 5", "NoneType", "float", {}]),
        (list(range(100)), "list of 100"),
        ([[[[1]]]], [[["list of 1"]]]),
    ],
    ids=["tokens", "array", "list", "long", "deep"],
)
def test_what_is_in_the_object_is_outlined(drawer, value, content):
    manifest = drawer.voice(1, value=value, schema="mine/1")
    _, [said] = drawer.tool("show", manifest.key)
    assert said["content"] == content


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda drawer, m: drawer.damage(m), "manifest"),
        (lambda drawer, m: drawer.backend.delete(layout.object_path(m.object)), "object-missing"),
        (lambda drawer, m: drawer.backend.put(layout.object_path(m.object), b"x" * m.size),
         "object"),
    ],
    ids=["manifest", "missing", "flipped"],
)  # fmt: skip
def test_what_is_damaged_is_said_and_is_exit_code_1(drawer, damage, kind):
    manifest = drawer.voice(1)
    damage(drawer, manifest)
    code, [said] = drawer.tool("show", manifest.key)
    assert (code, said["damage"]) == (1, kind)
    code, text = on_terminal("show", manifest.key, "--store", drawer.root)
    assert code == 1
    assert "cas-tool verify --repair" in text
    assert "whole" not in text


@pytest.mark.parametrize("document", [None, b"{}", b"not what its name says"])
def test_a_model_whose_fingerprint_is_not_there_has_only_its_id(drawer, document):
    manifest = drawer.voice(1)
    if document is not None:
        drawer.backend.put(layout.fingerprint_path(MODEL.id), document)
    _, [said] = drawer.tool("show", manifest.key)
    assert (said["model"], said["fingerprint"]) == (MODEL.id, None)
    _, text = on_terminal("show", manifest.key, "--store", drawer.root)
    assert "its fingerprint is not in this store, or damaged" in text


def test_all_entries_of_a_voice_are_shown(drawer):
    keys = {drawer.voice(number, "anna.wav").key for number in range(2)}
    _, lines = drawer.tool("show", "anna.wav")
    assert {line["key"] for line in lines} == keys


def test_a_beginning_of_several_keys_is_refused_with_their_names(drawer):
    for digit in "12":
        drawer.backend.put(layout.manifest_path("abcd" + digit + "0" * 59), b"")
    assert drawer.tool("show", "abcd") == (2, [])
    assert "abcd begins 2 keys: abcd10000000, abcd20000000; give more digits" in drawer.said


def test_what_is_not_there_is_named(drawer):
    drawer.voice(1)
    assert drawer.tool("show", "nobody.wav") == (1, [])
    assert "nobody.wav" in drawer.said


def test_nothing_to_show_is_wrong_usage(drawer):
    assert drawer.tool("show") == (2, [])
    assert "show what?" in drawer.said
