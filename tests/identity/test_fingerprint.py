import functools
import itertools
import json
import math

import numpy as np
import pytest
from blake3 import blake3

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.identity.files import FileDigest, FileDigests
from stepaudio_cas.identity.fingerprint import make_fingerprint, source_of

WEIGHTS, KMEANS = FileDigest("a" * 64, 100), FileDigest("b" * 64, 7)
BASE = {
    "files": {"weights": WEIGHTS, "k-means": KMEANS},
    "settings": {"dither": 1.0, "chunk": [0, 4, 5], "trim": True, "name": "a", "limit": None},
    "source": {"encode": "def encode(): ...", "trim": "def trim(): ..."},
    "runtime": {"torch": "2.7.1", "providers": ["CPU"]},
}


def identity(**changes):
    return make_fingerprint(**(BASE | changes)).id


def with_(part, **changes):
    return {part: BASE[part] | changes}


CHANGES = {
    "nothing": {},
    "a file's content": with_("files", weights=FileDigest("c" * 64, 100)),
    "a file's size": with_("files", weights=FileDigest("a" * 64, 101)),
    "a file's role": {"files": {"Weights": WEIGHTS, "k-means": KMEANS}},
    "two files exchanged": {"files": {"weights": KMEANS, "k-means": WEIGHTS}},
    "a file less": {"files": {"weights": WEIGHTS}},
    "no files": {"files": None},
    "a setting's value": with_("settings", dither=0.0),
    "a setting's sign": with_("settings", dither=-1.0),
    "a setting's type": with_("settings", dither=1),
    "a setting that is text": with_("settings", dither="1.0"),
    "true becomes one": with_("settings", trim=1),
    "a setting within a setting": with_("settings", chunk=[0, 4, 6]),
    "a setting's order": with_("settings", chunk=[4, 0, 5]),
    "a setting more": with_("settings", more=None),
    "none becomes text": with_("settings", limit="None"),
    "none becomes false": with_("settings", limit=False),
    "a tiny difference": with_("settings", dither=math.nextafter(1.0, 2.0)),
    "no settings": {"settings": {}},
    "the source": with_("source", encode="def encode(): pass"),
    "the source's white space": with_("source", encode="def encode():  ..."),
    "the source's name": {"source": {"enc": "def encode(): ...", "trim": "def trim(): ..."}},
    "no source": {"source": None},
    "the runtime": with_("runtime", torch="2.7.2"),
    "the providers": with_("runtime", providers=["CUDA", "CPU"]),
    "no runtime": {"runtime": None},
    "a setting that moved": {"settings": BASE["settings"] | BASE["runtime"], "runtime": None},
}


def test_every_ingredient_changes_the_identity():
    found = {name: identity(**change) for name, change in CHANGES.items()}
    for left, right in itertools.combinations(found, 2):
        assert found[left] != found[right], (left, right)


def test_the_identity_is_the_digest_of_the_document():
    made = make_fingerprint(**BASE)
    assert made.id == blake3(made.document).hexdigest()


def test_the_document_says_what_went_into_it():
    assert json.loads(make_fingerprint(**BASE).document) == {
        "format": 1,
        "files": {
            "weights": {"digest": "a" * 64, "size": 100},
            "k-means": {"digest": "b" * 64, "size": 7},
        },
        "settings": BASE["settings"],
        "source": {name: digest_bytes(text.encode()) for name, text in BASE["source"].items()},
        "runtime": BASE["runtime"],
    }


def test_the_document_is_ascii_and_sorted():
    document = make_fingerprint(settings={"ü": "漢", "a": {"z": 1, "b": 2}}).document
    assert document.isascii()
    fields = json.loads(document)
    assert document == json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def test_the_order_of_ingredients_does_not_matter():
    turned = {part: dict(reversed(fields.items())) for part, fields in BASE.items()}
    assert identity(**turned) == identity()


def test_a_path_is_no_ingredient(tmp_path):
    found = []
    for folder in ("here", "there"):
        path = tmp_path / folder / "model.onnx"
        path.parent.mkdir()
        path.write_bytes(b"weights")
        found.append(make_fingerprint(files={"model": FileDigests().digest(path)}).id)
    assert found[0] == found[1]


def test_a_settings_dictionary_is_read_at_once():
    settings = {"chunk": [1, 2]}
    made = make_fingerprint(settings=settings)
    settings["chunk"].append(3)
    assert json.loads(made.document)["settings"] == {"chunk": [1, 2]}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_json_has_not_is_written_as_text(value):
    document = make_fingerprint(settings={"limit": value}).document
    assert json.loads(document)["settings"] == {"limit": repr(value)}
    assert len({make_fingerprint(settings={"limit": v}).id for v in (math.inf, -math.inf, 0)}) == 3


def endless():
    ring = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    "value",
    [
        b"bytes", {1, 2}, {1: "a"}, 1j, object(), np.float32(1), np.zeros(2), range(3), [object()],
        {"a": {"b": b""}}, endless(), 10**5000,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("part", ["settings", "runtime"])
def test_what_json_cannot_hold_exactly_is_a_bypass(part, value):
    with pytest.raises(Bypass) as caught:
        make_fingerprint(**{part: {"value": value}})
    assert caught.value.reason == "undescribable"


def test_a_bypass_names_the_setting():
    with pytest.raises(Bypass, match=r"settings\.mel\.window\[1\] is a builtins\.bytes"):
        make_fingerprint(settings={"mel": {"window": [1, b""]}})


def test_source_that_is_not_text_is_a_bypass():
    with pytest.raises(Bypass) as caught:
        make_fingerprint(source={"encode": "\udc80"})
    assert caught.value.reason == "undescribable"


def sample(x):
    return x + 1  # and this comment


@functools.lru_cache
def wrapped(x):
    return x + 2


class Host:
    def encode(self, x):
        return x + 3


def test_the_source_of_a_function_is_its_text():
    assert source_of(sample) == "def sample(x):\n    return x + 1  # and this comment\n"


def test_the_source_of_a_wrapped_function_is_that_of_the_function():
    assert source_of(wrapped) == "@functools.lru_cache\ndef wrapped(x):\n    return x + 2\n"


def test_the_source_of_methods_and_classes_can_be_read():
    method = "    def encode(self, x):\n        return x + 3\n"
    assert source_of(Host.encode) == source_of(Host().encode) == method
    assert source_of(Host) == "class Host:\n" + method


def without_text():
    exec("def typed_in(): ...", found := {})  # as in a REPL
    return found["typed_in"]


@pytest.mark.parametrize(
    "function", [len, math.sqrt, functools.partial(sample), without_text(), dict, 3]
)
def test_a_function_without_a_text_is_a_bypass_that_says_what_to_do(function):
    with pytest.raises(Bypass, match="give a version") as caught:
        source_of(function)
    assert caught.value.reason == "no-source"
