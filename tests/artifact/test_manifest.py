import enum
import json
import math

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from stepaudio_cas.artifact.manifest import FORMAT, MAX_BYTES, Manifest, open_manifest
from stepaudio_cas.artifact.signing import Signer
from tests.artifact.examples import searching, text

KEY, OBJECT = "a" * 64, "b" * 64
PLAIN = Manifest(KEY, OBJECT, 12, "tokens/1", "test/1")
FULL = PLAIN._replace(
    plugin="demo",
    created="2026-11-21T09:00:00Z",
    compute_seconds=1.658,
    inputs={"audio": {"kind": "array", "digest": "c" * 64, "shape": [1, 160], "seconds": 0.01}},
    params={"sample_rate": 16000, "trim": True, "floor": -80.0, "seed": None, "n": [1, {"a": 2}]},
    fingerprint="d" * 64,
    producer={"version": "0.1.0", "python": "3.11.7"},
    deterministic=False,
    label="Übung.wav",
)
SIGNERS = {"unsigned": None, "signed": Signer([b"a secret of enough length"])}


class Colour(enum.Enum):
    RED = 1


simple = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | text
)  # fmt: skip
parts = simple | st.lists(simple, max_size=3) | st.dictionaries(text, simple, max_size=3)
documents = st.dictionaries(text, parts | st.lists(parts, max_size=2), max_size=3)
manifests = st.builds(
    Manifest,
    key=st.just(KEY),
    object=st.just(OBJECT),
    size=st.integers(0),
    codec=text,
    schema=text,
    plugin=text,
    created=text,
    compute_seconds=st.floats(0, allow_infinity=False),
    inputs=documents,
    params=documents,
    fingerprint=text,
    producer=documents,
    deterministic=st.booleans(),
    label=text,
    extra=documents.map(lambda fields: {f"x-{name}": fields[name] for name in fields}),
)


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
@pytest.mark.parametrize("manifest", [PLAIN, FULL], ids=["plain", "full"])
def test_a_manifest_comes_back_as_it_was(manifest, signer):
    assert open_manifest(manifest.seal(signer), KEY, signer) == manifest


@searching
@given(manifests, st.sampled_from(list(SIGNERS.values())))
def test_any_manifest_comes_back_as_it_was(manifest, signer):
    found = open_manifest(manifest.seal(signer), KEY, signer)
    assert found == manifest
    assert found.seal(signer) == manifest.seal(signer)


def test_a_manifest_is_json_that_anyone_can_read():
    document = json.loads(FULL.seal())
    assert len(document.pop("sum")) == 64
    expected = {"format": 1, **FULL._asdict()}
    del expected["extra"]
    assert document == expected


def test_the_sum_is_that_of_all_bytes_before_it():
    sealed = FULL.seal()
    body, end = sealed[:-74], sealed[-74:]
    assert end == b',"sum":"' + blake3(body).hexdigest().encode() + b'"}'


def test_the_mac_stands_before_the_sum_and_is_over_all_bytes_before_it():
    signer = SIGNERS["signed"]
    body = FULL.seal()[:-74]
    assert FULL.seal(signer)[:-74] == body + b',"mac":"' + signer.sign(body).encode() + b'"'


def test_a_reader_without_a_key_reads_what_is_signed():
    assert open_manifest(FULL.seal(SIGNERS["signed"]), KEY) == FULL


def resealed(document, signer=None):
    body = json.dumps(document, separators=(",", ":")).encode()[:-1]
    if signer is not None:
        body += b',"mac":"' + signer.sign(body).encode() + b'"'
    return body + b',"sum":"' + blake3(body).hexdigest().encode() + b'"}'


def fields(manifest=FULL, **changes):
    document = json.loads(manifest.seal())
    del document["sum"]
    return document | changes


def test_fields_of_a_newer_version_are_kept():
    sealed = resealed(fields(quality={"snr": 3.5}, tags=["a"]))
    found = open_manifest(sealed, KEY)
    assert found.extra == {"quality": {"snr": 3.5}, "tags": ["a"]}
    assert found._replace(extra={}) == FULL
    again = open_manifest(found.seal(), KEY)
    assert again == found


def test_kept_fields_are_signed_by_who_copies_them():
    signer = SIGNERS["signed"]
    found = open_manifest(resealed(fields(tags=["a"])), KEY)
    assert open_manifest(found.seal(signer), KEY, signer) == found


@pytest.mark.parametrize("name", ["key", "object", "format", "size"])
def test_a_kept_field_never_replaces_one_of_ours(name):
    document = json.loads(FULL._replace(extra={name: "theirs"}).seal())
    assert document[name] == {"key": KEY, "object": OBJECT, "format": FORMAT, "size": 12}[name]


def test_the_order_of_fields_does_not_matter():
    assert open_manifest(resealed(dict(reversed(fields().items()))), KEY) == FULL


def test_fields_with_a_default_may_be_left_out():
    needed = {"format", "key", "object", "size", "codec", "schema"}
    document = {name: value for name, value in fields(PLAIN).items() if name in needed}
    assert open_manifest(resealed(document), KEY) == PLAIN


def test_seconds_may_be_a_whole_number():
    assert open_manifest(resealed(fields(compute_seconds=2)), KEY).compute_seconds == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"ab", "b'ab'"),
        (1j, "1j"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        ((1, (2,)), [1, [2]]),
        ({3}, [3]),
        (frozenset([None]), [None]),
        ({1: {2.5: "a"}, None: 1}, {"1": {"2.5": "a"}, "None": 1}),
        (Colour.RED, "<Colour.RED: 1>"),
        (torch.float32, "torch.float32"),
        (torch.device("cuda", 1), "device(type='cuda', index=1)"),
        (torch.tensor([1, 2]), "tensor([1, 2])"),
        (np.array([1, 2]), "array([1, 2])"),
        (b"a" * 1000, "b'" + "a" * 198),
        ("\ud800", "\ud800"),
        (True, True),
        (2**70, 2**70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_params_that_json_has_not_are_made_readable(value, shown):
    found = open_manifest(PLAIN._replace(params={"p": value}).seal(), KEY)
    assert found.params == {"p": shown}
    assert [type(item) for item in found.params.values()] == [type(shown)]


def test_what_is_nested_deep_is_cut_off():
    ring = []
    ring.append(ring)
    found = open_manifest(PLAIN._replace(params={"p": ring}).seal(), KEY)
    assert json.dumps(found.params).count("[") < 20


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
@pytest.mark.parametrize(
    "params",
    [{"text": "x" * (MAX_BYTES + 1)}, {"all": list(range(300_000))}, {"x" * MAX_BYTES: 1}],
    ids=["text", "list", "name"],
)
def test_params_too_large_to_show_are_left_out(params, signer):
    sealed = FULL._replace(params=params).seal(signer)
    assert len(sealed) <= MAX_BYTES
    found = open_manifest(sealed, KEY, signer)
    assert found._replace(params=FULL.params) == FULL
    assert "too large" in str(found.params)


def test_params_that_just_fit_are_shown():
    room = MAX_BYTES - 1024 - len(PLAIN._replace(params={"t": ""}).seal()[:-74])
    for size, shown in ((room, True), (room + 1, False)):
        manifest = PLAIN._replace(params={"t": "x" * size})
        assert len(manifest.seal(SIGNERS["signed"])) <= MAX_BYTES
        assert (open_manifest(manifest.seal(), KEY) == manifest) is shown
