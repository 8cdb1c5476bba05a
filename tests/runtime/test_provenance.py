import json
import platform
import re
import socket
import sys
from types import ModuleType

import numpy as np
import pytest

import stepaudio_cas as cas
from stepaudio_cas import make_fingerprint, make_recipe
from stepaudio_cas.artifact import codec
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.runtime.provenance import make_manifest, producer
from stepaudio_cas.store import layout
from tests.runtime.helpers import call
from tests.support.values import tokens

MODEL = make_fingerprint(settings={"size": 3})
RECIPE = make_recipe(
    "voice/1",
    inputs={"audio": np.zeros((1, 8), "float32"), "text": b"hello"},
    params={"rate": 16000, "mode": "fast", "speed": float("inf")},
    fingerprint=MODEL,
)


@pytest.fixture
def manifest():
    encoded = codec.encode(tokens())
    made = call(recipe=RECIPE, plugin="stepaudio", label="Anna", deterministic=False)
    return make_manifest(made, encoded, 1.23456789)


def test_a_manifest_says_which_object_the_key_has(manifest):
    data = codec.encode(tokens()).data
    assert manifest.key == RECIPE.key
    assert (manifest.object, manifest.size, manifest.codec) == (
        digest_bytes(data), len(data), codec.TOKENS
    )  # fmt: skip


def test_a_manifest_says_what_it_was_computed_from(manifest):
    assert manifest.schema == "voice/1"
    assert manifest.fingerprint == MODEL.id
    assert manifest.params == {"rate": 16000, "mode": "fast", "speed": float("inf")}
    assert manifest.inputs == {
        "audio": {"kind": "array", "digest": RECIPE.inputs["audio"].digest, "shape": (1, 8)},
        "text": {"kind": "bytes", "digest": RECIPE.inputs["text"].digest, "bytes": 5},
    }


def test_a_manifest_says_how_it_came_to_be(manifest):
    assert (manifest.plugin, manifest.label, manifest.deterministic) == ("stepaudio", "Anna", False)
    assert manifest.compute_seconds == 1.234568
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", manifest.created)


def test_the_producer_is_this_software_on_this_machine():
    made = producer()
    assert made["version"] == cas.__version__
    assert made["host"] == socket.gethostname()
    assert made["python"] == platform.python_version()
    assert made["machine"] == platform.machine()
    assert made["numpy"] == np.__version__


def test_only_libraries_that_are_loaded_are_named(monkeypatch):
    for name in ("funasr", "onnxruntime"):  # tests of other rooms may have loaded them
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert "funasr" not in producer()
    loaded = ModuleType("funasr")
    loaded.__version__ = "9.9"
    monkeypatch.setitem(sys.modules, "funasr", loaded)
    assert producer()["funasr"] == "9.9"
    assert "onnxruntime" not in producer()


def test_a_recipe_without_a_model_has_no_fingerprint():
    assert make_manifest(call(), codec.encode([1]), 0.0).fingerprint == ""


def test_every_field_that_is_promised_is_in_the_file(open_cache, root):
    with open_cache() as cache:
        cache.get_or_compute(RECIPE, tokens, plugin="stepaudio", label="Anna")
    document = json.loads((root / layout.manifest_path(RECIPE.key)).read_bytes())
    assert set(document) == {
        "format", "key", "object", "size", "codec", "schema", "plugin", "created",
        "compute_seconds", "inputs", "params", "fingerprint", "producer", "deterministic",
        "label", "sum",
    }  # fmt: skip
    described = (root / layout.fingerprint_path(document["fingerprint"])).read_bytes()
    assert described == MODEL.document
