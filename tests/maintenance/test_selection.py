"""Which entries are meant by conditions, keys and names."""

import time

import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.selection import NotThere, Selection, wanted
from stepaudio_cas.store import layout
from stepaudio_cas.store.pins import pin
from stepaudio_cas.store.uses import dump_uses, short_of
from tests.maintenance.stock import HOUR, Stock
from tests.support.faulty import FaultyBackend


@pytest.fixture
def stock():
    return Stock()


def meant(stock, *words, selection=None, **options):
    found = wanted(stock.backend, selection or Selection(), words, **options)
    return {kept.key for kept in found.entries(stock.backend)}


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({}, {1, 2, 3}),
        ({"plugin": "speech"}, {1, 2}),
        ({"plugin": "speech.Host"}, {1, 2}),
        ({"plugin": "speech.Host.tokens/1"}, {1}),
        ({"plugin": "spee"}, set()),
        ({"plugin": "*.tokens/*"}, {1}),
        ({"model": "aa"}, {1}),
        ({"model": "a"}, {1, 2}),
        ({"label": "anna*"}, {1, 2}),
        ({"label": "presets/*"}, {2}),
        ({"label": "upload.wav"}, {3}),
        ({"label": "anna*", "model": "ab"}, {2}),
        ({"larger": 700}, {3}),
        ({"older": 3600.0}, set()),
    ],
    ids=str,
)
def test_every_condition_must_hold(stock, selection, found):
    added = {
        1: stock.add(1, plugin="speech.Host.tokens/1", schema="speech.Host.tokens/1",
                     fingerprint="aa", label="anna.wav"),
        2: stock.add(2, plugin="speech.Host.mel/1", schema="speech.Host.mel/1",
                     fingerprint="ab", label="presets/anna two.wav"),
        3: stock.add(3, value=[b"x" * 500], inputs={"audio": {"name": "upload.wav"}}),
    }  # fmt: skip
    assert meant(stock, selection=Selection(**selection)) == {added[n].key for n in found}


def test_age_counts_from_the_last_use(stock):
    old, new = stock.add(1), stock.add(2)
    stock.age(layout.manifest_path(old.key), 3)
    assert meant(stock, selection=Selection(older=2 * HOUR)) == {old.key}
    assert meant(stock, selection=Selection(older=4 * HOUR)) == set()
    in_a_day = wanted(
        stock.backend, Selection(older=2 * HOUR), clock=lambda: time.time() + 24 * HOUR
    )
    assert {kept.key for kept in in_a_day.entries(stock.backend)} == {old.key, new.key}


def test_a_use_that_only_a_journal_tells_counts(stock):
    used, unused = stock.add(1), stock.add(2)
    for manifest in (used, unused):
        stock.age(layout.manifest_path(manifest.key), 100)
    now = int(time.time())
    stock.backend.put(f"{layout.USES}/p.json", dump_uses({short_of(used.key): now}, now))
    assert meant(stock, selection=Selection(older=50 * HOUR)) == {unused.key}
    timed = wanted(stock.backend, words=[used.key], timed=True)
    [kept] = timed.entries(stock.backend)
    assert kept.entry.mtime > now - HOUR


def test_a_damaged_entry_has_only_its_key(stock):
    manifest = stock.add(1, label="anna.wav")
    stock.damage(manifest)
    assert meant(stock) == meant(stock, manifest.key) == {manifest.key}
    assert meant(stock, selection=Selection(label="*")) == set()


def test_beginnings_of_keys_can_be_a_condition(stock):
    first, second = stock.add(1), stock.add(2)
    assert meant(stock, selection=Selection(keys=(first.key[:9], "zz"))) == {first.key}
    assert meant(stock, selection=Selection(keys=(first.key, second.key[:9]))) == stock.entries()


def test_a_word_is_a_key_its_beginning_its_path_or_a_voice(stock):
    manifest = stock.add(1, label="presets/anna.wav")
    stock.add(2, label="bob.wav")
    path = layout.manifest_path(manifest.key)
    for word in (manifest.key, manifest.key[:4], path, "anna.wav", "presets/anna.wav", "an*"):
        assert meant(stock, word) == {manifest.key}


def test_words_add_up_and_conditions_narrow(stock):
    first, second = stock.add(1, label="anna.wav"), stock.add(2, label="bob.wav")
    stock.add(3, label="eve.wav")
    assert meant(stock, first.key, "bob.wav") == {first.key, second.key}
    assert meant(stock, first.key, "bob.wav", selection=Selection(label="b*")) == {second.key}
    assert meant(stock, first.key, selection=Selection(label="b*")) == set()


def test_what_it_is_pinned_as_is_a_name_as_well(stock):
    manifest, other = stock.add(1, label="/v/anna.wav"), stock.add(2, label="/v/bob.wav")
    pin(stock.backend, manifest.key, label="/v/moved.wav")
    pin(stock.backend, other.key)
    for word in ("/v/moved.wav", "moved.wav", "mov*", "anna.wav"):
        assert meant(stock, word) == {manifest.key}
        assert meant(stock, selection=Selection(label=word)) == {manifest.key}
    stock.damage(manifest)
    assert meant(stock, "moved.wav") == {manifest.key}


def test_the_pin_of_what_is_not_there_is_no_voice(stock):
    stock.add(1, label="anna.wav")
    pin(stock.backend, "00" * 32, label="moved.wav")
    with pytest.raises(NotThere):
        meant(stock, "moved.wav")


def test_pins_are_only_read_if_a_name_is_asked_for(stock):
    manifest = stock.add(1, label="anna.wav")
    pin(stock.backend, manifest.key, label="moved.wav")
    faulty = FaultyBackend(stock.backend)
    found = wanted(faulty, Selection(plugin="x"), [manifest.key])
    assert list(found.entries(faulty)) == []
    assert not [path for _, path in faulty.calls if path.startswith(layout.PINS)]


def test_all_entries_of_one_voice_are_meant(stock):
    added = {stock.add(number, label="anna.wav").key for number in range(3)}
    assert meant(stock, "anna.wav") == added


def test_a_name_with_brackets_is_itself(stock):
    manifest = stock.add(1, label="anna [1].wav")
    stock.add(2, label="anna 1.wav")
    assert meant(stock, "anna [1].wav") >= {manifest.key}


def put_at(stock, *keys):
    for key in keys:
        stock.backend.put(layout.manifest_path(key), b"damaged")


def test_digits_that_begin_two_keys_are_refused_by_name(stock):
    first, second = "abcd1" + "0" * 59, "abcd2" + "0" * 59
    put_at(stock, first, second)
    with pytest.raises(SettingError, match="abcd begins 2 keys: abcd10000000, abcd20000000; give"):
        meant(stock, "abcd")
    assert meant(stock, "abcd1") == {first}
    assert meant(stock, "abcd", several=True) == {first, second}
    assert meant(stock, "a", several=True) == {first, second}


def test_fewer_than_four_digits_are_no_key_unless_several_may_be_meant(stock):
    put_at(stock, "abcd1" + "0" * 59)
    with pytest.raises(NotThere):
        meant(stock, "abc")


def test_a_voice_may_look_like_digits(stock):
    manifest = stock.add(1, label="cafe")
    assert meant(stock, "cafe") == {manifest.key}


@pytest.mark.parametrize("word", ["0" * 64, "0000000", "nobody.wav", "no*"])
def test_what_is_not_there_is_named(stock, word):
    stock.add(1, label="anna.wav")
    with pytest.raises(NotThere) as error:
        meant(stock, "anna.wav", word)
    assert word in str(error.value)


def test_one_key_is_found_without_looking_at_others(stock):
    first, second = stock.add(1), stock.add(2)
    faulty = FaultyBackend(stock.backend)
    found = wanted(faulty, words=[first.key])
    assert [kept.key for kept in found.entries(faulty)] == [first.key]
    assert "list" not in {verb for verb, _ in faulty.calls}
    assert not [path for _, path in faulty.calls if second.key in path]
