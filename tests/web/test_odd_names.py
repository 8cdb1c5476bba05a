"""Names that are no text and numbers that are no JSON: an answer is written whatever is in it."""

import json
import os

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

import stepaudio_cas as cas
from stepaudio_cas.web import metrics
from stepaudio_cas.web.answers import as_json
from tests.support.values import recipe
from tests.web.conftest import fill
from tests.web.serving import Events
from tests.web.test_writing import watch

V1 = "/api/v1"
ODD = os.fsdecode(b"/srv/ann\xff.wav")
LOOKS = [
    f"{V1}/entries", f"{V1}/entries?sort=used", f"{V1}/stats", f"{V1}/misses", f"{V1}/prewarm",
    f"{V1}/health", "/metrics",
]  # fmt: skip


def test_a_recording_whose_name_is_no_text_hides_no_other(api, store):
    with cas.open(store, log="off") as cache:
        cache.get_or_compute(recipe(), lambda: [1], label=ODD)
    listed = api.get(f"{V1}/entries").json["entries"]
    assert len(listed) == 5
    assert [entry["voice"] for entry in listed].count(ODD) == 1
    assert api.post(f"{V1}/rm", {"older": 0}).json["entries"] == 5


@pytest.mark.parametrize("path", LOOKS)
def test_a_watched_folder_may_be_called_anything(api, path):
    watch(api, ODD, in_hand=[{"voice": ODD, "since": 1.0}], trouble="")
    assert api.get(path).status == 200


@pytest.mark.parametrize("path", LOOKS)
def test_a_store_may_be_called_anything(serve, tmp_path, path):
    folder = tmp_path / os.fsdecode(b"st\xffre")
    api = serve(fill(folder))
    assert api.get(path).status == 200
    assert api.post(f"{V1}/clear").json["entries"] == 4
    assert api.post(f"{V1}/gc").status == 200


def test_events_may_tell_of_anything(api):
    with Events(api) as events:
        api.service.feed.publish([("error", {"text": ODD, "seconds": float("inf")})])
        assert events.next("error")[1] == {"text": ODD, "seconds": None}


def test_what_json_has_no_number_for_is_left_out():
    document = {"a": [1.5, float("nan")], "b": (float("-inf"), {"c": float("inf")}), "d": ODD}
    said = json.loads(as_json(document), parse_constant=pytest.fail)
    assert said == {"a": [1.5, None], "b": [None, {"c": None}], "d": ODD}


def test_a_family_has_so_many_members_whatever_a_store_says():
    counts = {f"error.{number}": 1.0 for number in range(5000)} | {"error.disk": 7.0}
    figures = {
        "uncounted": [], "store": "there", "counters": counts, "processes": 1, "tiers": [],
    }  # fmt: skip
    text = metrics.written(metrics.of_stores(figures), "")[0].decode()
    (family,) = (f for f in parse(text) if f.name == "stepaudio_cas_store_errors")
    told = {sample.labels["kind"]: sample.value for sample in family.samples}
    assert len(told) == metrics.MOST_MEMBERS + 1
    assert told["disk"] == 7.0
    assert sum(told.values()) == 5007.0
