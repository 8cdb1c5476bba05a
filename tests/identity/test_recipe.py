import enum
import itertools
import random

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import digest_array, digest_bytes
from stepaudio_cas.identity.fingerprint import make_fingerprint
from stepaudio_cas.identity.recipe import (
    Input,
    _encode_head,
    _head,
    _plain_head,
    _single_tail,
    as_input,
    make_recipe,
)
from tests.identity.examples import encoding, searching, text, values

MODEL = make_fingerprint(settings={"dither": 0.0})
AUDIO = np.arange(8, dtype="float32")
BASE = {
    "schema": "tokens/1",
    "inputs": {"audio": AUDIO, "prompt": b"RIFF"},
    "params": {"sample_rate": 16000, "trim": True, "floor": -80.0, "text": "a", "seed": None},
    "fingerprint": MODEL,
}

digests = st.integers(0, 2**256 - 1).map("{:064x}".format)
inputs = st.dictionaries(text, st.builds(Input, text, digests), max_size=3)
params = st.dictionaries(text, values, max_size=3)


class Schema(str, enum.Enum):
    TOKENS = "tokens/1"


def key(**changes):
    parts = BASE | changes
    return make_recipe(parts.pop("schema"), **parts).key


def with_(part, **changes):
    return {part: BASE[part] | changes}


def without(part, name):
    return {part: {k: v for k, v in BASE[part].items() if k != name}}


CHANGES = {
    "nothing": {},
    "schema": {"schema": "tokens/2"},
    "fingerprint": {"fingerprint": make_fingerprint(settings={"dither": 1.0})},
    "no fingerprint": {"fingerprint": None},
    "a param's value": with_("params", sample_rate=24000),
    "a param's type": with_("params", sample_rate=16000.0),
    "a param becomes text": with_("params", sample_rate="16000"),
    "true becomes one": with_("params", trim=1),
    "true becomes false": with_("params", trim=False),
    "the sign of zero": with_("params", floor=-0.0),
    "zero": with_("params", floor=0.0),
    "text becomes bytes": with_("params", text=b"a"),
    "none becomes false": with_("params", seed=False),
    "none becomes zero": with_("params", seed=0),
    "a param less": without("params", "seed"),
    "a param more": with_("params", speed=1.0),
    "no params": {"params": {}},
    "a param's name": {"params": {**without("params", "trim")["params"], "Trim": True}},
    "an input's content": with_("inputs", audio=AUDIO + 1),
    "an input's shape": with_("inputs", audio=AUDIO.reshape(2, 4)),
    "an input's dtype": with_("inputs", audio=AUDIO.view("int32")),
    "an input's library": with_("inputs", audio=torch.from_numpy(AUDIO)),
    "an input becomes its bytes": with_("inputs", audio=AUDIO.tobytes()),
    "an input less": without("inputs", "prompt"),
    "another input less": without("inputs", "audio"),
    "an input more": with_("inputs", more=b""),
    "no inputs": {"inputs": {}},
    "two inputs exchanged": {"inputs": {"audio": b"RIFF", "prompt": AUDIO}},
    "an input's name": {"inputs": {"speech": AUDIO, "prompt": b"RIFF"}},
    "an input that is a param": {
        "inputs": {"audio": AUDIO},
        "params": BASE["params"] | {"prompt": b"RIFF"},
    },
}


def test_every_ingredient_is_part_of_the_key():
    keys = {name: key(**change) for name, change in CHANGES.items()}
    for left, right in itertools.combinations(keys, 2):
        assert keys[left] != keys[right], (left, right)


def test_the_order_of_params_and_inputs_does_not_matter():
    names, shuffled = list(BASE["params"]), set()
    for _ in range(20):
        random.shuffle(names)
        shuffled.add(
            key(
                params={name: BASE["params"][name] for name in names},
                inputs=dict(reversed(BASE["inputs"].items())),
            )
        )
    assert shuffled == {key()}


def test_strides_and_gradients_of_an_input_do_not_matter():
    stereo = np.stack([AUDIO, AUDIO], axis=1)
    tensors = [torch.from_numpy(AUDIO), torch.from_numpy(stereo)[:, 0]]
    tensors.append(torch.from_numpy(AUDIO.copy()).requires_grad_())
    assert key(**with_("inputs", audio=stereo[:, 0])) == key()
    assert len({key(**with_("inputs", audio=tensor)) for tensor in tensors}) == 1


def test_facts_are_for_people():
    ready = Input("array", digest_array(AUDIO), {"seconds": 3, "sample_rate": 16000})
    assert key(**with_("inputs", audio=ready)) == key()


def as_documented(schema, inputs, params, fingerprint):
    """The key, computed a second time from docs/format.md."""
    pairs = {name: (item.kind, item.digest) for name, item in inputs.items()}
    identity = fingerprint.id if fingerprint is not None else None
    return blake3(
        b"stepaudio-cas key 1\n" + encoding([schema, identity, params, pairs])
    ).hexdigest()


@searching
@given(text, inputs, params, st.sampled_from([None, MODEL]))
def test_the_key_is_the_one_in_the_format_document(schema, given_inputs, given_params, fingerprint):
    recipe = make_recipe(schema, inputs=given_inputs, params=given_params, fingerprint=fingerprint)
    assert recipe.key == as_documented(schema, given_inputs, given_params, fingerprint)
    assert (recipe.schema, recipe.params, recipe.inputs, recipe.fingerprint) == (
        schema,
        given_params,
        given_inputs,
        fingerprint,
    )


alike = st.sampled_from([0, 1, False, True, None, "0", "1", "", "True", 2**70, 1.0, 0.0, -0.0])


@searching
@given(st.lists(st.dictionaries(st.sampled_from("ab"), alike, max_size=2), max_size=8))
def test_remembered_heads_are_never_those_of_values_that_are_only_equal(calls):
    for given_params in calls:
        head = _head("schema/1", None, given_params)
        assert head == _encode_head("schema/1", None, given_params)


def test_a_head_is_remembered_for_plain_parameters():
    _plain_head.cache_clear()
    heads = {_head("s", None, {"rate": 16000, "trim": True}) for _ in range(3)}
    assert len(heads) == 1
    assert _plain_head.cache_info().hits == 2


def test_a_head_is_not_remembered_for_values_whose_contents_can_change():
    chunks = [1, 2]
    before = make_recipe("s", params={"chunks": chunks}).key
    chunks.append(3)
    assert make_recipe("s", params={"chunks": chunks}).key != before


@pytest.mark.parametrize("first", [Schema.TOKENS, "tokens/1"], ids=["enum", "text"])
def test_a_remembered_schema_is_not_taken_for_one_that_is_only_equal(first):
    _plain_head.cache_clear()
    make_recipe(first, params={"a": 1})
    enum_key = make_recipe(Schema.TOKENS, params={"a": 1}).key
    assert make_recipe("tokens/1", params={"a": 1}).key != enum_key


def test_remembered_names_are_not_taken_for_names_that_are_only_equal():
    assert make_recipe("s", params={1: "a"}).key != make_recipe("s", params={True: "a"}).key
    assert (
        make_recipe("s", params={"tokens/1": 1}).key
        != make_recipe("s", params={Schema.TOKENS: 1}).key
    )


def test_remembered_ends_are_those_of_their_name_and_kind():
    _single_tail.cache_clear()
    digest = "0" * 64
    keys = {
        make_recipe("s", inputs={name: Input(kind, digest)}).key
        for name, kind in itertools.product(("a", "b", "s1:a"), ("array", "bytes"))
    }
    assert len(keys) == 6
    assert _single_tail.cache_info().misses == 6


@pytest.mark.parametrize("data", [b"RIFF", bytearray(b"RIFF"), memoryview(b"RIFF")])
def test_bytes_are_an_input_whatever_holds_them(data):
    assert as_input(data) == Input("bytes", digest_bytes(b"RIFF"), {"bytes": 4})


def test_an_array_is_an_input_with_its_shape():
    value = torch.zeros(2, 3)
    assert as_input(value) == Input("array", digest_array(value), {"shape": (2, 3)})


def test_a_file_is_an_input_by_its_content(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    facts = {"bytes": 4, "name": "a.wav"}
    assert as_input(path) == Input("bytes", digest_bytes(b"RIFF"), facts, path)
    assert make_recipe("s", inputs={"a": path}).key == make_recipe("s", inputs={"a": b"RIFF"}).key


def test_a_file_that_cannot_be_read_is_a_bypass(tmp_path):
    with pytest.raises(Bypass) as caught:
        as_input(tmp_path / "missing.wav")
    assert caught.value.reason == "unreadable-file"


@pytest.mark.parametrize(
    "value",
    [
        [1.0, 2.0], "a.wav", 1, None, {"array": b""}, object(),
        memoryview(b"abcdef")[::2], memoryview(np.arange(4, dtype="int16")),
        memoryview(np.arange(4, dtype="uint8").reshape(2, 2)), memoryview(b"a").cast("b"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_has_no_exact_content_is_no_input(value):
    with pytest.raises(Bypass) as caught:
        make_recipe("s", inputs={"a": value})
    assert caught.value.reason == "undescribable"


def test_a_param_without_a_description_is_a_bypass():
    with pytest.raises(Bypass) as caught:
        make_recipe("s", params={"a": object()})
    assert caught.value.reason == "undescribable"


def test_a_recipe_does_not_follow_its_maker():
    made = {"a": 1}
    recipe = make_recipe("s", params=made)
    made["b"] = 2
    assert recipe.params == {"a": 1}


def test_a_key_is_a_digest():
    assert len(key()) == 64
    assert key() == key()
    assert set(key()) <= set("0123456789abcdef")
