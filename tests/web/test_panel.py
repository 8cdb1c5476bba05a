"""What a panel shows, whoever draws it."""

import asyncio

import pytest

import stepaudio_cas as cas
from stepaudio_cas.errors import SettingError
from stepaudio_cas.settings import Settings
from stepaudio_cas.store.store import Store
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.panel import TIERS, Panel
from stepaudio_cas.web.source import Source, of_cache, of_settings
from tests.support.faulty import FaultyBackend
from tests.support.processes import in_child, wait_until
from tests.web.chromium import encode

SETTINGS = Settings(stores=("there",))


def of(cache):
    def source(observer):
        cache.recorder.listen(observer)
        return of_cache(cache, SETTINGS, observer)

    return source


def look(panel):
    return asyncio.run(panel.look())


def test_it_tells_of_each_call_of_this_process(open_cache):
    cache = open_cache()
    panel = Panel(of(cache))
    encode(cache, "anna.wav")
    encode(cache, "anna.wav")
    cache.bypassed(cas.Bypass("stateful", "a session"), "host.tokens")
    cache.recorder.error("store.disk", "it is full\nquite full")
    cache.flush()
    view = look(panel)
    assert view.figures[:3] == ("1", "1", "50.0%")
    assert view.figures[4] == "1"
    assert "this process: 1 hit, 1 miss · 1 bypass · 1 error" in view.status
    lines = view.log.splitlines()
    assert [line.split()[1] for line in lines] == ["miss", "hit", "bypass", "error"]
    assert all("anna.wav" in line for line in lines[:2])
    assert lines[3].endswith("store.disk it is full quite full")
    (disk, memory) = view.tiers
    assert len(disk) == len(TIERS)
    assert (disk[0], disk[3], disk[6]) == ("disk", "1", "in use")
    assert (memory[0], memory[2], memory[6]) == ("memory", "1", "this process")
    assert look(panel).log == view.log


def test_names_of_voices_are_left_out_where_that_is_asked_for(open_cache):
    cache = open_cache()
    panel = Panel(of(cache), voices=False)
    encode(cache, "anna.wav")
    cache.bypassed(cas.Bypass("stateful", "for anna.wav"), "host.tokens")
    cache.recorder.error("store.disk", "anna.wav cannot be read")
    said = look(panel).log
    assert all(word in said for word in ("host.tokens", "stateful", "store.disk"))
    assert "anna" not in said


def test_a_store_has_figures_without_a_cache_in_this_process(store):
    view = look(Panel(lambda _: of_settings(Settings(stores=(str(store),), max_size=20_000))))
    assert view.figures[:2] == ("3", "4")
    assert "of 20.0 KB" in view.figures[5]
    assert view.tiers[0][6] == "answers"
    assert "they are not told one by one" in view.log


def test_of_a_store_that_is_away_nothing_is_said_that_is_not_known(store):
    away = "redis://127.0.0.1:1/0"
    view = look(Panel(lambda _: of_settings(Settings(stores=(away, str(store))))))
    assert view.figures[:2] == ("3", "4")
    assert view.figures[4:] == ("unknown", "unknown")
    assert [tier[3] for tier in view.tiers[:2]] == ["", "4"]
    assert "does not answer" in view.status


def test_a_tier_that_is_left_alone_is_said(open_cache):
    cache = open_cache()
    cache.chain.tiers[0].reading.failed(final=True)
    assert look(Panel(of(cache))).tiers[0][6] == "reading suspended after failures"


def test_a_setting_that_is_wrong_is_said_to_whoever_looks():
    def source(_):
        raise SettingError("STEPAUDIO_CAS is not set")

    view = look(Panel(source))
    assert view.status == "STEPAUDIO_CAS is not set"
    assert set(view.figures) == {"none yet"}


@pytest.mark.parametrize(
    ("error", "said"),
    [(ApiError(503, "it is away", "wait"), "it is away"), (RuntimeError(), "RuntimeError")],
)
def test_what_goes_wrong_is_said_in_words(error, said):
    def source(_):
        raise error

    assert look(Panel(source)).status == said


def test_nobody_waits_for_a_store_that_hangs_and_the_last_figures_stay(monkeypatch):
    monkeypatch.setattr("stepaudio_cas.web.panel.PATIENCE", 0.05)
    monkeypatch.setattr("stepaudio_cas.web.figures.FAR", 0.0)
    monkeypatch.setattr("stepaudio_cas.web.figures._PER_SECOND", 0.0)
    backend = FaultyBackend()
    panel = Panel(lambda _: Source([Store(backend)], SETTINGS))
    wait_until(lambda: look(panel).figures[0] == "0")
    for verb in ("list", "get"):
        backend.hang(verb)
    wait_until(lambda: "has not answered yet" in look(panel).status)
    asked = len(backend.calls)
    for _ in range(5):
        assert look(panel).figures[0] == "0"
    assert len(backend.calls) == asked  # what goes on already is not begun again
    backend.mend()
    wait_until(lambda: look(panel).status.startswith("looked at"))


def test_a_forked_worker_has_figures_of_its_own(open_cache):
    cache = open_cache()
    panel = Panel(of(cache))
    encode(cache, "anna.wav")
    assert "1 miss" in look(panel).status

    def child():
        encode(cache, "ben.wav")
        encode(cache, "ben.wav")
        return look(panel).status

    assert "this process: 1 hit, 1 miss" in in_child(child)


@pytest.mark.parametrize(("number", "left_out"), [(3, 0), (99, 0), (100, 1), (600, 501)])
def test_of_many_calls_the_last_are_shown_and_the_rest_counted(open_cache, number, left_out):
    cache = open_cache()
    panel = Panel(of(cache))
    for _ in range(number):
        cache.bypassed(cas.Bypass("stateful"), "host.tokens")
    first, *lines = look(panel).log.splitlines()
    assert len(lines) == min(number, 100) - 1
    assert (f"{left_out} more" in first) is bool(left_out)
