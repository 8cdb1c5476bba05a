import threading

import pytest

from stepaudio_cas.artifact import codec
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.fingerprint import make_fingerprint
from stepaudio_cas.runtime.background import Background
from stepaudio_cas.runtime.chain import Chain
from stepaudio_cas.store import layout
from tests.runtime.helpers import (
    GENEROUS,
    call,
    chain,
    counted,
    quiet,
    store_entry,
    tier,
    value_in,
)
from tests.support.faulty import FaultyBackend
from tests.support.values import entry, recipe, tokens

KEY = recipe().key
OURS, THEIRS = ([1], [1]), ([2], [2])


@pytest.fixture
def near():
    return FaultyBackend()


@pytest.fixture
def far():
    made = FaultyBackend()
    yield made
    made.mend()


@pytest.fixture
def recorder():
    return quiet()


@pytest.fixture
def background():
    return Background()


@pytest.fixture
def subject(near, far, recorder, background):
    return chain(near, far, recorder=recorder, background=background)


def test_nothing_is_found_where_nothing_is(subject):
    assert subject.find(KEY) is None
    assert subject.find_many([KEY]) == {}


def test_the_first_tier_that_has_it_answers(subject, near, far):
    store_entry(near, value=OURS)
    store_entry(far, value=THEIRS)
    hit = subject.find(KEY)
    assert (hit.tier, hit.ready.fresh()) == ("t0", OURS)


def test_what_a_lower_tier_had_is_copied_to_those_above(subject, near, far, recorder, background):
    store_entry(far)
    hit = subject.find(KEY)
    assert (hit.tier, hit.ready.seconds) == ("t1", 1.5)
    assert subject.memory.get(KEY).fresh() == tokens()
    assert background.flush(GENEROUS) == 0
    assert value_in(near) == tokens()
    assert counted(recorder, "promoted") == 1
    assert counted(recorder, "bytes.read") == len(entry()[1])


def test_a_promotion_keeps_the_manifest_as_it_was(subject, near, far, background):
    store_entry(far)
    subject.find(KEY)
    background.flush(GENEROUS)
    path = layout.manifest_path(KEY)
    assert near.inner.get(path) == far.inner.get(path)


def test_a_promotion_does_not_replace_what_came_meanwhile(near, far, recorder):
    held = threading.Event()
    background = Background()
    background.submit(held.wait)
    subject = chain(near, far, recorder=recorder, background=background)
    store_entry(far, value=THEIRS)
    subject.find(KEY)
    store_entry(near, value=OURS)
    held.set()
    background.flush(GENEROUS)
    assert value_in(near) == OURS
    assert counted(recorder, "promoted") == counted(recorder, "lost") == 0


def test_a_tier_that_may_only_be_read_gets_no_promotion(near, far, recorder, background):
    store_entry(far)
    subject = chain(near, far, recorder=recorder, background=background, ro=(0,))
    assert subject.find(KEY).tier == "t1"
    assert background.flush(GENEROUS) == 0
    assert value_in(near) is None
    assert counted(recorder, "dropped") == 0


def test_a_poisoned_lower_tier_promotes_nothing(subject, near, far, recorder, background):
    store_entry(far)
    manifest, blob = entry()
    far.inner.put(layout.object_path(manifest.object), bytes(len(blob)))
    assert subject.find(KEY) is None
    assert background.flush(GENEROUS) == 0
    assert near.inner.get(layout.manifest_path(KEY)) is None
    assert counted(recorder, "error.object") == 1


def test_many_are_taken_from_the_first_tier_that_has_each(subject, near, far):
    for number in (0, 1):
        store_entry(near, number)
    for number in (1, 2):
        store_entry(far, number)
    keys = [recipe(n).key for n in range(4)]
    near.calls.clear()
    far.calls.clear()
    hits = subject.find_many(keys)
    assert {key: hit.tier for key, hit in hits.items()} == {
        keys[0]: "t0", keys[1]: "t0", keys[2]: "t1"
    }  # fmt: skip
    assert ("get", layout.manifest_path(keys[1])) not in far.calls


def test_a_new_artifact_is_in_the_first_store_at_once_and_in_the_rest_soon(near, far, recorder):
    held = threading.Event()
    background = Background()
    background.submit(held.wait)
    subject = chain(near, far, recorder=recorder, background=background)
    ready, ours = subject.keep(call(), tokens(), 2.5)
    assert (ready.fresh(), ready.seconds, ours) == (tokens(), 2.5, True)
    assert value_in(near) == tokens()
    assert value_in(far) is None
    held.set()
    assert background.flush(GENEROUS) == 0
    assert value_in(far) == tokens()
    assert counted(recorder, "stored") == 2
    assert counted(recorder, "bytes.written") == 2 * len(entry()[1])


def test_what_is_kept_does_not_change_with_the_value_that_was_given(subject):
    value = tokens()
    ready, _ = subject.keep(call(), value, 1.0)
    value[0].append(99)
    assert ready.fresh() == subject.memory.get(KEY).fresh() == tokens()


def test_the_fingerprint_is_described_in_every_store(subject, near, far, background):
    model = make_fingerprint(settings={"size": 3})
    described = recipe()._replace(fingerprint=model)
    subject.keep(call(recipe=described), tokens(), 1.0)
    background.flush(GENEROUS)
    path = layout.fingerprint_path(model.id)
    assert near.inner.get(path) == far.inner.get(path) == model.document


def test_what_there_is_no_room_for_is_counted_and_does_not_hold_up(near, far, recorder):
    background = Background(max_items=0)
    subject = chain(near, far, recorder=recorder, background=background)
    assert subject.keep(call(), tokens(), 1.0)[1]
    assert value_in(far) is None
    assert counted(recorder, "dropped") == 1


def test_what_a_lower_store_does_not_take_is_counted(subject, far, recorder, background):
    far.fail("put", OSError("down"))
    subject.keep(call(), tokens(), 1.0)
    background.flush(GENEROUS)
    assert counted(recorder, "dropped") == 1
    assert counted(recorder, "stored") == 1


def test_who_comes_second_to_the_first_store_gets_the_firsts(subject, near, far, background):
    store_entry(near, value=THEIRS)
    ready, ours = subject.keep(call(), OURS, 1.0)
    assert (ready.fresh(), ours) == (THEIRS, False)
    assert subject.memory.get(KEY).fresh() == THEIRS
    background.flush(GENEROUS)
    assert value_in(far) is None


def test_where_a_shared_store_had_another_first_all_tiers_end_with_that(
    subject, near, far, recorder, background
):
    store_entry(far, value=THEIRS)
    subject.keep(call(), OURS, 1.0)
    assert background.flush(GENEROUS) == 0
    assert value_in(near) == value_in(far) == THEIRS
    assert subject.memory.get(KEY).fresh() == THEIRS
    assert counted(recorder, "lost") == 1


def test_every_tier_above_the_shared_store_is_brought_into_line(near, far, background):
    middle = FaultyBackend()
    subject = chain(near, middle, far, background=background)
    store_entry(far, value=THEIRS)
    subject.keep(call(), OURS, 1.0)
    assert background.flush(GENEROUS) == 0
    assert [value_in(each) for each in (near, middle, far)] == [THEIRS] * 3


def test_nothing_is_brought_into_line_with_what_cannot_be_decoded(
    subject, near, far, recorder, background
):
    manifest, blob = entry(codec="later/9")
    tier(far).commit(manifest, blob)
    subject.keep(call(), OURS, 1.0)
    background.flush(GENEROUS)
    assert value_in(near) == subject.memory.get(KEY).fresh() == OURS
    assert counted(recorder, "error.undecodable") == 1


def test_an_entry_that_cannot_be_decoded_is_a_miss_and_the_next_tier_is_asked(
    subject, near, far, recorder
):
    manifest, blob = entry(codec="later/9")
    tier(near).commit(manifest, blob)
    store_entry(far)
    assert subject.find(KEY).tier == "t1"
    assert counted(recorder, "error.undecodable") == 1


def test_an_entry_that_cannot_be_decoded_is_not_counted_as_stored_by_us(near, recorder):
    manifest, blob = entry(codec="later/9")
    tier(near).commit(manifest, blob)
    ready, ours = chain(near, recorder=recorder).keep(call(), OURS, 1.0)
    assert (ready.fresh(), ours) == (OURS, True)
    assert counted(recorder, "stored") == 0


def test_an_entry_that_needs_a_library_that_is_not_there_is_a_miss(subject, near, monkeypatch):
    store_entry(near)

    def decode(*_):
        raise ImportError("no module named torch")

    monkeypatch.setattr(codec, "decode", decode)
    assert subject.find(KEY) is None


def test_refresh_writes_over_what_is_there_in_every_store(near, far, background):
    for backend in (near, far):
        store_entry(backend, value=THEIRS)
    subject = chain(near, far, background=background, overwrite=True)
    ready, ours = subject.keep(call(), OURS, 1.0)
    background.flush(GENEROUS)
    assert (ready.fresh(), ours) == (OURS, True)
    assert value_in(near) == value_in(far) == OURS


def test_in_a_chain_that_may_only_be_read_memory_alone_keeps(near):
    subject = chain(near, ro=(0,))
    subject.keep(call(), OURS, 1.0)
    assert subject.memory.get(KEY).fresh() == OURS
    assert near.calls == []


def test_an_artifact_that_cannot_be_kept_exactly_is_refused_before_anything_is_written(
    subject, near
):
    with pytest.raises(Bypass):
        subject.keep(call(), object(), 1.0)
    assert near.calls == []
    assert len(subject.memory) == 0


def test_when_the_first_store_fails_the_others_still_get_it(subject, near, far, background):
    near.fail("put", OSError("down"))
    ready, ours = subject.keep(call(), OURS, 1.0)
    background.flush(GENEROUS)
    assert (ready.fresh(), ours) == (OURS, True)
    assert value_in(far) == OURS


def test_a_chain_without_stores_is_memory(recorder):
    subject = Chain(chain().memory, [], recorder, Background())
    subject.keep(call(), OURS, 1.0)
    assert subject.memory.get(KEY).fresh() == OURS
    assert subject.find(KEY) is None
