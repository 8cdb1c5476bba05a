"""The benchmark of Redis: that it works on a real server, and that its bars are judged."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tools.bench.docs import PAGE, check_page
from tools.bench.recreations import RedisValues, host_path
from tools.bench.redis import (
    BARE,
    BATCH,
    MEMORY_OFF,
    MEMORY_ON,
    MGET,
    ONE_BY_ONE,
    PUBLISHED,
    SECTION,
    judge,
)
from tools.bench.subject import SAMPLE_RATE, encode, make_clip

REPOSITORY = Path(__file__).parents[2]
ENCODES = "encodes of one new key"
PROMOTED = "voices that were hit in Redis and are not on disk"


def test_a_tiny_run_measures_everything_and_encodes_once(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{SECTION.begin}\nold\n{SECTION.end}\nafter\n")
    (tmp_path / "stores").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.redis", "--scale", "tiny", "--dir",
         tmp_path / "stores", "--json", tmp_path / "run.json", "--update-docs", page],
        check=False, cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "STEPAUDIO_CAS_MODE": "off"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    figures = document["figures"]
    for tier in (MEMORY_OFF, MEMORY_ON):
        assert BARE in figures["hits"][tier]
        assert (PUBLISHED in figures["hits"][tier]) != ("librosa" in document["missing"])
    assert figures["batch"].keys() == {ONE_BY_ONE, MGET}
    reached = {bar["name"]: bar["ok"] for bar in document["bars"]}
    assert reached[PROMOTED]
    assert reached[ENCODES]
    assert figures["stampede"]["processes"] == 2
    assert done.stdout.strip() in page.read_text()
    assert "\nold\n" not in page.read_text()
    assert list((tmp_path / "stores").iterdir()) == []


def figures(*, off=0.1, on=0.1, batch=0.5, promoted=BATCH, encodes=(1, 1), published=True):
    def row(ratio):
        return {"ratio": {"median": ratio, "low": ratio, "high": ratio}}

    return {
        "hits": {
            tier: {BARE: row(9.0), **({PUBLISHED: row(ratio)} if published else {})}
            for tier, ratio in ((MEMORY_OFF, off), (MEMORY_ON, on))
        },
        "batch": {ONE_BY_ONE: row(batch), MGET: row(9.0)},
        "promotion": {"voices": BATCH, "promoted": promoted, "hits_on_disk": BATCH},
        "stampede": {"encodes": list(encodes)},
    }


def missed(**found):
    return [bar.name for bar in judge(figures(**found)) if not bar.ok]


def test_all_bars_can_be_reached():
    assert missed(off=1.0, on=1.0, batch=1.0) == []


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({"off": 1.1}, f"a hit, {MEMORY_OFF} / {PUBLISHED}"),
        ({"on": 1.1}, f"a hit, {MEMORY_ON} / {PUBLISHED}"),
        ({"batch": 1.1}, f"a batch of {BATCH} / {ONE_BY_ONE}"),
        ({"promoted": BATCH - 1}, PROMOTED),
        ({"encodes": (1, 2)}, ENCODES),
        ({"encodes": (1, 0)}, ENCODES),
    ],
    ids=str,
)
def test_each_bar_can_be_missed(found, name):
    assert missed(**found) == [name]


def test_a_recipe_that_could_not_be_made_again_is_not_beaten():
    bars = [bar for bar in judge(figures(published=False)) if PUBLISHED in bar.name]
    assert [(bar.value, bar.ok) for bar in bars] == [(None, False)] * 2


def test_the_recreated_recipe_keeps_pickles_for_a_day(own_redis):
    server = own_redis()
    pool = redis.ConnectionPool(host="127.0.0.1", port=server.port)
    cache = RedisValues(pool, redis)
    function, clip = host_path(cache, encode), make_clip()
    assert function(clip, SAMPLE_RATE) == function(clip, SAMPLE_RATE) == encode(clip, SAMPLE_RATE)
    assert (cache.hits, cache.misses) == (1, 1)
    client = redis.Redis(connection_pool=pool)
    [key] = client.keys()
    assert key.startswith(b"funasr:")
    assert len(key) == len("funasr:") + 32
    assert 86_000 < client.ttl(key) <= 86_400
    assert pickle.loads(client.get(key)) == encode(clip, SAMPLE_RATE)
    client.close()


def test_the_page_of_this_repository_has_a_place_for_the_result():
    check_page(PAGE, SECTION.begin, SECTION.end)
