"""The benchmark of object stores: that it works on real servers, and that its bars are judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stepaudio_cas.store.s3 import S3Backend
from tools.bench import objectstore
from tools.bench.docs import PAGE, check_page
from tools.bench.objectstore import (
    GET_MANY,
    HIT,
    OBSTORE,
    OURS,
    PREFETCH,
    READ,
    SECTION,
    Copies,
    fill,
    judge,
)
from tools.bench.section import run

REPOSITORY = Path(__file__).parents[2]
COLD = "S3: a cold hit / two bare GETs"


def test_a_tiny_run_measures_both_servers_and_leaves_nothing(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{SECTION.begin}\nold\n{SECTION.end}\nafter\n")
    (tmp_path / "stores").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.objectstore", "--scale", "tiny", "--dir",
         tmp_path / "stores", "--json", tmp_path / "run.json", "--update-docs", page],
        check=False, cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "STEPAUDIO_CAS_MODE": "off", "AWS_PROFILE": "somebody"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    figures = document["figures"]
    for place in ("s3", "gcs"):
        assert figures[place]["cold"].keys() == {HIT, READ}
        assert figures[place]["many"].keys() == {GET_MANY, PREFETCH}
    compared = figures["s3"]["many"][GET_MANY]
    assert OURS in compared
    assert (OBSTORE in compared) != ("obstore" in document["missing"])
    assert document["bars"][0]["name"] == COLD
    assert len(document["bars"]) == 3
    assert done.stdout.strip() in page.read_text()
    assert "\nold\n" not in page.read_text()
    assert list((tmp_path / "stores").iterdir()) == []


def figures(*, cold=1.2, many=1.0, obstore=True):
    def row(ratio):
        return {"ratio": {"median": ratio, "low": ratio, "high": ratio}}

    rows = {OURS: row(9.0), **({OBSTORE: row(many)} if obstore else {})}
    place = {"cold": {HIT: row(cold), READ: row(9.0)}, "many": {GET_MANY: rows, PREFETCH: rows}}
    return {"voices": 500, "s3": place}


@pytest.mark.parametrize(("cold", "ok"), [(1.3, True), (1.31, False)])
def test_a_cold_hit_is_held_against_two_gets(cold, ok):
    assert {bar.name: bar.ok for bar in judge(figures(cold=cold))}[COLD] is ok


@pytest.mark.parametrize(("many", "ok"), [(1.3, True), (1.31, False)])
def test_many_voices_are_held_against_obstore(many, ok):
    bars = [bar for bar in judge(figures(many=many)) if bar.name != COLD]
    assert [bar.ok for bar in bars] == [ok, ok]
    assert all("500 voices" in bar.name for bar in bars)


def test_without_obstore_that_bar_is_not_reached():
    bars = [bar for bar in judge(figures(obstore=False)) if bar.name != COLD]
    assert [(bar.value, bar.ok) for bar in bars] == [(None, False), (None, False)]


def test_a_prefetch_that_leaves_something_out_is_no_measurement(s3_url, tmp_path):
    bucket = fill(f"{s3_url}/left-out", S3Backend, 2)
    copies = Copies(bucket._replace(keys=[*bucket.keys, "0" * 64]), tmp_path)
    copies.prepare()
    with pytest.raises(RuntimeError, match="not everything was copied"):
        copies.run()


def test_a_document_that_is_not_there_is_no_measurement():
    with pytest.raises(RuntimeError, match="not there"):
        objectstore.in_threads(2, {"a": b"1"}.get, ["a", "b"])


def test_a_page_without_a_place_for_the_result_is_refused_before_anything_is_measured(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing")
    assert run(SECTION, ["--update-docs", str(page)]) == 2


def test_the_page_of_this_repository_has_a_place_for_the_result():
    check_page(PAGE, SECTION.begin, SECTION.end)
