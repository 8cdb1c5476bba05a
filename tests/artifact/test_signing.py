import pytest
from blake3 import blake3

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.errors import SettingError

OLD, NEW = b"an old secret of enough length", b"the new secret of enough length"


@pytest.fixture
def key_file(tmp_path):
    def write(*lines):
        path = tmp_path / "signing.key"
        path.write_bytes(b"\n".join(lines))
        return path

    return write


def test_what_a_secret_signed_it_verifies():
    signer = Signer([OLD])
    assert signer.verify(b"data", signer.sign(b"data"))
    assert Signer([OLD]).sign(b"data") == signer.sign(b"data")


def test_the_mac_is_the_one_in_the_format_document():
    secret = blake3(OLD, derive_key_context="stepaudio-cas 2026 manifest mac").digest()
    expected = f"{blake3(secret).hexdigest()[:8]}:{blake3(b'data', key=secret).hexdigest()}"
    assert Signer([OLD]).sign(b"data") == expected


def test_other_data_and_other_secrets_are_refused():
    mac = Signer([OLD]).sign(b"data")
    assert not Signer([OLD]).verify(b"date", mac)
    assert not Signer([OLD]).verify(b"", mac)
    assert not Signer([NEW]).verify(b"data", mac)


def test_a_key_id_does_not_make_a_signature():
    mac = Signer([OLD]).sign(b"data")
    other = Signer([NEW])
    assert not other.verify(b"data", other.sign(b"")[:9] + mac[9:])


@pytest.mark.parametrize("place", range(73))
def test_every_digit_of_a_mac_counts(place):
    signer = Signer([OLD])
    mac = signer.sign(b"data")
    assert len(mac) == 73
    changed = mac[:place] + ("0" if mac[place] != "0" else "1") + mac[place + 1 :]
    assert not signer.verify(b"data", changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda mac: "", lambda mac: mac[:-1], lambda mac: mac + "0", lambda mac: mac.upper(),
        lambda mac: mac[9:], lambda mac: mac[:9], lambda mac: mac.replace(":", ""),
        lambda mac: mac[:9] + "é" * 64, lambda mac: mac[:9] + "\ufffd" * 64, lambda mac: ":" + mac,
        lambda mac: mac[:9] + ":" + mac[9:], lambda mac: mac + "\n", lambda mac: ":",
    ],
)  # fmt: skip
def test_what_is_no_mac_is_refused(change):
    signer = Signer([OLD])
    assert not signer.verify(b"data", change(signer.sign(b"data")))


def test_the_first_secret_signs_and_all_verify():
    both = Signer([NEW, OLD])
    assert both.sign(b"data") == Signer([NEW]).sign(b"data") != Signer([OLD]).sign(b"data")
    assert both.verify(b"data", Signer([OLD]).sign(b"data"))
    assert not Signer([NEW]).verify(b"data", Signer([OLD]).sign(b"data"))


def test_a_key_file_has_a_secret_a_line(key_file):
    signer = Signer.from_file(key_file(b"# since March", b"", b"  " + NEW + b"\t", OLD, b""))
    assert signer.sign(b"data") == Signer([NEW]).sign(b"data")
    assert signer.verify(b"data", Signer([OLD]).sign(b"data"))


def test_a_comment_is_no_secret(key_file):
    comment = b"# a comment of more than sixteen letters"
    signer = Signer.from_file(key_file(OLD, comment))
    assert not signer.verify(b"data", Signer([comment]).sign(b"data"))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_how_lines_end_does_not_matter(tmp_path, end):
    path = tmp_path / "signing.key"
    path.write_bytes(NEW + end)
    assert Signer.from_file(path).sign(b"data") == Signer([NEW]).sign(b"data")


@pytest.mark.parametrize("lines", [[], [b""], [b"  ", b"\t"], [b"# " + OLD]], ids=range(4))
def test_a_key_file_without_a_key_is_a_bad_setting(key_file, lines):
    path = key_file(*lines)
    with pytest.raises(SettingError, match="holds no key") as caught:
        Signer.from_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("lines", [[b"short"], [b"x" * 15], [OLD, b"short"], [b" " * 20 + b"x"]])
def test_a_short_secret_is_a_bad_setting_that_says_how_to_make_one(key_file, lines):
    with pytest.raises(SettingError, match="shorter than 16 characters; make one with: openssl"):
        Signer.from_file(key_file(*lines))


def test_the_shortest_secret(key_file):
    assert Signer.from_file(key_file(b"x" * 16)).sign(b"data") == Signer([b"x" * 16]).sign(b"data")


def test_a_key_file_that_cannot_be_read_is_a_bad_setting(tmp_path):
    for path in (tmp_path / "missing.key", tmp_path):
        with pytest.raises(SettingError, match="cannot be read") as caught:
            Signer.from_file(path)
        assert str(path) in str(caught.value)


def test_no_secret_is_shown_in_an_error(key_file):
    with pytest.raises(SettingError) as caught:
        Signer.from_file(key_file(OLD, b"too-short"))
    assert OLD.decode() not in str(caught.value)
    assert "too-short" not in str(caught.value)
