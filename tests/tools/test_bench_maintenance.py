"""The benchmark of maintenance: that it works, and that its bars are judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench import maintenance
from tools.bench.docs import PAGE, check_page
from tools.bench.maintenance import AGAIN, BEGIN, END, FIRST, GC, WALK, bars, render

REPOSITORY = Path(__file__).parents[2]


def test_a_small_run_measures_every_command_and_leaves_nothing(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    (tmp_path / "stores").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.maintenance", "--entries", "30,60", "--runs", "1",
         "--dir", tmp_path / "stores", "--json", tmp_path / "run.json", "--update-docs", page],
        check=False, cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "STEPAUDIO_CAS_MODE": "off"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    assert [size["entries"] for size in document["sizes"]] == [30, 60]
    for size in document["sizes"]:
        assert {WALK, FIRST, AGAIN} <= size["commands"].keys()
        assert all(ran["memory"] > 1e6 for ran in size["commands"].values())
    assert done.stdout.strip() in page.read_text()
    assert "old" not in page.read_text()
    assert list((tmp_path / "stores").iterdir()) == []


def size(entries, *, walks=2.0, gc=1.0, memory=1e8):
    def ran(seconds, walks=1.0):
        return {
            "seconds": {"median": seconds, "low": seconds, "high": seconds},
            "walks": {"median": walks, "low": walks, "high": walks},
            "memory": memory,
        }

    commands = {WALK: ran(1.0), FIRST: ran(walks, walks), AGAIN: ran(0.1, 0.1), GC: ran(gc)}
    return {"entries": entries, "bytes": 1, "making": {"seconds": 1.0}, "commands": commands}


def reached(*sizes):
    return {bar["name"]: bar["ok"] for bar in bars(sizes)}


@pytest.mark.parametrize(("walks", "ok"), [(3.0, True), (3.1, False)])
def test_the_statistics_of_the_largest_store_are_held_against_three_walks(walks, ok):
    found = reached(size(10, walks=99.0), size(100, walks=walks))
    assert found[f"{FIRST} / {WALK}"] is ok


@pytest.mark.parametrize(("gc", "ok"), [(15.0, True), (16.0, False)])
def test_a_plan_has_to_grow_with_the_store_and_no_faster(gc, ok):
    found = reached(size(10, gc=1.0), size(100, gc=gc))
    assert found[f"{GC}: an entry of 100 / an entry of 10"] is ok


@pytest.mark.parametrize(("memory", "ok"), [(2e8, True), (2.1e8, False)])
def test_memory_is_bounded(memory, ok):
    assert reached(size(10), size(100, memory=memory))[f"bytes of memory, {GC}"] is ok


def test_what_is_not_there_is_not_measured_and_not_reached():
    large = size(100)
    del large["commands"][GC]
    assert reached(size(10), large)[f"bytes of memory, {GC}"] is False
    text = render({"load": [0.0], "sizes": [large], "bars": bars([large])})
    assert f"| bytes of memory, {GC} | not measured | 2e+08 | **no** |" in text


def test_a_command_that_fails_is_no_measurement(tmp_path):
    with pytest.raises(RuntimeError, match="broken"):
        maintenance._run([sys.executable, "-c", "raise SystemExit('broken')"])


def test_the_page_of_this_repository_has_a_place_for_the_result():
    check_page(PAGE, BEGIN, END)
