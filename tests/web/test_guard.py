"""Who may ask for what: tokens, other machines, pages of strangers, false names, large bodies."""

import http.client
import os
import socket
import threading

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.errors import SettingError
from stepaudio_cas.web.tokens import Tokens, make_token
from tests.web.serving import BEARER, TOKEN, Standalone

V1 = "/api/v1"
WRITES = [
    ("POST", f"{V1}/rm"), ("POST", f"{V1}/clear"), ("POST", "/api/cache/clear"),
    ("POST", f"{V1}/gc"), ("POST", f"{V1}/gc/{'0' * 32}/run"), ("POST", f"{V1}/prewarm"),
    ("POST", "/api/cache/warmup"), ("POST", f"{V1}/prewarm/upload?name=a.wav"),
    ("DELETE", f"{V1}/prewarm/upload/{'0' * 32}"),
]  # fmt: skip
READS = [f"{V1}/stats", f"{V1}/entries", f"{V1}/misses", f"{V1}/health", "/metrics"]

PROXIES = [
    "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "CF-Connecting-IP",
    "True-Client-IP", "Via",
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_every_change_needs_the_token(still, method, path):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = still.ask(method, path, "{}", headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json["remedy"]
        assert TOKEN.encode() not in answer.body


def test_no_route_that_changes_something_has_been_forgotten(still):
    document = still.get(f"{V1}/openapi.json").json
    described = {
        (method.upper(), path.replace("{plan}", "0" * 32).replace("{voice}", "0" * 32))
        for path, methods in document["paths"].items()
        for method in methods
        if method != "get"
    }
    assert described <= {(method, path.partition("?")[0]) for method, path in WRITES}


@pytest.mark.parametrize("path", READS)
def test_reading_is_open_on_this_machine_and_to_nobody_behind_a_proxy(still, path):
    assert still.get(path).status == 200
    for name in PROXIES:
        assert still.get(path, {name: "for=10.0.0.1"}).status == 401
        assert still.get(path, {name: "for=10.0.0.1", **BEARER}).status == 200


def test_the_page_is_for_everybody_and_is_then_given_the_token(still):
    for headers in ({"X-Forwarded-For": "192.0.2.7"}, {"Host": "voices.example"}, BEARER):
        assert still.get("/", headers).status == still.get("/static/app.js", headers).status == 200
    assert still.get("/static/app.js", {"Sec-Fetch-Site": "cross-site"}).status == 403


def test_an_address_of_another_machine_needs_the_token(serve):
    here = serve(address="0.0.0.0:0")
    other = socket.gethostbyname(socket.gethostname())
    if other.startswith("127."):
        other = "127.0.0.2"  # a loopback address all the same: open
    line = http.client.HTTPConnection(other, here.port, timeout=30)
    line.request("GET", f"{V1}/stats")
    status = line.getresponse().status
    line.close()
    assert status == (200 if other == "127.0.0.2" else 401)


NAMES = [
    "evil.example", "127.0.0.1.evil.example", "localhost.evil", "", "[::1", "[evil]", "\xff\xfe[",
    "a\xbd\xb5b\xaa", "evil@localhost", "localhost@evil",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_was_made_to_mean_this_machine_is_refused(still, name):
    answer = still.get(f"{V1}/stats", {"Host": name})
    assert answer.status == 421
    assert still.get(f"{V1}/stats", {"Host": name or "x", **BEARER}).status == 200


@pytest.mark.parametrize("name", ["localhost:1", "127.0.0.1", "[::1]:8765", "cas.localhost"])
def test_names_of_this_machine_are_not(still, name):
    assert still.get(f"{V1}/stats", {"Host": name}).status == 200


STRANGERS = [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
]  # fmt: skip


def test_our_own_page_may_ask_through_a_proxy_that_changes_the_name(still):
    asked = {"Origin": "https://cas.example", "X-Forwarded-For": "192.0.2.7", **BEARER}
    page = {**asked, "Sec-Fetch-Site": "same-origin"}
    assert still.post(f"{V1}/clear", headers=page).status == 200
    assert still.post(f"{V1}/clear", headers=asked).status == 403
    none = {**asked, "Sec-Fetch-Site": "none"}
    assert still.post(f"{V1}/clear", headers=none).status == 403


def test_a_false_name_is_not_told_where_the_token_is(still):
    answer = still.post(f"{V1}/clear", headers={"Host": "evil.example"})
    assert (answer.status, b"token on the server" in answer.body) == (421, False)


def test_where_the_token_is_is_told_on_this_machine_only(still):
    where = still.service.tokens.path
    assert where in still.post(f"{V1}/clear", headers={}).json["remedy"]
    answer = still.post(f"{V1}/clear", headers={"X-Forwarded-For": "192.0.2.7"})
    assert (answer.status, "Bearer" in answer.json["remedy"]) == (401, True)
    assert where.encode() not in answer.body


@pytest.mark.parametrize("headers", STRANGERS)
def test_what_a_page_of_somebody_else_sends_is_refused_even_with_the_token(still, headers):
    assert still.post(f"{V1}/clear", headers={**BEARER, **headers}).status == 403
    assert still.get(f"{V1}/stats", headers).status == 403


def test_our_own_page_is_no_stranger(still):
    own = {"Origin": f"http://127.0.0.1:{still.port}", "Sec-Fetch-Site": "same-origin"}
    assert still.post(f"{V1}/clear", headers={**BEARER, **own}).status == 200
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert still.get("/", visit).status == 200
    assert still.post(f"{V1}/clear", headers={**BEARER, **visit}).status == 403


def test_a_browser_gets_no_leave_to_ask_from_elsewhere(still):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = still.ask("OPTIONS", f"{V1}/clear", headers=asked)
    assert answer.status in {403, 405}
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_without_a_token_nothing_can_be_changed_and_the_remedy_is_said(serve, store, tmp_path):
    settings = serve().source.settings
    server = Standalone(settings, None, tmp_path)
    try:
        answer = server.post(f"{V1}/clear")
        assert (answer.status, "--token-file" in answer.json["remedy"]) == (401, False)
        answer = server.post(f"{V1}/clear", headers={})
        assert (answer.status, "--token-file" in answer.json["remedy"]) == (401, True)
    finally:
        server.close()


@pytest.mark.parametrize("path", [f"{V1}/rm", f"{V1}/clear", f"{V1}/gc"])
def test_a_body_that_says_it_is_too_large_is_not_read(still, path):
    answer = still.ask("POST", path, b" " * 100_000, BEARER)
    assert (answer.status, "65536" in answer.json["error"]) == (413, True)


def test_a_body_that_does_not_say_so_is_cut_off(still):
    line = http.client.HTTPConnection("127.0.0.1", still.port, timeout=30)
    line.putrequest("POST", f"{V1}/clear")
    for name, value in {**BEARER, "Transfer-Encoding": "chunked"}.items():
        line.putheader(name, value)
    line.endheaders()
    for _ in range(17):  # and never the last one
        line.send(b"1000\r\n" + b" " * 4096 + b"\r\n")
    assert line.getresponse().status == 413
    line.close()


def test_what_is_no_json_is_refused(still):
    for body in (b"{", b"[]", b'"x"', b"\xff", b'{"surprise": 1}', b'{"dry_run": "perhaps"}'):
        sent = {"Content-Type": "application/json", **BEARER}
        answer = still.ask("POST", f"{V1}/clear", body, sent)
        assert answer.status in {400, 422}, body
        assert answer.json["remedy"]


@pytest.mark.parametrize("path", [f"{V1}/rm", f"{V1}/clear", f"{V1}/prewarm", f"{V1}/gc"])
def test_text_that_nobody_can_write_is_refused_in_words_that_anybody_can(still, path):
    for body in (b'{"keys": ["\\ud800"]}', b'{"\\ud800": 1}', b'{"voice": "\\ud800"}'):
        answer = still.ask("POST", path, body, BEARER)
        assert answer.status in {400, 422}, body
        assert answer.json["remedy"]


def test_tokens_are_replaced_without_a_restart(api, token_file):
    token_file.write_text(f"# both\n{TOKEN}\nanother-token-as-long\n")
    other = {"Authorization": "Bearer another-token-as-long"}
    assert api.post(f"{V1}/clear").status == 200
    assert api.post(f"{V1}/clear", headers=other).status == 200
    token_file.write_text("another-token-as-long\n")
    assert api.post(f"{V1}/clear").status == 401
    token_file.unlink()
    assert api.post(f"{V1}/clear", headers=other).status == 401


def test_a_token_is_made_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "state" / "token"
    assert make_token(str(path))
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(text.strip()) >= 32
    assert not make_token(str(path))
    assert path.read_text() == text
    assert Tokens(str(path)).fits(text.strip().encode())
    assert not Tokens(str(path)).seen_by_others


@pytest.mark.parametrize("text", ["", "short\n", "# only a remark that is long\n"])
def test_a_file_without_a_token_is_said(tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(SettingError, match="has no token"):
        Tokens(str(path)).check()


def test_in_mode_ro_nothing_is_changed_even_with_the_token(serve):
    from stepaudio_cas.settings import Mode

    api = serve(settings={"mode": Mode.RO})
    assert api.post(f"{V1}/clear").json["dry_run"]
    assert api.post(f"{V1}/clear", {"dry_run": False}).status == 403
    assert api.upload("a.wav", b"x").status == 409
    assert api.get(f"{V1}/stats").json["can"] == {
        "write": False, "why_not": "the mode is ro: nothing is changed here",
    }  # fmt: skip


def test_connections_that_send_nothing_keep_nobody_from_being_served(api):
    idle = [socket.create_connection(("127.0.0.1", api.port)) for _ in range(50)]
    for number, line in enumerate(idle):
        line.sendall(b"POST /api/v1/clear HTTP/1.1\r\nHost: localhost\r\nContent-"[: number % 60])
    assert api.get(f"{V1}/stats").status == 200
    for line in idle:
        line.close()


def test_sixty_four_clients_at_once_are_all_answered(api):
    answers = []

    def ask():
        answers.extend(
            api.get(path).status for path in (f"{V1}/stats", f"{V1}/entries", "/metrics")
        )

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(answers) <= {200, 503}
    assert answers.count(200) >= 128


def test_an_address_that_cannot_be_had_is_said_with_what_helps(store, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["--store", str(store), "serve", "--port", port]
        assert main([*words, "--token-file", str(tmp_path / "token")]) == 1
    assert "--port 0" in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "token")


@pytest.mark.parametrize("path", ["/", f"{V1}/health"])
def test_who_looks_only_whether_somebody_is_there_is_answered(still, path):
    answer = still.ask("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")


def test_nobody_is_sent_elsewhere(still):
    answer = still.get(f"{V1}/stats/", {"Host": "evil.example"})
    assert (answer.status, "location" in answer.headers) == (404, False)
