import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepaudio_cas.store import layout
from stepaudio_cas.store import uses as module
from stepaudio_cas.store.backend import Entry
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.uses import FOLD_AFTER, Latest, dump_uses, load_uses, read_uses, short_of
from tests.support.values import recipe

KEY = recipe(1).key
NOW = 2_000_000_000.0


def latest(*documents):
    """Take in documents, each given as its time and what it says of keys."""
    made = Latest()
    for number, (mtime, uses) in enumerate(documents):
        made.add(Entry(f"{layout.USES}/{number}.json", 1, mtime), dump_uses(uses, int(mtime)))
    return made


def test_what_is_written_is_read_back():
    uses = {short_of(KEY): 1000, 0: 5, (1 << 64) - 1: 7}
    assert load_uses(dump_uses(uses, 2000), 2000.0) == uses


def test_a_key_stands_in_a_document_by_its_first_sixteen_digits():
    assert json.loads(dump_uses({short_of(KEY): 1000}, 2000)) == {
        "format": 1,
        "updated": 2000,
        "uses": {KEY[:16]: 1000},
    }


def test_the_clock_of_the_process_does_not_matter():
    data = dump_uses({1: 40, 2: 90, 3: 500}, 100)
    assert load_uses(data, NOW) == {1: NOW - 60, 2: NOW - 10, 3: NOW}


def test_the_latest_of_all_documents_and_of_the_manifest_counts():
    key, other = short_of(KEY), short_of(recipe(2).key)
    uses = latest((NOW, {key: int(NOW) - 50}), (NOW, {key: int(NOW) - 20, other: int(NOW)}))
    assert uses.of(KEY, NOW - 100) == NOW - 20
    assert uses.of(KEY, NOW - 10) == NOW - 10
    assert uses.of(recipe(3).key, 7.0) == 7.0
    assert Latest().of(KEY, 7.0) == 7.0


@given(st.lists(st.dictionaries(st.integers(0, 9), st.integers(0, 1000)), max_size=20))
def test_however_many_documents_there_are_only_the_latest_use_is_kept(documents):
    room, module._ROOM = module._ROOM, 4
    try:
        uses = latest(*((NOW, {k: int(NOW) - t for k, t in d.items()}) for d in documents))
    finally:
        module._ROOM = room
    for key in range(10):
        found = [NOW - d[key] for d in documents if key in d]
        assert uses.of(f"{key:064x}"[48:] + "0" * 48, 0.0) == max(found, default=0.0)
    assert len(uses) <= max(20, *(4 * len(d) for d in documents), 0) + 10


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"format":2,"updated":1,"uses":{}}',
        b'{"format":1,"updated":1}',
        b'{"format":1,"updated":"x","uses":{}}',
        b'{"format":1,"updated":1,"uses":[]}',
        b'{"format":1,"updated":1,"uses":{"000000000000000g":1}}',
        b'{"format":1,"updated":1,"uses":{"0000000000000001":null}}',
        b'{"format":1,"updated":1,"uses":{"0000000000000001":NaN}}',
        b'{"format":1,"updated":Infinity,"uses":{"0000000000000001":1}}',
        b"[" * 100_000,
    ],
)
def test_a_document_that_is_none_tells_nothing(data):
    assert load_uses(data, NOW) is None
    made = Latest()
    made.add(Entry("x", 1, NOW), data)
    assert made.of(KEY, 7.0) == 7.0


def test_names_that_are_no_keys_are_left_out():
    data = b'{"format":1,"updated":1,"uses":{"ab":1,"+000000000000001":1,"000000000000_001":1}}'
    assert load_uses(data, NOW) == {}


@pytest.fixture
def backend(tmp_path):
    return MemoryBackend(str(tmp_path))


def put(backend, name, uses, age=0.0):
    path = f"{layout.USES}/{name}.json"
    backend.put(path, dump_uses(uses, int(NOW - age)))
    backend._documents[path] = (backend.get(path), NOW - age)


def names(backend):
    return [found.path.rsplit("/", 1)[-1] for found in backend.list(layout.USES)]


def test_a_store_is_read_whole_and_what_is_far_too_large_is_passed_over(backend, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    put(backend, "a", {short_of(KEY): int(NOW) - 5})
    backend.put(f"{layout.USES}/b.json", bytes(1001))
    assert read_uses(backend).of(KEY, 0.0) == NOW - 5


def test_a_listing_that_fails_is_not_taken_for_no_uses(backend):
    def fail(prefix):
        raise OSError("down")

    backend.list = fail
    with pytest.raises(OSError, match="down"):
        read_uses(backend)


def test_folding_keeps_what_is_there_and_leaves_alone_who_still_writes(backend):
    gone = short_of(recipe(2).key)
    put(backend, "old", {short_of(KEY): int(NOW) - 90_000, gone: 5}, age=FOLD_AFTER + 1)
    put(backend, "young", {short_of(KEY): int(NOW) - 80_000}, age=FOLD_AFTER - 1)
    uses = read_uses(backend)
    used = uses.of(KEY, 0.0)
    assert uses.fold(backend, lambda key: key != gone, now=NOW) == 1
    folded, young = names(backend)
    assert (folded.startswith("folded-"), young) == (True, "young.json")
    assert read_uses(backend).of(KEY, 0.0) == pytest.approx(used, abs=1)
    assert read_uses(backend).of(recipe(2).key, 7.0) == 7.0


def test_what_is_folded_alone_is_not_folded_again(backend):
    put(backend, "folded-1", {1: 5}, age=3 * FOLD_AFTER)
    put(backend, "young", {1: 5})
    assert read_uses(backend).fold(backend, lambda key: True, now=NOW) == 0
    put(backend, "old", {1: 5}, age=2 * FOLD_AFTER)
    assert read_uses(backend).fold(backend, lambda key: True, now=NOW) == 2


def test_folded_documents_are_bounded_too(backend, monkeypatch):
    monkeypatch.setattr(module, "_FOLDED_KEYS", 10)
    keys = [short_of(recipe(n).key) for n in range(40)]
    put(backend, "old", dict.fromkeys(keys, 5), age=2 * FOLD_AFTER)
    read_uses(backend).fold(backend, lambda key: True, now=NOW)
    documents = [load_uses(backend.get(e.path), NOW) for e in backend.list(layout.USES)]
    assert sorted(key for uses in documents for key in uses) == sorted(keys)
    assert len(documents) > 2


def test_whoever_is_killed_while_folding_has_lost_nothing(backend):
    put(backend, "old", {short_of(KEY): int(NOW) - 90_000}, age=2 * FOLD_AFTER)
    used = read_uses(backend).of(KEY, 0.0)

    def die(path):
        raise KeyboardInterrupt

    delete, backend.delete = backend.delete, die
    with pytest.raises(KeyboardInterrupt):
        read_uses(backend).fold(backend, lambda key: True, now=NOW)
    backend.delete = delete
    assert len(names(backend)) == 2
    assert read_uses(backend).of(KEY, 0.0) == pytest.approx(used, abs=1)
