"""`cas-tool prewarm`, on a small host of its own."""

import json
import os
import signal
import subprocess
import sys

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.maintenance.inventory import manifests, pinned
from stepaudio_cas.maintenance.pins import read_pin
from stepaudio_cas.store.local import LocalBackend
from tests.cli.terminal import Session, plain


@pytest.fixture
def prewarm(root, small, capfd):
    def run(*words, host=small.spec):
        code = main(["--store", str(root), "prewarm", *map(str, words), "--host", host])
        return code, *capfd.readouterr()

    return run


def documents(root):
    return {kept.key: kept.manifest for kept in manifests(LocalBackend(root))}


def test_a_folder_of_voices_is_encoded_labelled_and_pinned(prewarm, small, root):
    anna, bert = small.voice("anna.wav", "la"), small.voice("more/bert.mp3", "lo lo")
    small.voice("notes.txt", "nothing")
    code, out, err = prewarm(small.voices)
    assert code == 0
    assert "2 new, 0 already there, 0 failed; 1 other file left out" in err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["voice"], line["state"]) for line in lines] == [(anna, "new"), (bert, "new")]
    kept = documents(root)
    assert {m.label for m in kept.values()} == {anna, bert}
    assert {key for line in lines for key in line["keys"]} == set(kept)
    assert pinned(LocalBackend(root)) == set(kept)
    for key, manifest in kept.items():
        assert read_pin(LocalBackend(root), key).label == manifest.label


def test_a_second_run_encodes_nothing(prewarm, small, root):
    small.voice("anna.wav", "la")
    prewarm(small.voices)
    before = documents(root)
    small.voice("bert.wav", "lo")
    code, out, err = prewarm(small.voices)
    assert (code, "1 new, 1 already there, 0 failed;" in err) == (0, True)
    states = {os.path.basename(x["voice"]): x["state"] for x in map(json.loads, out.splitlines())}
    assert states == {"anna.wav": "there", "bert.wav": "new"}
    assert {key: documents(root)[key] for key in before} == before


def test_what_was_there_without_a_pin_is_pinned_as_a_whole(prewarm, small, root):
    small.voice("anna.wav", "la")
    prewarm(small.voices, "--no-pin")
    _, out, _ = prewarm(small.voices)
    kept = documents(root)
    assert (len(kept), pinned(LocalBackend(root))) == (2, set(kept))
    assert set(json.loads(out)["keys"]) == set(kept)


def test_failures_are_named_and_the_rest_goes_on(prewarm, small):
    broken, deadly = small.voice("broken.wav", "broken"), small.voice("deadly.wav", "die")
    good = small.voice("good.wav", "la")
    code, out, err = prewarm(small.voices, "--json")
    said = json.loads(out)
    assert code == 1
    assert (said["new"], said["there"], said["failed"]) == (1, 0, 2)
    why = {failure["voice"]: failure["why"] for failure in said["failures"]}
    assert why[broken] == "the host says: ValueError: this is no sound"
    assert why[deadly] == "its process died (SIGKILL)"
    assert good not in why
    assert "1 new" not in err


def test_what_cannot_be_listed_is_named_and_ends_with_1(prewarm, small, monkeypatch):
    small.voice("a/1.wav", "la")
    closed = os.path.dirname(small.voice("b/2.wav", "lo"))
    scandir = os.scandir

    def closed_to_us(path):
        if path == closed:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed_to_us)
    code, _, err = prewarm(small.voices)
    assert (code, f"not looked at: {closed}: Permission denied" in err) == (1, True)
    code, out, _ = prewarm(small.voices, "--json")
    said = json.loads(out)
    assert (said["there"], said["not_looked_at"]) == (1, [f"{closed}: Permission denied"])


def test_several_processes_share_the_work(prewarm, small, root):
    for number in range(12):
        small.voice(f"{number}.wav", f"la {number}")
    code, _, err = prewarm(small.voices, "--jobs", "3")
    assert (code, "12 new" in err) == (0, True)
    assert len(documents(root)) == 24


def test_what_the_host_prints_does_not_come_between(prewarm, small):
    small.voice("a.wav", "print")
    _, out, err = prewarm(small.voices, "--json")
    assert json.loads(out)["new"] == 1
    assert "the host prints" not in err
    small.voice("b.wav", "print b")
    _, out, err = prewarm(small.voices, "--json", "--verbose")
    assert json.loads(out)["new"] == 1
    assert "the host prints" in err


def test_pins_can_be_left_out(prewarm, small, root):
    small.voice("a.wav", "la")
    prewarm(small.voices, "--no-pin")
    assert pinned(LocalBackend(root)) == set()


def test_a_host_by_a_function_of_one_s_own(prewarm, small, root):
    voice = small.voice("a.wav", "la")
    code, out, _ = prewarm(voice, host=f"{small.code}/mine:make?weights={small.weights}")
    assert (code, json.loads(out)["state"]) == (0, "new")
    assert [m.params["rate"] for m in documents(root).values()] == [8000]


def test_a_host_may_be_asked_in_several_ways(prewarm, small, root):
    voice = small.voice("a.wav", "la")
    _, out, _ = prewarm(voice, host=small.spec + "&ask=prepare,direct")
    (line,) = map(json.loads, out.splitlines())
    assert (line["state"], len(line["keys"])) == ("new", 2)


def test_several_stores_are_filled_and_pinned(prewarm, small, tmp_path, capfd):
    small.voice("a.wav", "la")
    roots = [tmp_path / name for name in ("near", "far")]
    stores = ",".join(map(str, roots))
    assert main(["prewarm", str(small.voices), "--host", small.spec, "--store", stores]) == 0
    near, far = map(documents, roots)
    assert near == far
    assert all(pinned(LocalBackend(root)) == set(near) for root in roots)


def test_no_voices_is_no_failure(prewarm, small):
    code, _, err = prewarm(small.voices)
    assert (code, "0 new, 0 already there, 0 failed" in err) == (0, True)


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("small:/no-such-folder", "is not a folder"),
        ("small", "write PLUGIN:FOLDER"),
        ("small:{code}", "lacks weights=…"),
        ("small:{code}?weights=w&more=1", "no option more; it has weights, ask"),
        ("{code}/mine:nothing", "has no attribute 'nothing'"),
        ("small:{code}?weights=/no-such", "the host cannot be loaded: FileNotFoundError"),
    ],
)
def test_a_wrong_host_is_one_line(host, text, prewarm, small):
    small.voice("a.wav", "la")
    code, out, err = prewarm(small.voices, host=host.format(code=small.code))
    assert code in {1, 2}
    assert out == ""
    assert text in err
    assert len(err.splitlines()) == 1


def test_a_store_that_may_only_be_read_is_refused(prewarm, small, monkeypatch):
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "ro")
    code, _, err = prewarm(small.voices)
    assert (code, "STEPAUDIO_CAS_MODE is ro" in err) == (2, True)


def test_a_number_of_processes_is_one(prewarm, small, capfd):
    with pytest.raises(SystemExit) as end:
        prewarm(small.voices, "--jobs", "0")
    assert end.value.code == 2
    assert "is not a number of processes" in capfd.readouterr().err


def test_help_has_an_example_and_says_what_a_host_is(capsys):
    with pytest.raises(SystemExit):
        main(["prewarm", "--help"])
    text = capsys.readouterr().out
    assert "cas-tool prewarm voices/" in text
    assert "stepaudio:FOLDER?model=…" in text
    assert len(text.splitlines()) < 60


def test_ctrl_c_finishes_what_is_in_hand(small, root):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    first = small.voice("1.wav", f"wait {pipe}")
    small.voice("2.wav", "la")
    small.voice("3.wav", "lo")
    path = os.pathsep.join([str(small.site), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-m", "stepaudio_cas", "--store", root, "prewarm", small.voices,
         "--host", small.spec],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
    )  # fmt: skip
    with open(pipe, "w"):  # opens when the host has begun to read it
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        assert process.stderr.readline().startswith("finishing what is in hand")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [json.loads(line)["voice"] for line in out.splitlines()] == [first]
    assert "1 new, 0 already there, 0 failed; in " in err
    assert "stopped early" in err
    assert {m.label for m in documents(root).values()} == {first}


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_how_far_it_is_and_how_fast(columns, small, root):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    for name, text in {"1.wav": "la", "2.wav": "broken", "3.wav": f"wait {pipe}"}.items():
        small.voice(name, text)
    path = os.pathsep.join([str(small.site), *sys.path])
    words = ("--store", root, "prewarm", small.voices, "--host", small.spec)
    session = Session(*words, columns=columns, variables={"PYTHONPATH": path})
    session.wait_for("2/3")
    session.wait_for("/s")
    with open(pipe, "w"):  # lets the host go on
        pass
    code, text = session.finish()
    assert code == 1
    lines = [line.rstrip() for line in plain(text).splitlines()]
    assert any(line.startswith("VOICE") and "WHY IT FAILED" in line for line in lines)
    assert lines[-1].startswith("2 new, 0 already there, 1 failed; 1 other file left out; in ")
