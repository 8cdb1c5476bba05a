"""What connections cost a host: a bounded number of files, and no word on its stderr."""

import asyncio
import errno
import logging
import os
import resource
import socket

import pytest
import uvicorn

from stepaudio_cas.settings import Settings
from stepaudio_cas.web import protocol
from stepaudio_cas.web.server import _Quiet, bind
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
    few, open_cache, token_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(protocol, "PATIENCE", 3600.0)  # nobody is closed for being silent
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


def test_the_log_of_a_host_that_is_served_by_uvicorn_too_stays_its_own(serve, caplog):
    access = logging.getLogger("uvicorn.access")
    before = access.propagate, list(access.handlers)
    heard = logging.NullHandler()
    access.addHandler(heard)
    access.propagate = True
    try:
        with caplog.at_level(logging.DEBUG):
            assert serve().get(f"{V1}/health").status == 200
        assert (access.propagate, access.handlers[-1]) == (True, heard)
        assert not [one for one in caplog.records if one.name.startswith("uvicorn")]
    finally:
        access.propagate, access.handlers = before


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


def test_nobody_is_let_in_while_the_server_owes_rest(monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.server._LONGEST", 60.0)
    owed, made = iter((0.0, 0.0, 99.0)), []

    async def let_in(listening):
        rests = asyncio.Event()

        async def rest(seconds):
            rests.set()
            await asyncio.Event().wait()

        server = _Quiet(uvicorn.Config(None))
        server.owed = lambda: next(owed)
        server._protocol = lambda: made.append(1) or Ending()
        monkeypatch.setattr("stepaudio_cas.web.server.asyncio", Sleepless(rest))
        task = asyncio.ensure_future(server._let_in(listening))
        await asyncio.wait_for(rests.wait(), 60)
        task.cancel()

    with bind("127.0.0.1:0") as listening:
        port = listening.getsockname()[1]
        lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        asyncio.run(let_in(listening))
        for line in lines:
            line.close()
    assert len(made) == 3


class Ending(asyncio.Protocol):
    def connection_made(self, transport):
        transport.abort()


class Sleepless:
    """`asyncio` with a sleep of ours."""

    def __init__(self, sleep):
        self.sleep = sleep

    def __getattr__(self, name):
        return getattr(asyncio, name)


def test_a_process_without_numbers_for_files_lets_in_who_comes_later(api, monkeypatch):
    refused = []
    accept = socket.socket._accept

    def none_left(line):
        if refused:
            return accept(line)
        refused.append(1)
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(socket.socket, "_accept", none_left)
    assert api.get(f"{V1}/health").status == 200
    assert api.get(f"{V1}/health").status == 200
    assert refused


def test_no_more_is_read_from_who_sends_no_http(api, monkeypatch):
    monkeypatch.setattr(protocol, "PATIENCE", 3600.0)
    monkeypatch.setattr(api.server._server.config.http, "owed", lambda _: 99.0)
    connections = api.server._server.server_state.connections
    with connect(api) as line:
        line.sendall(b"x\r\n\r\n")
        wait_until(lambda: [one.transport.is_reading() for one in connections] == [False])


def test_what_is_no_http_waits_as_long_as_is_owed(api, monkeypatch):
    asked = []
    monkeypatch.setattr(protocol, "PATIENCE", 1.0)
    monkeypatch.setattr(api.server._server.config.http, "owed", lambda _: asked.append(1) or 99.0)
    with connect(api) as line:
        line.sendall(b"x\r\n\r\n")
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 400")
    assert asked == [1]
