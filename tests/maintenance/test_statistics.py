"""The document of `stats`: what it has, for one store and for a chain."""

import pytest

from stepaudio_cas import make_fingerprint
from stepaudio_cas.identity.files import FileDigest
from stepaudio_cas.maintenance.statistics import Look, describe, statistics
from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import Subject, Tally, dump_tally
from stepaudio_cas.store.hottest import Heat, Hottest
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import MODEL, fill, filled
from tests.support.faulty import FaultyBackend

REQUIRED = {"store", "entries", "objects", "bytes", "hits", "misses", "bypasses", "errors",
            "hit_rate", "seconds_saved", "by_plugin", "by_model", "tiers"}  # fmt: skip


@pytest.fixture
def near(root):
    return filled(LocalBackend(root), 4)


@pytest.fixture
def far(tmp_path):
    return filled(MemoryBackend(tmp_path.name), 6)


def counted(store, number=1, hottest=None, **counts):
    tally = Tally(
        100.0, 200.0 + number, 1, {Subject("p", MODEL.id): counts}, hottest=hottest or Hottest()
    )
    data = dump_tally(tally, {"host": f"gpu-{number}", "pid": number})
    store.backend.put(f"{layout.COUNTERS}/{number}.json", data)


def test_an_empty_store_has_nothing_and_has_done_nothing(root):
    found = statistics([Store(LocalBackend(root))])
    assert found.keys() >= REQUIRED
    assert (found["entries"], found["hits"], found["hit_rate"], found["since"]) == (
        0,
        0,
        None,
        None,
    )
    assert not root.exists()


def test_all_that_processes_have_counted_is_summed(near):
    counted(near, 1, **{"hit.memory": 6, "hit.disk": 2, "miss": 2, "seconds.saved": 12.5,
                        "seconds.lookup": 0.5, "seconds.encode": 3.0})  # fmt: skip
    counted(near, 2, **{"bypass.stateful": 1, "bypass.closure": 3, "error.timeout.disk": 1})
    found = statistics([near])
    assert (found["calls"], found["hits"], found["misses"], found["hit_rate"]) == (10, 8, 2, 0.8)
    assert found["bypasses_by_reason"] == {"closure": 3, "stateful": 1}
    assert list(found["bypasses_by_reason"]) == ["closure", "stateful"]
    assert (found["bypasses"], found["errors"]) == (4, 1)
    assert found["errors_by_kind"] == {"timeout.disk": 1}
    assert (found["seconds_saved"], found["seconds_encoding"]) == (12.5, 3.0)
    assert found["seconds_per_hit"] == 0.0625
    assert (found["since"], found["processes"]) == (100.0, 2)
    assert found["machines"] == ["gpu-1", "gpu-2"]
    assert all(type(found[name]) is int for name in ("hits", "misses", "bypasses", "errors"))


def test_a_tier_that_is_no_store_has_its_hits(near):
    counted(near, **{"hit.memory": 6, "hit.disk": 2, "hit.shared": 1})
    tiers = {tier["name"]: tier["hits"] for tier in statistics([near])["tiers"]}
    assert tiers == {"disk": 2, "memory": 6, "shared": 1}


def test_each_store_of_a_chain_has_its_size_and_counters_of_all_are_summed(near, far):
    counted(near, 1, **{"hit.disk": 1, "hit.ram": 3})
    counted(far, 2, **{"hit.ram": 2})
    found = statistics([near, far], max_size=1000)
    disk, ram = found["tiers"]
    assert (disk["entries"], ram["entries"], found["entries"]) == (4, 6, 4)
    assert (disk["limit"], ram["limit"], found["limit"]) == (1000, None, 1000)
    assert (disk["hits"], ram["hits"], found["hits"]) == (1, 5, 6)
    assert found["store"] == disk["store"] == near.url
    assert found["bytes"] == disk["bytes"] > 0


def test_a_store_that_does_not_answer_is_named_and_the_others_are_counted(near):
    dead = Store(FaultyBackend(url="s3://dead"))
    dead.backend.fail("list", OSError("connection refused"))
    counted(near, **{"hit.disk": 1})
    found = statistics([dead, near])
    assert found["error"] == found["tiers"][0]["error"] == "OSError: connection refused"
    assert (found["tiers"][1]["entries"], found["tiers"][1]["error"]) == (4, None)
    assert found["hits"] == 1


def test_plugins_and_models_have_their_counts_the_most_used_first(near):
    counted(near, 1, **{"hit.disk": 1, "miss": 2, "seconds.saved": 0.5})
    other = Tally(1.0, 2.0, 1, {Subject("q", "ab" * 32): {"hit.disk": 5, "bypass.x": 1}})
    near.backend.put(f"{layout.COUNTERS}/q.json", dump_tally(other, {}))
    found = statistics([near])
    assert list(found["by_plugin"]) == ["q", "p"]
    assert found["by_plugin"]["p"] == {"hits": 1, "misses": 2, "bypasses": 0, "seconds_saved": 0.5}
    assert found["by_model"][MODEL.id]["what"] == describe({"settings": {"chunk": 1}})
    assert found["by_model"]["ab" * 32] == {
        "hits": 5, "misses": 0, "bypasses": 1, "seconds_saved": 0.0, "what": ""
    }  # fmt: skip


def test_a_deep_look_tells_what_there_is_of_each(near):
    counted(near, **{"hit.disk": 1})
    fill(near, range(10, 13), plugin="mine", fingerprint=MODEL)
    shallow, deep = statistics([near]), statistics([near], look=Look(deep=True))
    assert "entries" not in shallow["by_plugin"]["p"]
    assert deep["by_plugin"]["mine"]["entries"] == 3
    assert deep["by_model"][MODEL.id]["entries"] == 7
    assert deep["by_model"][MODEL.id]["bytes"] == deep["bytes"]


def test_a_shallow_look_reads_no_entry():
    store = filled(FaultyBackend())
    store.backend.calls.clear()
    statistics([store])
    read = [path for verb, path in store.backend.calls if verb == "get"]
    assert [path for path in read if path.startswith(layout.MANIFESTS)] == []


def test_the_hottest_voices_have_their_names_while_and_after_they_are_there(near):
    labelled, gone = fill(near, [1])[0].key, "cd" * 32
    keys = {labelled: Heat(3, 1.5, "tmp7.wav"), gone: Heat(9, 4.5, "gone.wav")}
    counted(near, hottest=Hottest(keys, 2))
    found = statistics([near])
    assert [(v["name"], v["hits"], v["seconds_saved"]) for v in found["top_voices"]] == [
        ("gone.wav", 9, 4.5), ("voice-1.wav", 3, 1.5)
    ]  # fmt: skip
    assert found["top_voices"][1]["model"] == MODEL.id
    assert found["top_voices_short"] == 2
    assert len(statistics([near], look=Look(top=1))["top_voices"]) == 1


FINGERPRINTS = {
    "b.onnx, a.npy and 1 more": {"files": {"a.npy": 2, "b.onnx": 3, "c": 1}},
    "a.npy": {"files": {"a.npy": 2}},
    "version 3": {"settings": {"version": "3"}},
    "f, g": {"source": {"g": "text", "f": "text"}},
}


@pytest.mark.parametrize("words", FINGERPRINTS)
def test_a_model_is_told_by_its_largest_files_or_version_or_code(words, near):
    parts = dict(FINGERPRINTS[words])
    if "files" in parts:
        parts["files"] = {n: FileDigest("ab" * 32, size) for n, size in parts["files"].items()}
    model = make_fingerprint(**parts)
    near.backend.put(layout.fingerprint_path(model.id), model.document)
    tally = Tally(1.0, 2.0, 1, {Subject("p", model.id): {"miss": 1}})
    near.backend.put(f"{layout.COUNTERS}/m.json", dump_tally(tally, {}))
    assert statistics([near])["by_model"][model.id]["what"] == words


@pytest.mark.parametrize("text", [b"", b"[]", b'{"files":7}', b'{"files":{"a":1}}'])
def test_a_model_whose_description_is_damaged_has_none(near, text):
    counted(near, miss=1)
    near.backend.put(layout.fingerprint_path(MODEL.id), text)
    assert statistics([near])["by_model"][MODEL.id]["what"] == ""
