"""`cas-tool bench`, on a small host of its own."""

import json
import os
import sys

import pytest

from stepaudio_cas.cli.main import main
from stepaudio_cas.maintenance.inventory import manifests
from stepaudio_cas.measure.recordings import generate
from stepaudio_cas.store.local import LocalBackend
from tests.cli.served import Served
from tests.cli.terminal import on_terminal, plain

FEW = ["--runs", "2", "--requests", "5"]
ENCODES = 1 + 1 + 2 * (1 + 1) + 5 * (1 + 1) + 3 * (1 + 1) + 1 * (1 + 1) + 1 * 1
"""To warm up, for the stages, and for the rounds at 0, 50, 80 and 100 %: each with one alone."""


@pytest.fixture
def served(tmp_path, monkeypatch):
    made = Served(tmp_path / "served")
    monkeypatch.syspath_prepend(str(made.site))
    monkeypatch.setenv("SERVED_NOTES", str(made.notes))
    return made


@pytest.fixture
def wav(tmp_path):
    return generate(str(tmp_path))[0]


@pytest.fixture
def bench(served, capfd):
    def run(*words, host=served.spec, store=()):
        code = main([*store, "bench", "--host", host, *map(str, words)])
        return code, *capfd.readouterr()

    return run


def test_stages_and_throughput_are_measured_without_cache_and_with(bench, served, wav, tmp_path):
    code, out, err = bench(wav, *FEW, "--json", "--plot", tmp_path / "found.png")
    found = json.loads(out)
    assert (code, err) == (0, "")
    for way in ("alone", "cold", "cached"):
        stages = found["stages"][way]
        assert list(stages) == ["encode", "llm", "vocoder", "other", "total"]
        assert all(0 < s["min"] <= s["median"] <= s["max"] for s in stages.values())
    rows = found["throughput"]
    assert [(row["repeated"], row["requests"]) for row in rows] == [
        *((0.0, 5), (0.5, 6), (0.8, 5), (1.0, 5)),
    ]
    assert [row["ideal"] for row in rows] == [1.0, 2.0, 5.0, None]
    assert all(list(row["latency"]) == ["p50", "p95", "p99"] for row in rows)
    assert found["calls"] == {"hits": 1}
    assert found["recordings"] == [wav]
    assert served.encodes() == ENCODES
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert [path.name for path in tmp_path.glob("found*")] == ["found.png"]


def test_only_the_encoder_is_measured_if_that_is_asked_for(bench, wav):
    code, out, err = bench(wav, *FEW, "--encode")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    stages = [line["stage"] for line in lines if line.get("way") == "alone"]
    assert stages == ["encode", "other", "total"]
    assert [line["repeated"] for line in lines[9:]] == [0.0, 0.5, 0.8, 1.0]


def test_recordings_are_made_up_and_no_store_of_the_user_is_touched(
    bench, served, tmp_path, monkeypatch
):
    monkeypatch.setenv("STEPAUDIO_CAS", str(tmp_path / "mine"))
    code, out, _ = bench("--runs", "1", "--requests", "1", "--json")
    assert (code, json.loads(out)["recordings"]) == (0, "made up")
    assert served.encodes() == 2 * 2 + 2 + 4 * 2 - 1
    assert not (tmp_path / "mine").exists()
    assert not (tmp_path / "xdg" / "stepaudio-cas").exists()


def test_a_store_that_is_named_is_used(bench, wav, root):
    assert bench(wav, *FEW, store=["--store", str(root)])[0] == 0
    assert len(list(manifests(LocalBackend(root)))) == 1 + 2 + 5 + 3 + 1


def test_a_person_gets_two_tables(served, wav):
    path = os.pathsep.join([str(served.site), os.environ.get("PYTHONPATH", "")])
    words = ["bench", "--host", served.spec, wav, *FEW]
    code, text = on_terminal(*words, columns=80, variables={"PYTHONPATH": path})
    shown = plain(text)
    assert code == 0, shown
    assert "STAGE" in shown
    assert "WITHOUT CACHE" in shown
    assert "\nvocoder " in shown
    assert "REPEATS" in shown
    assert "AT BEST" in shown
    assert "5.00x" in shown


def test_what_the_host_says_is_passed_on(bench, served, wav):
    code, out, err = bench(wav, *FEW, host=f"{served.spec}&text=fail")
    assert (code, out) == (1, "")
    assert err == "cas-tool: the host says: ValueError: nothing to say\n"


def test_a_host_of_which_nothing_is_cached_is_named(bench, served, wav):
    code, out, err = bench(wav, *FEW, "--json", host=f"{served.code}/mine:nothing")
    assert code == 1
    assert json.loads(out)["calls"] == {}
    assert "no call of this host was cached" in err


def test_what_is_wrong_is_said_before_anything_is_loaded(bench, served, wav, tmp_path, monkeypatch):
    (tmp_path / "song.mp3").write_bytes(b"ID3" + bytes(100))
    for words, said in [
        ([tmp_path / "song.mp3"], "song.mp3: it is no WAV"),
        ([tmp_path / "none.wav"], "none.wav: "),
        ([wav, "--plot", "found.jpg"], "a name that ends in .png"),
        ([wav, "--plot", tmp_path / "none/found.png"], "there is no folder"),
    ]:
        code, _, err = bench(*words)
        assert (code, said in err) == (2, True), err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = bench(wav, "--plot", tmp_path / "found.png")
    assert code == 2
    assert err == "cas-tool: --plot needs matplotlib: pip install 'stepaudio-cas[plot]'\n"
    assert served.encodes() == 0
    with pytest.raises(SystemExit):
        bench(wav, "--runs", "0")
