"""`cas-tool stats`: on a terminal, in a pipe, again and again, and from zero."""

import json
import os
import signal
import subprocess

import pytest

from stepaudio_cas.cli import main as cli
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Subject, Tally, dump_tally
from stepaudio_cas.store.hottest import Heat, Hottest
from tests.cli.drawer import MODEL, TOKENS
from tests.cli.terminal import START, Session, on_terminal, plain


@pytest.fixture
def used(drawer):
    """A store with two voices that have been asked for."""
    drawer.model()
    anna, bob = drawer.voice(1, "presets/anna.wav"), drawer.voice(2)
    drawer.key = anna.key
    count(drawer, "one", **{"hit.memory": 900, "hit.disk": 50, "miss": 50, "seconds.saved": 7200,
                            "seconds.encode": 90, "seconds.lookup": 0.95, "bypass.stateful": 3,
                            "error.timeout.disk": 1})  # fmt: skip
    keys = {anna.key: Heat(700, 5000.0), bob.key: Heat(200, 100.0, "bob.wav")}
    count(drawer, "two", Hottest(keys))
    return drawer


def count(drawer, name, hottest=None, **counts):
    subjects = {Subject(TOKENS, MODEL.id): counts}
    tally = Tally(1_700_000_000.0, 1_700_000_100.0, 1, subjects, hottest=hottest or Hottest())
    data = dump_tally(tally, {"host": f"gpu-{name}", "pid": 1})
    drawer.backend.put(f"{layout.COUNTERS}/{name}.json", data)


def test_a_pipe_gets_one_line_and_json_a_document(used, capsys):
    code, [line] = used.tool("stats")
    assert (code, line["hits"], line["entries"], line["hit_rate"]) == (0, 950, 2, 0.95)
    assert cli.main(["--store", str(used.root), "--json", "stats"]) == 0
    document = capsys.readouterr().out
    assert json.loads(document) == line
    assert document.startswith('{\n  "store"')


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_what_people_ask_for(used, columns):
    code, text = on_terminal(
        "--store", used.root, "stats", columns=columns,
        variables={"STEPAUDIO_CAS_MAX_SIZE": "10KB"},
    )  # fmt: skip
    shown = plain(text).split("\r")[-1]
    assert code == 0
    for words in (
        "2 processes on gpu-one, gpu-two", "1,000", "950  95.0%", "900  94.7%", "50  5.3%",
        "50  5.0%", "stateful", "timeout.disk", "2.0 h", "90.00 s", "1.0 ms on average",
        "10.0 KB", "encoder", "presets/anna.wav", "bob.wav", used.key[:12],
    ):  # fmt: skip
        assert words in shown, words
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= columns


def test_colours_are_left_out_where_they_are_not_wanted(used):
    _, text = on_terminal("--store", used.root, "stats", variables={"NO_COLOR": "1"})
    assert "\x1b[3" not in text.split("\r")[-1]
    assert "cacheable calls" in text


def test_an_empty_store_says_that_nothing_is_counted(root):
    code, text = on_terminal("--store", root, "stats")
    assert code == 0
    assert "nothing yet" in text
    assert not root.exists()


def test_names_in_a_store_do_not_steer_a_terminal(drawer):
    count(drawer, "one", Hottest({"ab" * 32: Heat(1, 1.0, "\x1b[2Jevil")}), miss=1)
    _, text = on_terminal("--store", drawer.root, "stats")
    assert "\\x1b[2Jevil" in text


def test_zero_counts_anew_and_leaves_what_is_stored(used):
    assert cli.main(["--store", str(used.root), "stats", "--zero"]) == 0
    assert "counting anew" in used._capsys.readouterr().out
    _, [line] = used.tool("stats")
    assert (line["hits"], line["bypasses"], line["top_voices"], line["entries"]) == (0, 0, [], 2)
    count(used, "one", **{"hit.disk": 51})
    assert used.tool("stats")[1][0]["hits"] == 1


def test_zero_as_json(used):
    code, [line] = used.tool("--json", "stats", "--zero")
    assert (code, line) == (0, {"store": used.backend.url, "zeroed": True})


def test_zero_is_refused_where_nothing_may_be_written(used, monkeypatch):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    assert used.tool("stats", "--zero") == (2, [])
    assert used.tool("stats")[1][0]["hits"] == 950


def test_a_store_that_does_not_answer_is_found_wrong(drawer, monkeypatch):
    drawer.voice(1)
    monkeypatch.setattr(type(drawer.backend), "list", refuse)
    code, [line] = drawer.tool("stats")
    assert (code, line["error"]) == (1, "PermissionError: [Errno 13] no")


def refuse(self, prefix):
    raise PermissionError(13, "no")


def test_deep_and_top_are_taken(used):
    _, [line] = used.tool("stats", "--deep", "--top", "1")
    assert line["by_plugin"][TOKENS]["entries"] == 2
    assert len(line["top_voices"]) == 1


def test_watching_in_a_pipe_writes_line_after_line_until_ctrl_c(used):
    process = subprocess.Popen(
        [*START, "--store", str(used.root), "stats", "--watch", "0.01"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert [line["hits"] for line in lines] == [950] * 3
    assert lines[0]["time"] < lines[2]["time"]


def test_watching_on_a_terminal_redraws_until_ctrl_c_and_leaves_the_last_figures(used):
    session = Session("--store", used.root, "stats", "--watch", "0.01", columns=120)
    session.wait_for("950")
    count(used, "one", **{"hit.disk": 4321})
    session.wait_for("4,321")
    session.type("\x03")
    code, text = session.finish()
    assert code == 0
    assert "Traceback" not in text
    assert "4,321" in text.rpartition("\x1b[?1049l")[2]


@pytest.mark.parametrize("text", ["0", "soon", "-1", "2d", "inf"])
def test_a_pause_that_makes_no_sense_is_refused(root, text, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--store", str(root), "stats", f"--watch={text}"])
    assert exit_.value.code == os.EX_USAGE or exit_.value.code == 2
    assert text in capsys.readouterr().err
