"""`cas-tool serve`, as a program."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from stepaudio_cas.cli.main import main


@pytest.fixture
def start(root, tmp_path):
    started = []

    def start_(*words):
        command = [sys.executable, "-m", "stepaudio_cas", "--json", "--store", root, "serve"]
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        process = subprocess.Popen(
            [*map(str, command), "--port", "0", *map(str, words)], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return process, json.loads(line)

    yield start_
    for process in started:
        process.kill()
        process.communicate()


def ask(url, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = urllib.request.Request(url, b"{}" if token is not None else None, headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def test_it_makes_a_token_says_where_and_ends_with_0_on_a_signal(start):
    process, said = start()
    assert said["token_made"]
    assert os.stat(said["token_file"]).st_mode & 0o777 == 0o600
    with open(said["token_file"]) as file:
        token = file.read().strip()
    assert token not in json.dumps(said)
    assert ask(said["url"] + "api/v1/stats")["entries"] == 0
    assert ask(said["url"] + "api/v1/clear", token)["dry_run"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(said["url"] + "api/v1/clear", "")
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")
    _, again = start("--token-file", said["token_file"])
    assert not again["token_made"]


@pytest.mark.parametrize("words", [["--port", "much"], ["--port", "70000"]])
def test_an_address_that_is_none_is_wrong_usage(root, words, capsys):
    assert main(["--store", str(root), "serve", *words]) == 2
    assert "host:port" in capsys.readouterr().err


def test_a_token_that_is_too_short_is_not_used(root, tmp_path, capsys):
    (tmp_path / "token").write_text("short\n")
    words = ["--store", str(root), "serve", "--port", "0", "--token-file", tmp_path / "token"]
    assert main(list(map(str, words))) == 2
    assert "has no token" in capsys.readouterr().err
