"""`cas-tool pin`: what is pinned, as what, and what is refused."""

import pytest

from stepaudio_cas.maintenance.pins import read_pin
from stepaudio_cas.runtime.keeper import Keeper
from stepaudio_cas.store import layout
from tests.cli.terminal import on_terminal, plain
from tests.runtime.helpers import quiet

NOT_THERE = "ab" * 32


def test_voices_keys_and_filters_are_pinned(drawer):
    anna, bob = drawer.voice(1, "anna.wav"), drawer.voice(2, "bob.wav")
    line = {"key": anna.key, "voice": "anna.wav", "pinned": True, "changed": True}
    assert drawer.tool("pin", "anna.wav") == (0, [line])
    assert drawer.tool("pin", anna.key[:6]) == (0, [{**line, "changed": False}])
    assert drawer.pins() == {anna.key}
    assert read_pin(drawer.backend, anna.key).label == "anna.wav"
    assert drawer.tool("pin", "--label", "b*", "--as", "house voice")[0] == 0
    assert read_pin(drawer.backend, bob.key).label == "house voice"


def test_a_pinned_entry_outlives_the_bounds_of_the_store(drawer):
    kept = drawer.voice(1, "anna.wav", hours=100)
    drawer.voice(2, "bob.wav", hours=1)
    drawer.tool("pin", "anna.wav")
    Keeper(drawer.backend, quiet(), max_size=1, ttl=None).run()
    assert drawer.entries() == {kept.key}
    assert drawer.store.read(kept.key) is not None


def test_a_key_that_is_not_there_is_refused_unless_forced(drawer):
    assert drawer.tool("pin", NOT_THERE) == (1, [])
    assert NOT_THERE in drawer.said
    assert drawer.pins() == set()
    code, [line] = drawer.tool("pin", NOT_THERE, "--force")
    assert (code, line["key"], line["changed"]) == (0, NOT_THERE, True)
    assert drawer.pins() == {NOT_THERE}


def test_force_is_for_whole_keys(drawer):
    assert drawer.tool("pin", "nobody.wav", "--force")[0] == 1
    assert drawer.pins() == set()


def test_an_entry_that_goes_before_its_pin_is_there_is_not_pinned(drawer, monkeypatch):
    manifest = drawer.voice(1, "anna.wav")
    put = type(drawer.backend).put

    def late(backend, path, data, **options):
        if path.startswith(layout.PINS):
            backend.delete(layout.manifest_path(manifest.key))
        return put(backend, path, data, **options)

    monkeypatch.setattr(type(drawer.backend), "put", late)
    assert drawer.tool("pin", "anna.wav") == (1, [])
    assert drawer.pins() == set()


def test_a_dry_run_pins_nothing(drawer):
    drawer.voice(1, "anna.wav")
    code, [line] = drawer.tool("pin", "anna.wav", "--dry-run")
    assert (code, line["changed"]) == (0, True)
    assert drawer.pins() == set()


@pytest.mark.parametrize("words", [[], ["--force"], ["--as", "x"]])
def test_pinning_everything_by_mistake_is_refused(drawer, words):
    drawer.voice(1)
    assert drawer.tool("pin", *words) == (2, [])
    assert drawer.pins() == set()


def test_a_terminal_is_told(drawer):
    manifest = drawer.voice(1, "anna.wav")
    short = manifest.key[:12]
    for line in (f"{short}  anna.wav", f"{short}  anna.wav  (as it was)"):
        code, text = on_terminal("pin", "anna.wav", "--store", drawer.root)
        said = f"{line}\n1 entry pinned in {drawer.store.url}\n"
        assert (code, plain(text)) == (0, said)
