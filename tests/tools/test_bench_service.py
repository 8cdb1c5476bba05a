"""The benchmark of the transcription service: its load, the recipe beside ours, and its bars."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from tests.hosts.speech import write_speech
from tests.hosts.transcribing import Client, Service
from tests.plugins.listening import make_model
from tools.bench.docs import PAGE, check_page
from tools.bench.service import (
    _RECIPE,
    ALIKE,
    OURS,
    PLAIN,
    RECIPE,
    REPEATS,
    SECTION,
    Load,
    drive,
    judge,
    render,
)

REPOSITORY = Path(__file__).parents[2]
WRONG = "recordings answered with the text of another one"


@pytest.fixture
def load(tmp_path):
    return Load(Path(write_speech(tmp_path / "a.wav", 1, rate=16000)).read_bytes())


@pytest.mark.parametrize("share", REPEATS)
def test_so_many_requests_are_for_what_is_known(load, share):
    known, found = set(load.known()), []
    for _ in range(2):
        found += load.requests(share, 12)
    new = [request for request in found if request not in known]
    assert len(new) == len(set(new)) == (24 if share < 1 else 0)
    assert len(found) == (240 if share == 1 else round(24 / (1 - share)))
    assert len({request[:1024] for request in new}) == len(new)


def test_recordings_that_begin_alike_go_on_differently(load):
    for number in range(ALIKE):
        first, second = load.alike(number)
        assert first[:2048] == second[:2048]
        assert (len(first), first == second) == (len(second), False)
    assert len({load.alike(number)[0][:1024] for number in range(ALIKE)}) == ALIKE


def test_the_recreated_recipe_answers_by_the_first_kilobyte(own_redis, load, tmp_path):
    server, model = own_redis(), make_model(tmp_path / "model", dither=0.0)
    how = {"program": (_RECIPE,), "REDIS_URL": server.url}
    with (
        Service(model, tmp_path / "log", **how) as service,
        closing(Client(service.url)) as client,
        closing(redis.Redis(port=server.port)) as store,
    ):
        first, second = load.alike(0)
        text = client.transcribe(first, language="en")
        assert client.transcribe(second, language="en") == text
        other = client.transcribe(second, language="zh")
        assert client.transcribe_batch([first, load.make(1)], language="zh")[0] == other
        keys = store.keys()
        assert len(keys) == 3
        assert all(86_000 < store.ttl(key) <= 86_400 for key in keys)
        assert text in {pickle.loads(store.get(key)) for key in keys}
        block = drive(service, load.requests(0.5, 6))
    assert len(block.latencies) == 12
    assert max(block.latencies) <= block.seconds <= sum(block.latencies)
    assert block.each == pytest.approx(block.seconds / 12)


def figures(*, ideal=1.0, recipe=0.9, wrong=0):
    def row(name, share):
        return {
            "service": name,
            "repeated": share,
            "per_second": 10.0,
            "plain_per_second": 10.0,
            "speedup": 1.0,
            "over_ideal": spread(ideal if name == OURS else 9.0) if share < 1 else None,
            "over_recipe": spread(recipe if name == OURS else 1.0),
            "latency_seconds": {"p50": 0.1, "p95": 0.2, "p99": 0.3},
            "requests": 1,
        }

    return {
        "rows": [row(name, share) for name in (RECIPE, OURS) for share in REPEATS],
        "alike": {PLAIN: 0, RECIPE: ALIKE, OURS: wrong},
        "pairs_alike": ALIKE,
        "clients": 4,
        "recording_bytes": 192_044,
    }


def spread(value):
    return {"median": value, "low": value, "high": value}


def missed(**found):
    return [bar.name for bar in judge(figures(**found)) if not bar.ok]


def test_each_bar_can_be_reached_and_missed():
    assert missed() == missed(ideal=1 / 0.95) == []
    assert missed(ideal=1.06) == [
        f"time / ideal time, {share:.0%} repeats" for share in REPEATS[:3]
    ]
    assert missed(recipe=1.01) == [f"time / {RECIPE}, 100% repeats"]
    assert missed(wrong=1) == [WRONG]


def test_the_tables_show_multiples_latencies_and_who_answered_wrongly():
    text = render(figures())
    for part in ("| stepaudio-cas, 80% |", "5 x", "100.0 ms", f"{RECIPE}: {ALIKE}; {OURS}: 0"):
        assert part in text
    assert all(
        len(a.split("|")) == len(b.split("|"))
        for a, b in pairwise(line for line in text.splitlines() if line.startswith("|"))
    )


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_tiny_run_measures_everything(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.service", "--scale", "tiny", "--dir", tmp_path,
         "--json", tmp_path / "run.json"],
        check=False, cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "STEPAUDIO_CAS_MODE": "off"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run.json").read_text())["figures"]
    assert found["alike"] == {PLAIN: 0, RECIPE: ALIKE, OURS: 0}
    assert [(row["service"], row["repeated"]) for row in found["rows"]] == [
        (name, share) for name in (RECIPE, OURS) for share in REPEATS
    ]


def test_the_page_of_this_repository_has_a_place_for_the_result():
    check_page(PAGE, SECTION.begin, SECTION.end)
