"""STEPAUDIO_CAS_HTTP: in the host's own process, and never in its way."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from types import SimpleNamespace

import pytest

import stepaudio_cas as cas
from stepaudio_cas.settings import Settings
from stepaudio_cas.web.inside import Inside
from tests.activation.deployments import Host
from tests.support.processes import in_child, wait_until
from tests.web.serving import BEARER, Served

V1 = "/api/v1"


@pytest.fixture
def call(host):
    return host.cache.cached(version="1", name="host.tokens")(lambda audio: [len(audio)] * 3)


def test_this_process_says_what_it_alone_has_counted(fresh, host, call):
    call(b"anna")
    call(b"anna")
    said = host.get(f"{V1}/stats").json["process"]
    assert (said["pid"], said["hits"], said["misses"]) == (os.getpid(), 1, 1)
    assert said["lookup_seconds"]["count"] == said["encode_seconds"]["count"] == 1
    assert said["lookup_seconds"]["p50"] > 0
    assert [tier["reading"] for tier in said["tiers"]] == ["closed"]
    assert said["memory"]["entries"] == 1


def test_a_miss_is_explained_by_the_entry_that_is_most_like_it(host):
    def tokens(version):
        name = {"version": version, "name": "host.tokens"}
        return host.cache.cached(**name)(lambda audio: [len(audio)])

    tokens("1")(b"anna")
    tokens("2")(b"anna")
    host.cache.bypassed(cas.Bypass("stateful", "a session"), "host.tokens")
    assert host.get(f"{V1}/misses").status == 200
    wait_until(lambda: all(m["explained"] for m in host.get(f"{V1}/misses").json["misses"]))
    said = host.get(f"{V1}/misses").json
    newest = said["misses"][0]["explained"]
    assert "setting version" in newest["text"]
    assert newest["nearest"]["key"] == said["misses"][1]["key"]
    assert said["source"] == "process"
    assert said["bypasses"][0]["reason"] == "stateful"


def test_what_is_removed_is_gone_from_memory_too(host, call):
    call(b"anna")
    (key,) = [entry["key"] for entry in host.get(f"{V1}/entries").json["entries"]]
    assert host.post(f"{V1}/rm", {"keys": [key], "dry_run": False}).json["entries"] == 1
    assert len(host.cache.chain.memory) == 0
    call(b"bert")
    assert host.post(f"{V1}/clear", {"dry_run": False}).json["entries"] == 1
    assert len(host.cache.chain.memory) == 0
    call(b"clara")
    plan = host.post(f"{V1}/gc", {"max_entries": 0}).json["plan"]
    assert host.post(f"{V1}/gc/{plan}/run").status == 200
    assert len(host.cache.chain.memory) == 0


def test_an_open_breaker_is_bad_health(host):
    (tier,) = host.cache.chain.tiers
    assert host.get(f"{V1}/health").status == 200
    tier.reading.failed(final=True)
    answer = host.get(f"{V1}/health")
    assert answer.status == 503
    assert {"name": "breaker disk", "ok": False, "detail": "reading is open"} in answer.json[
        "checks"
    ]


def test_a_port_that_is_taken_is_one_line_and_served_when_it_is_free(
    open_cache, capfd, monkeypatch
):
    monkeypatch.setattr("stepaudio_cas.web.inside.AGAIN", 0.05)
    cache = open_cache(log="error")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        inside = Inside(cache, Settings(stores=("x",), http=f"127.0.0.1:{port}"), settle=0.0)
        inside.start()
        said = ""

        def told():
            nonlocal said
            said += capfd.readouterr().err
            return "is taken" in said

        wait_until(told)
        assert cache.cached(version="1")(lambda audio: [1])(b"anna") == [1]
    assert inside.ready.wait(60)
    inside.stop()
    assert (said + capfd.readouterr().err).count("is taken") == 1


def test_an_address_that_is_not_ours_is_one_line(open_cache, capfd):
    inside = Inside(open_cache(log="error"), Settings(http="192.0.2.1:1"), settle=0.0)
    inside.start()
    inside._thread.join(60)
    assert "192.0.2.1:1 cannot be had" in capfd.readouterr().err


def test_without_the_libraries_it_says_what_to_install(open_cache, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "stepaudio_cas.web.server", raising=False)
    inside = Inside(open_cache(log="error"), Settings(http="127.0.0.1:0"), settle=0.0)
    inside.start()
    inside._thread.join(60)
    assert "pip install 'stepaudio-cas[http]'" in capfd.readouterr().err


def test_a_forked_child_serves_nothing_holds_no_port_and_goes_on(host, call):
    call(b"anna")

    listening = host.inside._server._listening.fileno()

    def child():
        assert call(b"anna") == [4] * 3
        assert call(b"bert!") == [5] * 3
        with pytest.raises(OSError):
            os.fstat(listening)
        return [host.inside._server is None, len(host.cache.recorder.listeners)]

    assert in_child(child) == [True, 0]
    assert host.get(f"{V1}/stats").json["process"]["pid"] == os.getpid()
    host.inside.stop()
    with socket.create_server(("127.0.0.1", host.port)):
        pass


def test_two_workers_on_any_port_have_one_each(open_cache, token_file, tmp_path):
    served = [Served(open_cache(), token_file, tmp_path) for _ in range(2)]
    with served[0] as one, served[1] as other:
        assert one.port != other.port
        assert one.get(f"{V1}/health").status == other.get(f"{V1}/health").status == 200


APP = """
import calls, logging, signal, sys
from tokenizer import StepAudioTokenizer
results = calls.encode(StepAudioTokenizer)
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert not logging.getLogger().handlers and not logging.getLogger("uvicorn").handlers
calls.say(results=results)
sys.stdin.read()
"""


def test_an_unmodified_host_is_served_by_the_variable_alone(tmp_path, token_file):
    host = Host(tmp_path / "host", SimpleNamespace(python=sys.executable))
    host.write("app.py", APP)
    more = {
        "STEPAUDIO_CAS_HTTP": "127.0.0.1:0", "STEPAUDIO_CAS_HTTP_TOKEN_FILE": str(token_file),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "app.py"], cwd=host.folder, env=host.environment | more, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        said = ""
        while "is served by" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        results = json.loads(process.stdout.readline())["results"]
        url = said.split("STEPAUDIO_CAS_HTTP: ")[1].split(" ")[0]
        stats = {}

        def counted():
            with urllib.request.urlopen(f"{url}api/v1/stats", timeout=60) as answer:
                stats.update(json.load(answer)["process"])
            return stats["hits"]

        wait_until(counted)
        asked = urllib.request.Request(f"{url}api/v1/clear", b"{}", BEARER, method="POST")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            cleared = json.load(answer)
        process.communicate("")
    assert process.returncode == 0
    assert results[0] == results[1]
    assert (stats["hits"], stats["misses"]) == (1, 1)
    assert (cleared["dry_run"], cleared["entries"]) == (True, 1)


@pytest.mark.parametrize(("file", "said"), [(None, "is not set"), ("gone", "gone has no token")])
def test_why_nothing_can_be_changed_is_said(open_cache, tmp_path, capfd, file, said):
    with Served(open_cache(log="error"), file and tmp_path / file, tmp_path):
        line = capfd.readouterr().err
    assert said in line.partition("nothing can be changed: STEPAUDIO_CAS_HTTP_TOKEN_FILE")[2]
