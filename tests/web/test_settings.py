"""The variables of the server, and what they bring about in a host."""

import os

import pytest

from stepaudio_cas.activation import session
from stepaudio_cas.settings import parse_address, read_settings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8765", "127.0.0.1:8765"), ("8765", "127.0.0.1:8765"), ("[::1]:0", "[::1]:0"),
        ("0.0.0.0:80", "0.0.0.0:80"), ("off", ""), ("0", ""),
    ],
)  # fmt: skip
def test_an_address_is_read(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["localhost", ":80", "host:", "host:port", "host:65536", "a:-1"])
def test_what_is_no_address_is_said_by_name_and_left_out(text):
    settings, problems = read_settings({"STEPAUDIO_CAS_HTTP": text})
    assert settings.http == ""
    assert [problem.name for problem in problems] == ["STEPAUDIO_CAS_HTTP"]


def test_voices_that_are_sent_are_watched_beside_those_of_the_operator(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("STEPAUDIO_CAS_WATCH", "/srv/voices")
    monkeypatch.setenv("STEPAUDIO_CAS_HTTP", "127.0.0.1:0")
    assert session._watched() == ("/srv/voices",)
    monkeypatch.setenv("STEPAUDIO_CAS_HTTP_TOKEN_FILE", "/run/token")
    folder, spool = session._watched()
    assert (folder, os.path.isdir(spool)) == ("/srv/voices", True)
    monkeypatch.delenv("STEPAUDIO_CAS_WATCH")
    assert session._watched() == ()
