"""What connections cost a host: a bounded number of files, and no word on its stderr."""

import logging
import os
import resource
import socket

import pytest

from stepaudio_cas.settings import Settings
from stepaudio_cas.web import protocol
from stepaudio_cas.web.service import Service
from tests.support.processes import wait_until
from tests.web.serving import Served, Standalone

V1 = "/api/v1"


def connect(client):
    return socket.create_connection(("127.0.0.1", client.port), timeout=60)


def is_closed(line):
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture
def few(monkeypatch):
    """Only sixteen connections may be open in a host."""
    limits = (128, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)


def test_a_host_keeps_most_of_its_file_numbers(few):
    assert protocol.most_connections(inside=True) == 16
    assert protocol.most_connections(inside=False) == 64


def test_connections_beyond_a_bound_are_closed_and_the_others_are_served(
    few, open_cache, token_file, tmp_path
):
    with Served(open_cache(), token_file, tmp_path) as host:
        before = len(os.listdir("/proc/self/fd"))
        silent = [connect(host) for _ in range(60)]
        try:
            assert all(is_closed(line) for line in silent[16:])
            assert len(os.listdir("/proc/self/fd")) <= before + 60 + 16
        finally:
            for line in silent:
                line.close()
        wait_until(lambda: len(host.inside._server._server.server_state.connections) == 0)
        assert host.get(f"{V1}/health").status == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
def test_who_sends_no_request_is_not_waited_for(monkeypatch, store, token_file, tmp_path, sent):
    monkeypatch.setattr(protocol, "PATIENCE", 0.2)
    api = Standalone(Settings(stores=(str(store),)), token_file, tmp_path)
    try:
        with connect(api) as line:
            line.sendall(sent)
            assert is_closed(line)
    finally:
        api.close()


def test_the_next_head_is_not_waited_for_either(monkeypatch, store, token_file, tmp_path):
    monkeypatch.setattr(protocol, "PATIENCE", 0.2)
    api = Standalone(Settings(stores=(str(store),)), token_file, tmp_path)
    try:
        with connect(api) as line:
            line.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert line.recv(1 << 16).startswith(b"HTTP/1.1 404")
            line.sendall(b"GET / HT")
            while not is_closed(line):
                pass
    finally:
        api.close()


def test_what_is_no_http_is_no_line_in_a_log(still, caplog, capfd):
    with caplog.at_level(logging.DEBUG), connect(still) as line:
        line.sendall(b"x\r\n\r\n")
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 400")
    assert "Invalid HTTP" not in caplog.text + capfd.readouterr().err


def test_whatever_is_asked_for_waits_for_its_turn(monkeypatch, serve):
    turns = []

    async def turn(_):
        turns.append(1)

    monkeypatch.setattr(Service, "turn", turn)
    api = serve()
    for path in ("/", "/static/app.js", "/nothing", f"{V1}/stats", f"{V1}/clear"):
        api.get(path, {"Authorization": "Bearer wrong"})
        assert turns == [1], path
        turns.clear()


def test_a_body_that_is_refused_is_not_read(still):
    with connect(still) as line:
        line.sendall(
            f"POST {V1}/clear HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n".encode()
        )
        said = b""
        while chunk := line.recv(1 << 16):
            said += chunk
    assert said.startswith(b"HTTP/1.1 401")
    assert b"\r\nconnection: close\r\n" in said


def test_what_is_no_http_waits_as_long_as_is_owed(api, monkeypatch):
    asked = []
    monkeypatch.setattr(protocol, "PATIENCE", 1.0)
    monkeypatch.setattr(api.server._server.config.http, "owed", lambda _: asked.append(1) or 99.0)
    with connect(api) as line:
        line.sendall(b"x\r\n\r\n")
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 400")
    assert asked == [1]
