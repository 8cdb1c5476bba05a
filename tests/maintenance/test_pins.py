"""Pins: made, read and taken away on every backend, and found by whatever names them."""

import json

import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.maintenance.inventory import pinned
from stepaudio_cas.maintenance.pins import Pin, chosen, pin, read_pin, unpin
from stepaudio_cas.maintenance.selection import NotThere, Selection
from stepaudio_cas.store import layout
from tests.maintenance.stock import Stock
from tests.support.backends import BACKENDS

KEY = "ab" * 32


@pytest.fixture(params=BACKENDS)
def backend(request, tmp_path):
    folder = tmp_path / f"pins-{request.node.name}"
    folder.mkdir()
    return BACKENDS[request.param](folder)


@pytest.fixture
def stock():
    return Stock()


def test_a_pin_says_since_when_and_as_what(backend):
    assert pin(backend, KEY, label="anna.wav", clock=lambda: 1_800_000_000.0)
    assert read_pin(backend, KEY) == Pin("2027-01-15T08:00:00Z", "anna.wav")
    document = json.loads(backend.get(f"v1/pins/ab/{KEY}"))
    assert document == {"label": "anna.wav", "since": "2027-01-15T08:00:00Z"}
    assert pinned(backend) == {KEY}


def test_the_first_pin_stands(backend):
    pin(backend, KEY, label="first")
    assert not pin(backend, KEY, label="second")
    assert read_pin(backend, KEY).label == "first"


def test_a_pin_is_taken_away_once(backend):
    pin(backend, KEY)
    assert unpin(backend, KEY)
    assert not unpin(backend, KEY)
    assert read_pin(backend, KEY) is None
    assert pinned(backend) == set()


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b"x" * (1 << 17), b"[" * 100_000])
def test_that_it_exists_is_what_counts(stock, content):
    stock.backend.put(layout.pin_path(KEY), content)
    assert read_pin(stock.backend, KEY) == Pin()
    assert pinned(stock.backend) == {KEY}


def test_pins_are_found_by_key_beginning_voice_and_condition(stock):
    first = stock.add(1, label="anna.wav")
    second = stock.add(2, label="bob.wav", plugin="speech")
    stock.add(3, label="anna.wav")
    for key in (first.key, second.key, KEY):
        pin(stock.backend, key)
    everything = {(first.key, "anna.wav"), (second.key, "bob.wav"), (KEY, "")}
    assert set(chosen(stock.backend)) == everything
    for word in (first.key, first.key[:6], "anna.wav", "an*"):
        assert chosen(stock.backend, words=[word]) == [(first.key, "anna.wav")]
    assert chosen(stock.backend, words=[KEY[:4]]) == [(KEY, "")]
    assert chosen(stock.backend, Selection(plugin="speech")) == [(second.key, "bob.wav")]
    assert chosen(stock.backend, Selection(plugin="speech"), ["anna.wav"]) == []


def test_pins_are_found_by_what_they_say(stock):
    first = stock.add(1, label="anna.wav")
    pin(stock.backend, first.key, label="/v/moved.wav")
    pin(stock.backend, KEY, label="gone.wav")
    assert chosen(stock.backend, words=["moved.wav"]) == [(first.key, "/v/moved.wav")]
    assert chosen(stock.backend, words=["gone.wav"]) == [(KEY, "gone.wav")]


def test_a_pin_that_is_not_there_is_named(stock):
    manifest = stock.add(1, label="anna.wav")
    with pytest.raises(NotThere, match=r"anna\.wav"):
        chosen(stock.backend, words=["anna.wav"])
    with pytest.raises(NotThere, match=manifest.key):
        chosen(stock.backend, words=[manifest.key])


def test_digits_that_begin_two_pins_are_refused(stock):
    pin(stock.backend, "abcd1" + "0" * 59), pin(stock.backend, "abcd2" + "0" * 59)
    with pytest.raises(SettingError, match="begins 2 keys"):
        chosen(stock.backend, words=["abcd"])


def test_three_digits_are_no_key(stock):
    pin(stock.backend, KEY)
    with pytest.raises(NotThere):
        chosen(stock.backend, words=[KEY[:3]])
