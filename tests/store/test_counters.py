"""Counters: one document per process, summed by readers, folded by keepers."""

import json

import pytest

from stepaudio_cas.store import layout
from stepaudio_cas.store.counters import (
    COUNTERS,
    FOLD_AFTER,
    MAX_BYTES,
    Subject,
    Tally,
    dump_tally,
    fold,
    load_tally,
    merge,
    read_tally,
    sum_of,
    summarise,
)
from stepaudio_cas.store.memory import MemoryBackend
from tests.support.faulty import FaultyBackend

NOW = 1_000_000.0
OLD = NOW - FOLD_AFTER - 1
PLUGIN = Subject("plugin", "model")


def tally(updated=OLD, absorbed=(), **counts):
    return Tally(
        since=updated - 10,
        updated=updated,
        processes=1,
        subjects={PLUGIN: dict(counts)},
        absorbed=frozenset(absorbed),
    )


def save(backend, name, *args, **kwargs):
    backend.put(f"{layout.COUNTERS}/{name}", dump_tally(tally(*args, **kwargs), {"pid": 1}))


def names(backend):
    return sorted(entry.path.rsplit("/", 1)[-1] for entry in backend.list(layout.COUNTERS))


@pytest.fixture
def backend():
    return FaultyBackend()


@pytest.fixture
def filled(backend):
    """A store with three old documents of 1, 2 and 3 misses, and a new one of 10."""
    for number in (1, 2, 3):
        save(backend, f"old{number}.json", miss=number)
    save(backend, "new.json", NOW, miss=10)
    return backend


def test_an_empty_store_counts_nothing(store):
    assert read_tally(store.backend) == Tally()
    assert summarise(read_tally(store.backend))["hit_rate"] is None


def test_a_document_comes_back_as_it_was():
    one = tally(absorbed={"b", "a"}, **{"miss": 3, "seconds.saved": 1.5})
    one.subjects[Subject()] = {"error.disk": 1}
    assert load_tally(dump_tally(one, {"pid": 1})) == one


def test_documents_of_all_processes_are_summed_by_subject(store):
    backend = store.backend
    save(backend, "one.json", 5.0, miss=1, **{"hit.disk": 2})
    save(backend, "two.json", 9.0, miss=4)
    total = read_tally(backend)
    assert total.subjects == {PLUGIN: {"miss": 5, "hit.disk": 2}}
    assert (total.processes, total.since, total.updated) == (2, -5.0, 9.0)


def test_a_family_is_summed_by_its_prefix():
    counts = {"hit.disk": 1, "hit.memory": 2, "hits": 4, "miss": 8}
    assert sum_of(counts, "hit.") == 3
    assert sum_of(counts, "hit") == 0
    assert sum_of(counts, "miss") == 8


def test_the_summary_says_what_people_ask_for():
    total = merge([tally(miss=1, **{"hit.disk": 2, "hit.memory": 1, "seconds.saved": 7.5})])
    total.subjects[Subject("other")] = {"bypass.streaming": 2, "error.timeout.s3": 1}
    found = summarise(total)
    assert (found["hits"], found["misses"], found["hit_rate"]) == (3, 1, 0.75)
    assert (found["bypasses"], found["errors"], found["seconds_saved"]) == (2, 1, 7.5)
    assert found["by_plugin"]["plugin"] == {"hits": 3, "misses": 1, "seconds_saved": 7.5}
    assert list(found["by_model"]) == ["model"]
    assert list(found["counters"]) == sorted(found["counters"])


def test_the_table_of_counters_has_a_text_for_each():
    assert all(name and text for name, text in COUNTERS.items())


FOREIGN = {
    "empty": b"",
    "torn": dump_tally(tally(miss=1), {})[:-5],
    "no json": b"\xff\xfe\x00",
    "no object": b"[1, 2]",
    "of another format": dump_tally(tally(miss=1), {}).replace(b'"format":1', b'"format":2'),
    "without subjects": b'{"format":1,"since":0,"updated":0,"processes":1,"absorbed":[]}',
    "with text for numbers": dump_tally(tally(miss=1), {}).replace(b'"miss":1', b'"miss":"x"'),
    "with a list for numbers": dump_tally(tally(miss=1), {}).replace(b'"miss":1', b'"miss":[]'),
    "infinitely many processes": dump_tally(tally(miss=1), {}).replace(
        b'"processes":1', b'"processes":1e999'
    ),
    "not a number": dump_tally(tally(miss=1), {}).replace(b'"miss":1', b'"miss":NaN'),
    "nested without end": b"[" * 200_000,
    "too large": b" " * (MAX_BYTES + 1),
}


@pytest.mark.parametrize("document", FOREIGN)
def test_a_document_that_is_not_ours_is_ignored_and_left(backend, document):
    save(backend, "ours.json", miss=2)
    save(backend, "other.json", miss=3)
    backend.put(f"{layout.COUNTERS}/foreign", FOREIGN[document])
    assert read_tally(backend).total("miss") == 5
    fold(backend, clock=lambda: NOW)
    assert read_tally(backend).total("miss") == 5
    assert "foreign" in names(backend)


def test_folding_keeps_the_sum_and_makes_one_document_of_the_old_ones(filled):
    before = read_tally(filled)
    assert fold(filled, clock=lambda: NOW) == 3
    assert len(names(filled)) == 2
    assert "new.json" in names(filled)
    after = read_tally(filled)
    assert after == before
    assert after.processes == 4


def test_folding_again_and_later_keeps_the_sum(filled):
    for day in range(4):
        now = NOW + day * 2 * FOLD_AFTER
        save(filled, f"later{day}.json", now, miss=100)
        fold(filled, clock=lambda now=now: now)
        assert read_tally(filled).total("miss") == 16 + 100 * (day + 1)
    assert len(names(filled)) <= 3


def test_a_single_old_document_is_left_alone(backend):
    save(backend, "old.json", miss=1)
    assert fold(backend, clock=lambda: NOW) == 0
    assert names(backend) == ["old.json"]


def test_documents_still_written_to_are_left_alone(backend):
    save(backend, "one.json", NOW - 60, miss=1)
    save(backend, "two.json", NOW, miss=1)
    assert fold(backend, clock=lambda: NOW) == 0


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_fold_that_dies_between_its_deletions_counts_nothing_twice(filled, deleted):
    left = [deleted]

    def die(path):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    filled.hooks["delete"] = die
    with pytest.raises(KeyboardInterrupt):
        fold(filled, clock=lambda: NOW)
    filled.mend()
    assert read_tally(filled).total("miss") == 16
    assert read_tally(filled).processes == 4
    fold(filled, clock=lambda: NOW)
    assert read_tally(filled).total("miss") == 16
    assert len(names(filled)) == 2


def test_a_fold_that_fails_to_write_deletes_nothing(filled):
    filled.fail("put", OSError(28, "full"))
    with pytest.raises(OSError, match="full"):
        fold(filled, clock=lambda: NOW)
    filled.mend()
    assert read_tally(filled).total("miss") == 16
    assert len(names(filled)) == 4


def test_a_fold_that_cannot_list_or_read_deletes_nothing(filled):
    for verb in ("list", "get"):
        filled.fail(verb, OSError(5, "broken"))
        with pytest.raises(OSError, match="broken"):
            fold(filled, clock=lambda: NOW)
        with pytest.raises(OSError, match="broken"):
            read_tally(filled)
        filled.mend()
    assert len(names(filled)) == 4


@pytest.mark.parametrize("moment", ["put", "delete"])
def test_two_folds_at_once_count_nothing_twice_and_lose_nothing(filled, moment):
    def another(path):
        filled.mend()
        fold(filled, clock=lambda: NOW)

    filled.hooks[moment] = another
    fold(filled, clock=lambda: NOW)
    assert read_tally(filled).total("miss") == 16
    fold(filled, clock=lambda: NOW)
    assert read_tally(filled).total("miss") == 16


def test_two_folds_that_both_died_before_deleting_count_once(backend):
    for number in (1, 2):
        save(backend, f"old{number}.json", miss=number)
    for number in (1, 2):
        save(backend, f"folded-{number}.json", absorbed={"old1.json", "old2.json"}, miss=3)
    assert read_tally(backend).total("miss") == 3
    fold(backend, clock=lambda: NOW)
    assert read_tally(backend).total("miss") == 3
    assert len(names(backend)) == 1


def test_two_folds_that_saw_different_documents_lose_nothing(backend):
    """One of them listed before a document became old; nothing has been deleted yet."""
    for number in (1, 2, 4):
        save(backend, f"old{number}.json", miss=number)
    save(backend, "folded-a.json", absorbed={"old1.json", "old2.json"}, miss=3)
    save(backend, "folded-b.json", absorbed={"old2.json", "old4.json"}, miss=6)
    assert read_tally(backend).total("miss") == 7
    fold(backend, clock=lambda: NOW)
    assert read_tally(backend).total("miss") == 7


def test_every_backend_keeps_counters(store):
    backend = store.backend
    save(backend, "one.json", miss=1)
    save(backend, "two.json", miss=2)
    assert fold(backend, clock=lambda: NOW) == 2
    assert read_tally(backend).total("miss") == 3


def test_a_document_names_its_process():
    document = json.loads(dump_tally(tally(miss=1), {"host": "a", "pid": 7}))
    assert document["process"] == {"host": "a", "pid": 7}


def test_a_document_that_vanishes_while_reading_is_not_counted():
    backend = MemoryBackend("counters-vanish")
    save(backend, "one.json", miss=1)
    save(backend, "two.json", miss=2)
    get = backend.get

    def get_none(path, **options):
        return None if path.endswith("two.json") else get(path, **options)

    backend.get = get_none
    assert read_tally(backend).total("miss") == 1
