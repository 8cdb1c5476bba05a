"""Which keys are asked for most: exact for few keys, bounded and honest for many."""

import itertools
import random
from collections import Counter

import pytest

from stepaudio_cas import make_recipe
from stepaudio_cas.identity.digest import digest_bytes
from stepaudio_cas.store.hottest import LISTED, Heat, Heating, Hottest, load_hottest

A, B, C = (digest_bytes(bytes([n])) for n in range(3))


def recipes(count):
    return [make_recipe("t", params={"n": n}) for n in range(count)]


def test_few_keys_are_counted_exactly_with_the_name_of_their_recording(tmp_path):
    (tmp_path / "anna.wav").write_bytes(b"RIFF")
    named = make_recipe("t", inputs={"audio": tmp_path / "anna.wav"})
    [other] = recipes(1)
    heating = Heating()
    for recipe, saved in ((named, 1.0), (other, 2.0), (named, 0.5)):
        heating.hit(recipe, saved)
    assert heating.table() == Hottest(
        {named.key: Heat(2, 1.5, "anna.wav"), other.key: Heat(1, 2.0, "")}, 0
    )


@pytest.mark.parametrize("seed", range(3))
def test_with_many_keys_no_number_is_too_high_and_none_lacks_more_than_is_said(seed):
    chance, many = random.Random(seed), recipes(5000)
    heating, truth = Heating(), Counter()
    for _ in range(60_000):
        hot = chance.random() < 0.3
        recipe = many[chance.randrange(20 if hot else 5000)]
        heating.hit(recipe, 1.0)
        truth[recipe.key] += 1
    table = heating.table()
    assert 0 < table.short <= 60_000 / 1000
    assert len(table.keys) <= 2000
    for key, hits in truth.items():
        assert hits - table.short <= table.keys.get(key, Heat(0, 0)).hits <= hits
    listed = table.top()
    assert len(listed.keys) == LISTED
    assert {key for key, _ in truth.most_common(20)} <= listed.keys.keys()
    for key in truth.keys() - listed.keys.keys():
        assert truth[key] <= listed.short


def test_a_voice_that_comes_late_is_still_found():
    heating, many = Heating(), recipes(9001)
    for recipe in many[1:]:
        for _ in range(3):
            heating.hit(recipe, 1.0)
    for _ in range(50):
        heating.hit(many[0], 1.0)
    assert next(iter(heating.table().top(1).keys)) == many[0].key


def test_a_voice_that_is_asked_for_now_and_then_displaces_what_nobody_asks_for_any_more():
    heating, many = Heating(), recipes(21_001)
    for recipe in many[1:1001]:
        for _ in range(100):
            heating.hit(recipe, 1.0)
    for turn in range(20):
        for _ in range(50):
            heating.hit(many[0], 1.0)
        for recipe in many[1001 + turn * 1000 :][:1000]:
            heating.hit(recipe, 1.0)
    [(key, heat)] = heating.table().top(1).keys.items()
    assert key == many[0].key
    assert heat.seconds == pytest.approx(heat.hits)


def test_tables_are_added_and_taken_apart():
    one = Hottest({A: Heat(3, 1.5, "a"), B: Heat(1, 0.5)}, 2)
    other = Hottest({B: Heat(2, 1.0, "b"), C: Heat(1, 0.5)}, 1)
    both = one.plus(other)
    assert both == Hottest({A: Heat(3, 1.5, "a"), B: Heat(3, 1.5, "b"), C: Heat(1, 0.5)}, 3)
    assert both.minus(one).keys == {B: Heat(2, 1.0, "b"), C: Heat(1, 0.5)}
    assert one.minus(both).keys == {}
    assert one.peak(other).keys == {A: Heat(3, 1.5, "a"), B: Heat(2, 1.0, "b"), C: Heat(1, 0.5)}
    assert one.only({A}).keys == {A: Heat(3, 1.5, "a")}


def test_what_is_left_out_is_said():
    table = Hottest({A: Heat(5, 1.0), B: Heat(9, 1.0), C: Heat(2, 1.0)}, 1)
    assert table.top(1) == Hottest({B: Heat(9, 1.0)}, 6)
    assert table.top(3) is table


def test_a_document_lists_a_hundred_keys_and_comes_back():
    many = {digest_bytes(bytes([n])): Heat(n + 1, 0.5, f"{n}.wav") for n in range(150)}
    document = Hottest(many).dump()
    assert len(document["keys"]) == LISTED
    assert document["keys"][0] == {"key": digest_bytes(bytes([149])), "hits": 150,
                                   "seconds": 0.5, "name": "149.wav"}  # fmt: skip
    assert document["short"] == 50
    assert load_hottest(document) == Hottest(many).top()
    assert load_hottest(None) == Hottest()


ITEM = {"key": A, "hits": 1, "seconds": 1, "name": ""}


@pytest.mark.parametrize(
    "wrong",
    [[], {}, {"keys": [ITEM]}, *(
        {"keys": [ITEM | change], "short": 0}
        for change in ({"key": "../x"}, {"hits": "many"}, {"seconds": float("nan")})
    )],
)  # fmt: skip
def test_what_is_no_such_table_is_refused(wrong):
    with pytest.raises((ValueError, KeyError, TypeError)):
        load_hottest(wrong)


def test_a_document_with_more_than_it_may_list_is_cut():
    keys = [ITEM | {"key": digest_bytes(b"%d" % n)} for n in range(3 * LISTED)]
    assert len(load_hottest({"keys": keys, "short": 0}).keys) == LISTED


def test_adding_up_in_any_order_is_the_same():
    tables = [Hottest({A: Heat(n, 1.0), (B, C)[n % 2]: Heat(1, 0.5)}, n) for n in range(1, 4)]
    sums = set()
    for order in itertools.permutations(tables):
        total = Hottest()
        for table in order:
            total = total.plus(table)
        sums.add((tuple(sorted(total.keys.items())), total.short))
    assert len(sums) == 1
