"""`cas-tool unpin`: pins go, entries stay."""

import pytest

from stepaudio_cas.maintenance.pins import pin
from tests.cli.terminal import on_terminal, plain

NOT_THERE = "ab" * 32


@pytest.fixture
def pinned(drawer):
    anna, bob = drawer.voice(1, "anna.wav"), drawer.voice(2, "bob.wav", plugin="mine")
    for key in (anna.key, bob.key, NOT_THERE):
        pin(drawer.backend, key)
    return anna.key, bob.key


def test_a_pin_goes_by_key_voice_or_filter_and_its_entry_stays(drawer, pinned):
    anna, bob = pinned
    line = {"key": anna, "voice": "anna.wav", "pinned": False, "changed": True}
    assert drawer.tool("unpin", "anna.wav") == (0, [line])
    assert drawer.pins() == {bob, NOT_THERE}
    drawer.tool("unpin", "--plugin", "mine")
    assert drawer.pins() == {NOT_THERE}
    drawer.tool("unpin", NOT_THERE[:6])
    assert drawer.pins() == set()
    assert drawer.entries() == {anna, bob}


def test_all_pins_go_if_that_is_said(drawer, pinned):
    code, lines = drawer.tool("unpin", "--all")
    assert (code, len(lines)) == (0, 3)
    assert drawer.pins() == set()


def test_a_dry_run_takes_nothing_away(drawer, pinned):
    code, lines = drawer.tool("unpin", "--all", "--dry-run")
    assert (code, len(lines)) == (0, 3)
    assert len(drawer.pins()) == 3


@pytest.mark.parametrize(("words", "code"), [([], 2), (["eve.wav"], 1), (["anna.wav", "eve"], 1)])
def test_nothing_goes_by_mistake(drawer, pinned, words, code):
    assert drawer.tool("unpin", *words) == (code, [])
    assert len(drawer.pins()) == 3


def test_a_terminal_is_told(drawer, pinned):
    code, text = on_terminal("unpin", "anna.wav", "--store", drawer.root)
    said = f"{pinned[0][:12]}  anna.wav\n1 entry unpinned in {drawer.store.url}\n"
    assert (code, plain(text)) == (0, said)
