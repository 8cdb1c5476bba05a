"""Connections that are kept, answers that are bounded, failures that have a name."""

import socket
import threading

import pytest

from stepaudio_cas.errors import Damaged, Unavailable
from stepaudio_cas.store import http as module
from stepaudio_cas.store.http import Client
from tests.support.processes import in_child, in_threads


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def client(scripted):
    made = Client(scripted.url)
    yield made
    made.close()


def kind(client, **options):
    with pytest.raises(Unavailable) as error:
        client.request("GET", "/x", {}, **options)
    assert "\n" not in str(error.value)
    return error.value.kind


def test_one_connection_is_used_again_and_again(client, scripted):
    ports = []
    scripted.answers = [lambda asked: (200, {}, b"content")]
    for _ in range(5):
        assert client.request("GET", "/x", {}).body == b"content"
        ports.append(client._idle[0][1].sock.getsockname()[1])
    assert len(set(ports)) == 1


def test_a_connection_that_was_closed_meanwhile_is_made_again_and_that_is_told(client, scripted):
    assert client.request("PUT", "/x", {}, b"1").repeated is False
    client._idle[0][1].sock.shutdown(socket.SHUT_RDWR)
    answer = client.request("PUT", "/x", {}, b"2")
    assert (answer.status, answer.repeated) == (200, True)
    assert [asked.body for asked in scripted.asked] == [b"1", b"2"]


def test_a_server_that_hangs_up_on_a_new_connection_is_not_asked_again(client, scripted):
    scripted.answers = [None]
    assert kind(client) == "down"
    assert len(scripted.asked) == 1


def test_connections_that_waited_for_long_are_not_used(client, scripted, monkeypatch):
    client.request("GET", "/x", {})
    old = client._idle[0][1]
    monkeypatch.setattr(module, "_IDLE_SECONDS", -1.0)
    assert client.request("GET", "/x", {}).repeated is False
    assert old.sock is None


def test_a_document_above_the_limit_is_not_read(client, scripted):
    sent = threading.Event()

    def endless(asked):
        sent.set()
        return 200, {"content-length": str(1 << 40)}, b"begin"

    scripted.answers = [endless]
    with pytest.raises(Damaged) as damage:
        client.request("GET", "/x", {}, limit=1000)
    assert damage.value.kind == "too-large"
    assert sent.is_set()
    assert not client._idle


def test_a_document_without_a_length_is_read_to_the_limit(client, scripted):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (2000, b"x" * 2000)
    chunked = {"transfer-encoding": "chunked", "content-length": ""}
    scripted.answers = [(200, chunked, body)]
    with pytest.raises(Damaged):
        client.request("GET", "/x", {}, limit=1999)
    assert client.request("GET", "/x", {}, limit=2000).body == b"x" * 2000


def test_a_cut_document_is_no_document(client, scripted):
    scripted.answers = [(200, {"content-length": "100", "connection": "close"}, b"short")]
    assert kind(client) == "down"


def test_many_threads_ask_at_once(client, scripted):
    scripted.answers = [lambda asked: (200, {}, asked.target.encode())]

    def work(number):
        for turn in range(20):
            target = f"/{number}/{turn}"
            assert client.request("GET", target, {}).body == target.encode()

    in_threads(8, work)
    assert 1 <= len(client._idle) <= 8


def test_a_forked_child_has_connections_of_its_own(client, scripted):
    scripted.answers = [lambda asked: (200, {}, asked.target.encode())]
    client.request("GET", "/parent", {})

    def child():
        return len(client._idle), client.request("GET", "/child", {}).body.decode()

    assert in_child(child) == [0, "/child"]
    assert client.request("GET", "/again", {}).repeated is False


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert kind(Client(f"http://127.0.0.1:{unused.getsockname()[1]}")) == "down"


def test_a_name_that_is_not_known(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert kind(Client("http://nowhere.invalid")) == "dns"


def test_a_server_without_tls_is_not_spoken_to_in_secret(scripted):
    assert kind(Client(scripted.url.replace("http:", "https:"))) == "tls"


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert kind(Client(f"http://127.0.0.1:{silent.getsockname()[1]}")) == "timeout"


@pytest.mark.parametrize("base", ["host:9000", "ftp://host", "http://", "http://host:port", "x"])
def test_what_is_no_address_is_said(base):
    with pytest.raises(ValueError, match="is no address of a server"):
        Client(base)


def test_a_proxy_of_the_environment_is_used_and_its_exceptions_are_kept(scripted, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:pass%21@{scripted.authority}")
    monkeypatch.setenv("no_proxy", "near.invalid")
    assert Client("http://near.invalid")._proxy == ""
    assert Client("http://far.invalid:81").request("GET", "/x", {}).status == 200
    assert scripted.asked[0].target == "http://far.invalid:81/x"
    assert scripted.asked[0].headers["host"] == "far.invalid:81"
    assert scripted.asked[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNzIQ=="


def test_https_goes_through_a_tunnel_of_the_proxy(scripted, monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://user:pass%21@{scripted.authority}")
    scripted.answers = [(502, {}, b"")]
    assert kind(Client("https://far.invalid")) == "down"
    [asked] = scripted.asked
    assert (asked.method, asked.target) == ("CONNECT", "far.invalid:443")
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjpwYXNzIQ=="
