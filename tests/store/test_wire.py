"""One connection, byte by byte: what is sent, what is read, and when it can be used again."""

import socket
from http.client import HTTPException
from types import SimpleNamespace

import pytest

from stepaudio_cas.errors import Damaged
from stepaudio_cas.store.wire import Wire

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def far_end():
    """The server's end of a connection."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    with ours, theirs:
        yield SimpleNamespace(wire=Wire(SimpleNamespace(sock=ours)), socket=theirs)


def told(far_end, answer, method="GET", limit=1000, *, last=False, **options):
    """Return what is made of an answer that is there already; `last` ends the connection."""
    far_end.socket.sendall(answer)
    if last:
        far_end.socket.shutdown(socket.SHUT_WR)
    headers, body = options.get("headers", {}), options.get("body", b"")
    return far_end.wire.exchange(method, options.get("target", "/x"), headers, body, limit)


def test_a_request_goes_out_in_one_piece(far_end):
    told(far_end, OK + b"content-length: 0\r\n\r\n", "PUT", headers={"a": "b"}, body=b"content")
    assert far_end.socket.recv(1000) == (
        b"PUT /x HTTP/1.1\r\na: b\r\naccept-encoding: identity\r\ncontent-length: 7\r\n\r\ncontent"
    )


def test_an_empty_document_has_a_length_too(far_end):
    told(far_end, OK + b"content-length: 0\r\n\r\n", "PUT")
    assert b"content-length: 0\r\n" in far_end.socket.recv(1000)


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nx: y", "a\0"])
def test_a_header_cannot_become_two(far_end, value):
    with pytest.raises(ValueError, match="line break"):
        told(far_end, b"", headers={"a": value})


@pytest.mark.parametrize("target", ["/x HTTP/1.1\r\na: b", "/a b", "/ä"])
def test_a_target_cannot_become_a_header(far_end, target):
    with pytest.raises(ValueError, match="cannot be asked for"):
        told(far_end, b"", target=target)


def test_names_of_headers_are_in_lower_case(far_end):
    reply = told(far_end, OK + b"ETag:  a:b \r\nContent-Length: 3\r\n\r\nabc")
    assert reply == (200, {"etag": "a:b", "content-length": "3"}, b"abc")
    assert far_end.wire.reusable


def test_what_comes_before_the_answer_is_skipped(far_end):
    before = b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
    assert told(far_end, before + OK + b"content-length: 1\r\n\r\na").body == b"a"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", OK + b"content-length: 9\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_is_not_waited_for(far_end, method, answer):
    assert told(far_end, answer, method).body == b""
    assert far_end.wire.reusable


def test_pieces_are_put_together_and_the_connection_goes_on(far_end):
    pieces = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\ntrailer: x\r\n\r\n"
    chunked = OK + b"transfer-encoding: Chunked\r\n\r\n"
    assert told(far_end, chunked + pieces).body == b"abcde"
    assert far_end.wire.reusable
    assert told(far_end, OK + b"content-length: 1\r\n\r\nx").body == b"x"


def test_an_answer_that_lasts_to_the_end_is_the_last_one(far_end):
    assert told(far_end, OK + b"\r\nabc", last=True).body == b"abc"
    assert not far_end.wire.reusable


@pytest.mark.parametrize("first", [b"HTTP/1.0 200 OK\r\n", OK + b"connection: Close\r\n"])
def test_who_hangs_up_afterwards_is_not_asked_again(far_end, first):
    assert told(far_end, first + b"content-length: 1\r\n\r\na").body == b"a"
    assert not far_end.wire.reusable


@pytest.mark.parametrize(
    "answer",
    [
        b"content-length: 11\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\nb\r\n" + b"x" * 11 + b"\r\n",
        b"transfer-encoding: chunked\r\n\r\n" + b"6\r\nabcdef\r\n" * 2,
        b"\r\n" + b"x" * 11,
    ],
    ids=["told", "one piece", "pieces", "to the end"],
)
def test_more_than_the_limit_is_damage_however_it_comes(far_end, answer):
    with pytest.raises(Damaged):
        told(far_end, OK + answer, limit=10, last=True)
    assert not far_end.wire.reusable


def test_of_a_long_explanation_the_beginning_is_read(far_end):
    far_end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    answer = b"HTTP/1.1 500 Sorry\r\ncontent-length: 1000000000000\r\n\r\n" + b"x" * (1 << 17)
    assert told(far_end, answer, limit=10).body == b"x" * (1 << 16)
    assert not far_end.wire.reusable


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 9\r\n\r\nabc",
        OK + b"transfer-encoding: chunked\r\n\r\n9\r\nabc",
        OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n-3\r\nabc\r\n",
        OK + b"content-length: 9, 9\r\n\r\nabc",
        OK + b"content-length: -9\r\n\r\nabc",
        OK + b"content-length: 9\r\n",
        OK + b"x" * 100_000,
        OK + b"a: b\r\n" * 1000 + b"\r\n",
        OK + b"a: " + b"b: " * 30_000 + b"\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_half_an_answer_is_none(far_end, answer):
    with pytest.raises((ConnectionError, HTTPException)):
        told(far_end, answer, last=True)
    assert not far_end.wire.reusable


def test_a_piece_that_is_cut_at_the_limit_is_no_whole_document(far_end):
    with pytest.raises(ConnectionError):
        told(far_end, OK + b"transfer-encoding: chunked\r\n\r\n9\r\nab", limit=2, last=True)


def test_who_hangs_up_without_an_answer_is_told_from_who_talks_nonsense(far_end):
    with pytest.raises(ConnectionResetError):
        told(far_end, b"", last=True)
