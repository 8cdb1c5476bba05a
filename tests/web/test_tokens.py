"""The file of tokens, as people and tools write it."""

import errno
import os
import socket
from types import SimpleNamespace

import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.web.tokens import Tokens, make_token
from tests.web.serving import TOKEN

V1 = "/api/v1"


def ask(client, sent):
    head = b"POST /api/v1/clear HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as line:
        line.sendall(head + b"Authorization: " + sent + b"\r\nContent-Length: 2\r\n\r\n{}")
        return int(line.recv(1 << 16).split()[1])


@pytest.mark.parametrize("text", ["gehe-heim-grüße-à", "秘密の言葉は長い", "with a blank in it"])
def test_a_token_may_be_any_text(api, token_file, text):
    token_file.write_text(text, encoding="utf-8")
    assert ask(api, b"Bearer " + text.encode()) == 200
    assert ask(api, b"Bearer " + text.encode()[:-1]) == 401
    assert ask(api, b"Bearer \xff\xfe" + text.encode()) == 401


@pytest.mark.parametrize("how", [b"\xef\xbb\xbf%s\r\n", b"\r\n  %s  \r\n", b"# mine\n%s"])
def test_a_file_may_come_from_any_editor(tmp_path, how):
    (tmp_path / "token").write_bytes(how % TOKEN.encode())
    assert Tokens(str(tmp_path / "token")).fits(TOKEN.encode())


@pytest.mark.parametrize(
    "sent",
    [
        TOKEN.encode(), b"Bearer", b"Bearer ", b"Bearer " + TOKEN.encode()[:-1],
        b"Bearer " + TOKEN.encode() + b"x", b"Bearer " + TOKEN.encode() + b" x",
        b"Bearer # a remark in the file", b"Basic " + TOKEN.encode(),
    ],
)  # fmt: skip
def test_nothing_but_the_whole_token_is_one(still, sent):
    assert ask(still, sent) == 401


@pytest.mark.parametrize("query", [f"token={TOKEN}", f"access_token={TOKEN}"])
def test_a_token_in_an_address_is_none(still, query):
    answer = still.ask("POST", f"{V1}/clear?{query}", "{}")
    assert answer.status == 401
    assert TOKEN not in str(answer)


def test_a_token_that_was_replaced_by_one_of_the_same_length_and_time_is_none(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("stepaudio_cas.web.tokens._SETTLED", 0)
    path = tmp_path / "token"
    path.write_text(TOKEN)
    os.utime(path, (1e9, 1e9))
    tokens = Tokens(str(path))
    assert tokens.fits(TOKEN.encode())
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        path.write_text(TOKEN[::-1])
        os.utime(path, (1e9, 1e9))
    assert not tokens.fits(TOKEN.encode())


@pytest.mark.parametrize(("mode", "seen"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_noticed(tmp_path, mode, seen):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(mode)
    assert Tokens(str(tmp_path / "token")).seen_by_others is seen


def test_a_token_from_a_pipe_stays_known():
    reading, writing = os.pipe()
    os.write(writing, TOKEN.encode())
    os.close(writing)
    tokens = Tokens(f"/dev/fd/{reading}")
    os.close(reading)
    reading, writing = os.pipe()  # whatever has this number now
    os.close(writing)
    assert tokens.fits(TOKEN.encode())
    os.close(reading)


def test_a_token_that_cannot_be_written_leaves_no_empty_file(tmp_path, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.tokens.secrets.token_urlsafe", full)
    with pytest.raises(SettingError, match="no token can be kept there: it is full"):
        make_token(str(tmp_path / "token"))
    assert not (tmp_path / "token").exists()


def full(_):
    raise OSError(errno.ENOSPC, "it is full")


@pytest.mark.parametrize("folder", ["/proc/nothing", "/dev/null/x"])
def test_where_no_token_can_be_kept_is_said(folder):
    with pytest.raises(SettingError, match=f"{folder}/token: no token can be kept there"):
        make_token(f"{folder}/token")


def test_a_token_that_was_replaced_within_the_grain_of_the_clock_is_none(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    status = os.stat(path)
    tokens = Tokens(str(path))
    path.write_text(TOKEN[::-1])
    monkeypatch.setattr("stepaudio_cas.web.tokens.os", SimpleNamespace(stat=lambda _: status))
    assert not tokens.fits(TOKEN.encode())
