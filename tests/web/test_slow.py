"""Who is slow: bodies that trickle, answers that nobody reads, stores that hang."""

import asyncio
import os
import socket
import threading
from types import SimpleNamespace

import pytest

from stepaudio_cas.settings import Settings
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import open_backend
from stepaudio_cas.web import protocol
from stepaudio_cas.web.server import Server, _InTurn, bind
from stepaudio_cas.web.service import Service
from stepaudio_cas.web.source import Source
from stepaudio_cas.web.tokens import Tokens
from tests.support.faulty import FaultyBackend
from tests.support.processes import wait_until
from tests.web.serving import TOKEN, Client, Served
from tests.web.test_writing import watch

V1 = "/api/v1"


def connect(client, *, room=None):
    line = socket.socket()
    line.settimeout(60)
    if room is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    line.connect(("127.0.0.1", client.port))
    return line


def head(method, path, *more):
    lines = (f"{method} {path} HTTP/1.1", "Host: localhost", *more)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def everything(line):
    said = b""
    while chunk := line.recv(1 << 16):
        said += chunk
    return said


def is_ended(line):
    try:
        return everything(line) is not None
    except ConnectionError:
        return True


def open_connections(api):
    return len(api.server._server.server_state.connections)


class Transport(SimpleNamespace):
    def abort(self):
        self.aborted = True


BODY = (f"Authorization: Bearer {TOKEN}", "Content-Length: 1000")


@pytest.mark.parametrize("path", [f"{V1}/rm", f"{V1}/gc", f"{V1}/prewarm/upload?name=a.wav"])
def test_a_body_that_does_not_come_is_not_waited_for(api, monkeypatch, path):
    monkeypatch.setattr("stepaudio_cas.web.guard.GRACE", 0.2)
    os.makedirs(api.spool.folder)
    watch(api, api.spool.folder)
    with connect(api) as line:
        line.sendall(head("POST", path, *BODY) + b"{")
        said = everything(line)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"send it faster" in said
    assert os.listdir(api.spool.folder) == []


def test_a_body_has_more_time_the_more_of_it_has_come(api, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.guard.GRACE", 0.2)
    monkeypatch.setattr("stepaudio_cas.web.guard.SLOWEST", 1 / 60)
    with connect(api) as line:
        line.sendall(head("POST", f"{V1}/clear", BODY[0], "Content-Length: 2") + b"{")
        line.settimeout(0.5)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(60)
        line.sendall(b"}")
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("number", [8, 100])
def test_answers_that_are_not_read_hold_no_connection(api, monkeypatch, number):
    monkeypatch.setattr(protocol, "PATIENCE", 0.2)
    api.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with connect(api, room=4096) as stuck:
        stuck.sendall(head("GET", "/static/app.js") * number)
        wait_until(lambda: open_connections(api) == 1)
        wait_until(lambda: open_connections(api) == 0)
    assert api.get("/").status == 200


@pytest.mark.parametrize(
    ("left", "ended"), [(100_000 - protocol.LEAST, False), (100_001 - protocol.LEAST, True)]
)
def test_a_client_that_takes_enough_of_an_answer_has_more_time(left, ended):
    calls = []
    line = object.__new__(protocol.Bounded)
    line.flow = SimpleNamespace(pause_writing=lambda: None, resume_writing=lambda: None)
    line.loop = SimpleNamespace(call_later=lambda _, *call: calls.append(call) or timer)
    timer = SimpleNamespace(cancel=calls.clear)
    sizes = iter((100_000, left, left))
    line.transport = Transport(aborted=False, get_write_buffer_size=lambda: next(sizes))
    line._unread = None
    line.pause_writing()
    look, *words = calls.pop()
    look(*words)
    assert (line.transport.aborted, len(calls)) == (ended, 1 - ended)
    line.resume_writing()
    assert calls == []


def test_what_is_no_request_ends_an_answer_that_goes_on(api, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.feed.BEAT", 3600.0)
    with connect(api) as line:
        line.sendall(head("GET", f"{V1}/events", "Transfer-Encoding: chunked"))
        said = b""
        while b"retry: 2000" not in said:
            said += line.recv(1 << 16)
        line.sendall(b"no length\r\n")
        assert is_ended(line)
    wait_until(lambda: open_connections(api) == 0)
    wait_until(lambda: api.service.feed.clients == 0)


def test_who_listens_and_sends_is_let_go(api):
    with connect(api) as line:
        line.sendall(head("GET", f"{V1}/events", "Transfer-Encoding: chunked"))
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        line.sendall(b"1\r\nx\r\n")
        assert is_ended(line)


def test_no_more_requests_wait_than_there_may_be_connections():
    done = []

    async def requests():
        go = asyncio.Event()

        async def app(scope, receive, send):
            done.append(1)

        in_turn = _InTurn(app, go.wait, 2)

        def request(*, gone=False):
            cycle = SimpleNamespace(transport=Transport(aborted=False), disconnected=gone)
            sends = type("Sends", (SimpleNamespace,), {"send": lambda *_: None})
            send = sends(**vars(cycle)).send
            return send, asyncio.ensure_future(in_turn({}, None, send))

        waiting = [request(), request(gone=True)]
        await asyncio.sleep(0)
        too_many, task = request()
        await asyncio.wait_for(task, 60)
        assert too_many.__self__.transport.aborted
        go.set()
        await asyncio.gather(*(task for _, task in waiting))
        return [send.__self__.transport.aborted for send, _ in waiting]

    assert asyncio.run(requests()) == [False, True]
    assert done == [1]  # nobody works for who has gone


def test_a_server_that_ends_cuts_off_who_waits_and_says_nothing(
    monkeypatch, open_cache, token_file, tmp_path, caplog, capfd
):
    monkeypatch.setattr("stepaudio_cas.web.server._LAST", 0)
    with Served(open_cache(), token_file, tmp_path) as host, connect(host) as line:
        line.sendall(head("POST", f"{V1}/clear", *BODY) + b"{")
        wait_until(lambda: len(host.inside._server._server.server_state.tasks) == 1)
        host.inside.stop()
        assert not host.inside._thread.is_alive()
        assert is_ended(line)
    assert caplog.messages == []
    assert "graceful" not in capfd.readouterr().err


def test_health_is_told_while_everybody_else_is_waited_for(api, monkeypatch):
    go = threading.Event()

    def page(*_):
        go.wait(60)
        return {"entries": []}

    monkeypatch.setattr("stepaudio_cas.web.entries.page", page)
    asking = [threading.Thread(target=api.get, args=(f"{V1}/entries",)) for _ in range(3)]
    for one in asking:
        one.start()
    wait_until(lambda: api.service.work._pending == 3)
    assert api.get(f"{V1}/health").status == 200
    go.set()
    for one in asking:
        one.join(60)


class Hanging(Client):
    """A server of a disk and of a store that hangs when it is told to."""

    def __init__(self, store, folder):
        self.far = FaultyBackend()
        stores = [Store(open_backend(str(store))), Store(self.far)]
        source = Source(stores, Settings(stores=("there",)), states=str(folder / "states"))
        self.service = Service(source, Tokens(None))
        self._listening = bind("127.0.0.1:0")
        self.port = self._listening.getsockname()[1]
        self._server = Server(self.service, self._listening)

    def run(self):
        self._server.run()

    def stop(self):
        self.far.mend()
        self._server.stop()

    def close(self):
        self._listening.close()


@pytest.fixture
def hanging(store, tmp_path, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.figures.FAR", 0.0)
    monkeypatch.setattr("stepaudio_cas.web.figures._PER_SECOND", 0.0)
    monkeypatch.setattr("stepaudio_cas.web.figures.SOON", 0.5)
    api = Hanging(store, tmp_path)
    thread = threading.Thread(target=api.run, daemon=True)
    thread.start()
    yield api
    api.stop()
    thread.join(60)
    api.close()
    assert not thread.is_alive()


def up(api):
    text = api.get("/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith("stepaudio_cas_store_up{")]
    return {line.split('tier="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}, text


def test_of_a_store_that_hangs_prometheus_is_told_so_and_what_was_known(hanging):
    wait_until(lambda: up(hanging)[0] == {"disk": 1.0, "faulty": 1.0})
    for verb in ("list", "get", "stat"):
        hanging.far.hang(verb)
    wait_until(lambda: up(hanging)[0] == {"disk": 1.0, "faulty": 0.0})
    assert "stepaudio_cas_store_misses_total" in up(hanging)[1]
    hanging.far.mend()
    wait_until(lambda: up(hanging)[0] == {"disk": 1.0, "faulty": 1.0})


def test_prometheus_is_told_however_long_it_hangs(hanging, monkeypatch):
    wait_until(lambda: up(hanging)[0] == {"disk": 1.0, "faulty": 1.0})
    monkeypatch.setattr("stepaudio_cas.web.figures.PATIENCE", 0.05)
    for verb in ("list", "get", "stat"):
        hanging.far.hang(verb)
    wait_until(lambda: up(hanging) and hanging.service.counting._pending == 3)
    assert up(hanging)[0] == {"disk": 1.0, "faulty": 0.0}  # and no more is waited for


def test_a_store_that_hung_from_the_beginning_is_down_and_not_counted(hanging):
    for verb in ("list", "get", "stat"):
        hanging.far.hang(verb)
    states, text = up(hanging)
    assert states["faulty"] == 0.0
    assert "stepaudio_cas_store_misses_total{" not in text


def test_who_asks_for_figures_of_a_store_that_hangs_keeps_no_listing_waiting(hanging):
    for verb in ("list", "get", "stat"):
        hanging.far.hang(verb)
    for _ in range(5):
        up(hanging)
    assert len(hanging.get(f"{V1}/entries").json["entries"]) == 4
