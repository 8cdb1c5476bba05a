"""Where a server listens, and where it says that it can be reached."""

import http.client
import socket

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.web.server import bind, url_of

V1 = "/api/v1"
IPV6 = pytest.mark.skipif(
    not socket.has_ipv6 or not hasattr(socket, "IPPROTO_IPV6"), reason="there is no IPv6 here"
)


def status(address, port, **headers):
    line = http.client.HTTPConnection(address, port, timeout=60)
    line.request("GET", f"{V1}/stats", headers=headers)
    try:
        return line.getresponse().status
    finally:
        line.close()


@IPV6
@pytest.mark.parametrize(
    ("at", "asked"), [("[::1]:0", "::1"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.1")]
)
def test_this_machine_is_this_machine_by_either_protocol(serve, at, asked):
    api = serve(address=at)
    assert status(asked, api.port) == 200
    assert status(asked, api.port, Host="evil.example") == 421
    assert status(asked, api.port, Forwarded="for=192.0.2.7") == 401


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"),
        pytest.param("[::1]:0", "[::1]", marks=IPV6), pytest.param("[::]:0", "[::1]", marks=IPV6),
    ],
)  # fmt: skip
def test_an_address_is_said_that_can_be_opened_here(at, said):
    with bind(at) as listening:
        assert url_of(listening) == f"http://{said}:{listening.getsockname()[1]}/"


@pytest.mark.parametrize("host", ["..", "a" * 70 + ".example", "no host"])
def test_what_is_no_host_is_said(store, tmp_path, host, capsys):
    words = ["--store", str(store), "serve", "--host", host, "--port", "0"]
    assert main([*words, "--token-file", str(tmp_path / "token")]) == 1
    assert f"{host}:0 cannot be had: " in capsys.readouterr().err
