"""`cas-tool watch`, on a small host of its own."""

import json
import os
import signal
import subprocess
import sys

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.maintenance.inventory import pinned
from stepaudio_cas.store.local import LocalBackend
from tests.support.processes import wait_until


@pytest.fixture
def states(tmp_path):
    return tmp_path / "states"


@pytest.fixture
def watch(root, small, states, capfd):
    def run(*words):
        words = ("--store", root, "watch", *words, "--state", states, "--settle", "0.05")
        code = main(list(map(str, words)))
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def start(root, small, states):
    started = []

    def run(*words):
        path = os.pathsep.join([str(small.site), *sys.path])
        words = (*words, small.voices, "--host", small.spec, "--state", states, "--settle", "0.05")
        process = subprocess.Popen(
            [sys.executable, "-m", "stepaudio_cas", "--store", root, "watch", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_once_does_what_is_to_be_done_and_ends(watch, small, root):
    anna = small.voice("anna.wav", "la")
    code, out, err = watch(small.voices, "--host", small.spec, "--once", "--json")
    (line,) = map(json.loads, out.splitlines())
    assert (code, line["voice"], line["state"]) == (0, anna, "new")
    assert pinned(LocalBackend(root)) == set(line["keys"])
    assert f"{anna}: new" in err
    os.unlink(anna)
    watch(small.voices, "--host", small.spec, "--once")
    assert pinned(LocalBackend(root)) == set()


def test_once_ends_with_1_if_something_failed(watch, small):
    broken = small.voice("broken.wav", "broken")
    code, out, err = watch(small.voices, "--host", small.spec, "--once")
    assert (code, out) == (1, "")
    assert f"{broken} failed: the host says: ValueError: this is no sound" in err


def test_pins_can_be_left_out(watch, small, root):
    small.voice("anna.wav", "la")
    watch(small.voices, "--host", small.spec, "--once", "--no-pin")
    assert pinned(LocalBackend(root)) == set()


def test_the_status_says_how_a_daemon_is_doing_and_ends_with_0_or_1(start, watch, small):
    assert watch("--status")[0] == 1
    small.voice("broken.wav", "broken")
    anna = small.voice("anna.wav", "la")
    process = start("--json")
    assert {json.loads(process.stdout.readline())["voice"] for _ in range(2)} >= {anna}
    wait_until(lambda: json.loads(watch("--status")[1])["status"] == "idle")
    code, out, _ = watch("--status", "--json", small.voices)
    (state,) = json.loads(out)["folders"]
    assert (code, state["pid"], state["mode"]) == (0, process.pid, "events")
    assert (state["voices"]["done"], state["voices"]["failed"]) == (1, 1)
    process.terminate()
    assert process.wait(60) == 0
    code, out, _ = watch("--status")
    assert (code, json.loads(out)["status"]) == (1, "stopped")
    assert watch("--status", small.site)[0] == 1


def test_a_daemon_that_was_killed_is_dead(start, watch, small):
    process = start("--json")
    wait_until(lambda: watch("--status")[0] == 0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, out, _ = watch("--status")
    assert (code, json.loads(out)["status"]) == (1, "dead")


def test_a_second_daemon_notices_the_first(start, watch, small, tmp_path):
    process = start("--json")
    wait_until(lambda: watch("--status")[0] == 0)
    code, out, err = watch(small.voices, "--host", small.spec)
    assert (code, out) == (1, "")
    assert f"{small.voices} is watched already, by process {process.pid}" in err
    within = small.voices / "within"
    within.mkdir()
    code, _, err = watch(within, "--host", small.spec)
    assert (code, f"{small.voices} is watched already" in err) == (1, True)
    code, _, err = watch(small.voices, "--host", small.spec, "--state", tmp_path / "other")
    assert (code, f"{small.voices} is watched already" in err) == (1, True)
    assert process.poll() is None


@pytest.mark.parametrize(("first", "second"), [("TERM", "TERM"), ("INT", "TERM"), ("INT", "INT")])
def test_a_second_signal_ends_it_at_once_and_the_host_with_it(start, small, first, second):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    small.voice("1.wav", f"wait {pipe}")
    process = start()
    file = os.open(pipe, os.O_WRONLY)  # opens when the host has begun to read it
    try:
        process.send_signal(signal.Signals[f"SIG{first}"])
        while "finishing what is in hand; again to stop at once" not in process.stderr.readline():
            pass
        process.send_signal(signal.Signals[f"SIG{second}"])
        assert process.wait(60) == 130
        assert process.stderr.read().count("stopped at once; what was in hand is encoded") == 1
        with pytest.raises(BrokenPipeError):
            os.write(file, b"nobody reads any more")
    finally:
        os.close(file)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "cas-tool watch FOLDER"),
        (("{voices}",), "cas-tool watch FOLDER"),
        (("{voices}/none", "--host", "{spec}"), "there is no such folder"),
        (("{voices}", "--host", "small:/none"), "is not a folder"),
    ],
)
def test_a_wrong_word_is_one_line(words, text, watch, small):
    said = [word.format(voices=small.voices, spec=small.spec) for word in words]
    code, out, err = watch(*said)
    assert (code, out, text in err, len(err.splitlines())) == (2, "", True, 1)


def test_a_store_that_may_only_be_read_is_refused(watch, small, monkeypatch):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    code, _, err = watch(small.voices, "--host", small.spec)
    assert (code, "STEPAUDIO_CAS_MODE is ro" in err) == (2, True)


def test_a_state_that_cannot_be_written_is_refused(small, root, tmp_path, capfd):
    (tmp_path / "file").touch()
    words = ["--store", root, "watch", small.voices, "--host", small.spec]
    assert main([*map(str, words), "--state", str(tmp_path / "file")]) == 2
    assert "--state DIR names another" in capfd.readouterr().err
