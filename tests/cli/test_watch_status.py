"""What `cas-tool watch --status` says, of whom, and where daemons write it down."""

import errno
import json
import os

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.maintenance.inventory import pinned
from stepaudio_cas.prewarm.state import Place
from stepaudio_cas.store.local import LocalBackend
from tests.cli.terminal import Session, plain


@pytest.fixture
def states(tmp_path):
    return tmp_path / "states"


@pytest.fixture
def watch(root, small, states, capfd):
    def run(*words, store=root):
        words = ("--store", store, "watch", *words, "--state", states)
        code = main(list(map(str, words)))
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def once(watch, small):
    def run(*words, host=small.spec, store=None):
        how = {} if store is None else {"store": store}
        return watch(small.voices, "--host", host, "--once", "--settle", "0.05", *words, **how)

    return run


def stopped(states, folder, **more):
    """Write what a daemon says when it ends."""
    states.mkdir(exist_ok=True)
    counts = {"done": 1, "failed": 1, "waiting": 0, "settling": 0, "working": 0}
    failure = {"voice": "broken.wav", "why": "no sound", "attempts": 1, "again_in": None}
    said = {
        "status": "stopped", "pid": 1, "machine": "gpu-3", "started": "2026-10-01", "beat": 0,
        "every": 10, "mode": "events", "trouble": "", "voices": counts, "left_out": 0,
        "seconds_left": None, "rate": 0.0, "failures": [failure], **more,
    }  # fmt: skip
    Place(str(states), str(folder)).write(said)


def test_where_nobody_watches_one_line_says_what_to_do(watch, states):
    code, out, err = watch("--status")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert f"no daemon has said anything in {states}: start one with cas-tool watch" in err
    code, out, err = watch("--status", "--json")
    assert (code, json.loads(out)["folders"], err) == (1, [], "")
    code, text = Session("watch", "--status", "--state", states, columns=200).finish()
    assert (code, "no daemon has said anything" in plain(text)) == (1, True)


def test_a_terminal_has_a_table_of_folders_and_what_failed(small, states):
    stopped(states, small.voices)
    code, text = Session("watch", "--status", "--state", states, columns=200).finish()
    lines = [line.rstrip() for line in plain(text).splitlines()]
    assert code == 1
    assert lines[0].split()[:3] == ["FOLDER", "STATUS", "DONE"]
    assert lines[1].split()[1:6] == ["stopped", "1", "0", "1", "0"]
    assert any("broken.wav: no sound" in line for line in lines)


def test_runs_that_were_to_end_and_folders_that_were_given_up_are_not_missed(
    watch, once, small, states
):
    small.voice("anna.wav", "la")
    assert once()[0] == 0
    assert json.loads(watch("--status", "--json")[1])["folders"] == []
    stopped(states, small.voices, once=True)  # as if it had been killed
    stopped(states, small.site / "gone")
    assert json.loads(watch("--status", "--json")[1])["folders"] == []
    code, out, _ = watch("--status", small.voices)
    assert (code, json.loads(out)["status"]) == (1, "unknown")


def test_a_host_that_cannot_be_loaded_leaves_nothing_behind(watch, small):
    small.voice("anna.wav", "la")
    wrong = small.spec.replace("weights.txt", "mistyped")
    assert watch(small.voices, "--host", wrong)[0] == 1
    assert json.loads(watch("--status", "--json")[1])["folders"] == []


@pytest.mark.parametrize("words", [["--once"], []], ids=["once", "wrong host"])
def test_a_daemon_that_has_stopped_is_still_missed_after_another_run(words, watch, small, states):
    small.voice("anna.wav", "la")
    stopped(states, small.voices)
    watch(small.voices, "--host", small.spec if words else small.spec + "x", *words)
    (state,) = json.loads(watch("--status", "--json")[1])["folders"]
    assert (state["status"], state["machine"]) == ("stopped", "gpu-3")


def test_each_store_has_pins_of_its_own(once, small, tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    anna = small.voice("anna.wav", "la")
    once(store=one)
    _, _, err = once(store=two)
    assert f"{small.voices} is also kept in step for another host or store" in err
    os.unlink(anna)
    once(store=two)
    assert (len(pinned(LocalBackend(one))), pinned(LocalBackend(two))) == (2, set())
    _, _, err = once(store=one)
    assert (pinned(LocalBackend(one)), "another host or store" in err) == (set(), False)


def test_a_store_that_leaves_a_chain_is_found_again_in_it(once, small, tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    anna = small.voice("anna.wav", "la")
    once(store=f"{one},{two}")
    os.unlink(anna)
    once(store=two)
    once(store=f"{two},{one}")
    assert (pinned(LocalBackend(one)), pinned(LocalBackend(two))) == (set(), set())


def test_each_host_has_pins_of_its_own(once, small, root):
    small.voice("anna.wav", "la")
    once()
    before = pinned(LocalBackend(root))
    other = small.weights.with_name("other.txt")
    other.write_text("456")
    once(host=f"small:{small.code}?weights={other}")
    assert before < pinned(LocalBackend(root))
    small.weights.write_text("789")  # the same host with another model takes its place
    once()
    assert not before & pinned(LocalBackend(root))


@pytest.mark.parametrize(
    ("store", "text"),
    [
        ("{voices}", "is in the store at"),
        ("{voices}/..", "is in the store at"),
        ("{voices}/cache/here", "has the store in it, at"),
    ],
)
def test_a_folder_where_the_store_is_is_refused(store, text, once, small, tmp_path):
    code, out, err = once(store=store.format(voices=small.voices))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert f"{small.voices} {text}" in err
    assert os.listdir(small.voices) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # watchdog's
def test_a_store_in_a_hidden_folder_is_in_nobody_s_way(once, small):
    small.voice("anna.wav", "la")
    assert once(store=small.voices / ".cache/here")[0] == 0


def test_a_folder_where_the_states_are_is_refused(watch, small, states):
    states.mkdir()
    code, _, err = watch(states, "--host", small.spec, "--once")
    assert (code, f"{states} is in the state at {states}" in err) == (2, True)


@pytest.mark.parametrize("step", ["tempfile.mkstemp", "stepaudio_cas.prewarm.ledgers.Ledger"])
def test_a_state_that_is_full_is_named(step, once, small, states, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    code, _, err = once()
    assert code == 1
    assert f"{states} takes no " in err
    assert "No space left on device; --state DIR names another place" in err
