"""A manifest that is not what was written is `Damaged`, of a kind that says why."""

import json

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from stepaudio_cas.artifact.manifest import MAX_BYTES, Manifest, open_manifest
from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import Damaged
from tests.artifact.examples import searching

KEY, OBJECT = "a" * 64, "b" * 64
MANIFEST = Manifest(KEY, OBJECT, 12, "tokens/1", "test/1", params={"rate": 16000}, label="ü")
OURS, OLD = Signer([b"a secret of enough length"]), Signer([b"an older one of enough length"])
THEIRS = Signer([b"the secret of somebody else"])


def damage(data, signer=None, key=KEY):
    with pytest.raises(Damaged) as caught:
        open_manifest(data, key, signer)
    return caught.value.kind


def sealed(body, signer=None):
    """Give any bytes a sum that is right, as anybody can."""
    if signer is not None:
        body += b',"mac":"' + signer.sign(body).encode() + b'"'
    return body + b',"sum":"' + blake3(body).hexdigest().encode() + b'"}'


def with_fields(**changes):
    document = json.loads(MANIFEST.seal())
    del document["sum"]
    document |= changes
    document = {name: value for name, value in document.items() if value is not ...}
    return json.dumps(document, separators=(",", ":")).encode()[:-1]


@pytest.mark.parametrize("signer", [None, OURS], ids=["unsigned", "signed"])
def test_every_flipped_byte_is_damage(signer):
    whole = MANIFEST.seal(signer)
    for place in range(len(whole)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            data = bytearray(whole)
            data[place] ^= flip
            assert damage(bytes(data), signer) == "manifest"


@pytest.mark.parametrize("signer", [None, OURS], ids=["unsigned", "signed"])
def test_every_truncation_is_damage(signer):
    whole = MANIFEST.seal(signer)
    for end in range(len(whole)):
        assert damage(whole[:end], signer) == "manifest"
        assert damage(whole[end + 1 :], signer) == "manifest"


@pytest.mark.parametrize("more", [b"\n", b" ", b"\0", b"}", MANIFEST.seal()])
def test_anything_before_or_after_is_damage(more):
    assert damage(MANIFEST.seal() + more) == "manifest"
    assert damage(more + MANIFEST.seal()) == "manifest"


@searching
@given(st.binary(max_size=200))
def test_any_bytes_are_damage(data):
    assert damage(data) == "manifest"
    assert damage(sealed(data)) in {"manifest", "format"}
    assert damage(sealed(data), OURS) in {"unsigned", "signature"}
    assert damage(sealed(data, OURS), OURS) in {"manifest", "format"}


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"{" * 100_000, b"[" * 100_000])
def test_other_documents_are_damage(data):
    assert damage(data) == "manifest"
    assert damage(sealed(data)) == "manifest"


@pytest.mark.parametrize(
    "body",
    [
        b"[1", b'"a', b'{"format":1', b'{"a":1', b'{"format":1,"a":NaN', b'{"format":1,"a":',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000, b"\xef\xbb\xbf{", b'{"format":1,"a":"\xff"',
        b'{"format":1,"a":' + b"9" * 5000, b'{"format":[]',
    ],
    ids=range(11),
)  # fmt: skip
def test_json_that_is_no_manifest_is_damage(body):
    assert damage(sealed(body)) in {"manifest", "format"}


@pytest.mark.parametrize("name", ["key", "object", "size", "codec", "schema"])
def test_a_field_that_is_needed_and_missing_is_damage(name):
    assert damage(sealed(with_fields(**{name: ...}))) == "manifest"


WRONG = [
    *((name, value) for name in ("key", "object", "codec", "schema", "plugin", "created", "label",
                                 "fingerprint") for value in (1, None, [], {}, True)),
    *(("size", value) for value in ("12", 12.0, None, True, [12], -1)),
    *((name, value) for name in ("inputs", "params", "producer") for value in ([], None, 1, "a")),
    *(("compute_seconds", value) for value in ("1", None, True, [])),
    *(("deterministic", value) for value in (1, 0, None, "true")),
    *(("object", value) for value in ("", "b" * 63, "B" * 64, "b" * 64 + "\n", "../" + "b" * 61)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
@pytest.mark.parametrize("order", [dict, lambda fields: dict(reversed(fields.items()))])
def test_a_field_of_another_type_is_damage(name, value, order):
    fields = json.loads(with_fields(**{name: value}) + b"}")
    body = json.dumps(order(fields), separators=(",", ":")).encode()[:-1]
    assert damage(sealed(body)) == "manifest"


def test_a_manifest_of_another_key_is_foreign():
    assert damage(MANIFEST.seal(), key="c" * 64) == "foreign"
    assert damage(MANIFEST.seal(), key=KEY.upper()) == "foreign"


@pytest.mark.parametrize("version", [2, 0, 1.5, "1", None, [1]])
def test_another_format_is_told_from_damage(version):
    assert damage(sealed(with_fields(format=version))) == "format"
    later = sealed(with_fields(format=version, key={"blake3": KEY}, object=...))
    assert damage(later) == "format"


def test_a_manifest_without_a_format_is_damage():
    assert damage(sealed(with_fields(format=...))) == "manifest"


def test_a_manifest_that_is_too_long_is_damage():
    padded = sealed(with_fields(padding="x" * MAX_BYTES))
    assert damage(padded) == "manifest"
    room = MAX_BYTES - len(sealed(with_fields(padding="")))
    longest = sealed(with_fields(padding="x" * room))
    assert len(longest) == MAX_BYTES
    assert open_manifest(longest, KEY).key == KEY


def test_an_unsigned_manifest_is_not_trusted():
    assert damage(MANIFEST.seal(), OURS) == "unsigned"


def test_a_manifest_signed_by_another_key_is_not_trusted():
    assert damage(MANIFEST.seal(THEIRS), OURS) == "signature"


def test_a_secret_that_was_replaced_is_trusted_until_it_is_removed():
    both = Signer([b"a secret of enough length", b"an older one of enough length"])
    assert open_manifest(MANIFEST.seal(OLD), KEY, both) == MANIFEST
    assert open_manifest(MANIFEST.seal(both), KEY, OURS) == MANIFEST
    assert damage(MANIFEST.seal(OLD), OURS) == "signature"


def test_whoever_changes_a_signed_manifest_cannot_sign_it():
    body = MANIFEST.seal(OURS)[:-74]
    for place in range(len(body)):
        changed = bytearray(body)
        changed[place] ^= 1
        assert damage(sealed(bytes(changed)), OURS) in {"signature", "unsigned", "manifest"}


def test_a_signature_of_one_manifest_does_not_sign_another():
    mac = MANIFEST.seal(OURS)[:-74][-82:]
    assert mac.startswith(b',"mac":"')
    other = with_fields(object="c" * 64)
    assert damage(sealed(other + mac), OURS) == "signature"


@pytest.mark.parametrize("field", ["label", "params", "extra"])
def test_what_looks_like_a_signature_inside_is_none(field):
    text = ',"mac":"' + OURS.sign(b"")
    value = {"label": text, "params": {"a": text}, "extra": {"mac": OURS.sign(b"")}}[field]
    inside = MANIFEST._replace(**{field: value})
    assert damage(inside.seal(), OURS) in {"unsigned", "signature"}
    assert open_manifest(inside.seal(OURS), KEY, OURS).key == KEY


def test_fields_after_the_signature_are_not_signed_and_not_read():
    body = MANIFEST.seal(OURS)[:-74]
    assert damage(sealed(body + b',"label":"theirs"'), OURS) == "signature"
    assert damage(sealed(body + b',"mac":"' + THEIRS.sign(body).encode() + b'"'), OURS) == (
        "signature"
    )


@pytest.mark.parametrize("mac", [b"", b":", b"\xff" * 64, b"\\u0000", "é".encode() * 32, b"0" * 73])
def test_a_signature_of_other_letters_is_none(mac):
    body = with_fields()
    key_id = OURS.sign(body)[:9].encode()
    for written in (mac, key_id + mac):
        assert damage(sealed(body + b',"mac":"' + written + b'"'), OURS) == "signature"
