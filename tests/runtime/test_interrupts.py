"""A host that limits a call by a signal gets the exception that its handler has raised."""

import functools
import signal

import numpy as np
import pytest

from stepaudio_cas.identity import recipe as recipes
from stepaudio_cas.runtime.interrupts import interrupt_in
from tests.support.values import recipe, tokens


class TooLongError(Exception):
    """What the host raises in its handler."""


class SocketTimeoutError(TimeoutError):
    """A host's exception of a kind that we take for our own trouble."""


def handler_raising(error):
    def handle(number, frame):
        raise error

    return handle


class Handler:
    def __init__(self, error):
        self.error = error

    def __call__(self, number, frame):
        raise self.error

    def handle(self, number, frame, extra=None):
        raise self.error


SHAPES = {
    "function": handler_raising,
    "method": lambda error: Handler(error).handle,
    "object": Handler,
    "partial": lambda error: functools.partial(Handler(error).handle, extra=1),
}


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


@pytest.fixture
def alarm():
    """Install a handler; what it returns strikes as the signal would."""
    before, armed = signal.getsignal(signal.SIGUSR1), [True]

    def install(error, shape=handler_raising):
        signal.signal(signal.SIGUSR1, shape(error))

        def strike(*args, **kwargs):
            if armed:
                signal.raise_signal(signal.SIGUSR1)

        return strike

    yield install
    armed.clear()
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("error", [TooLongError(), SocketTimeoutError(), SystemExit(3)])
def test_it_is_not_lost_while_a_recording_is_hashed(open_cache, alarm, monkeypatch, shape, error):
    @open_cache().cached(version="1")
    def encode(audio):
        return [1]

    monkeypatch.setattr(recipes, "digest_array", alarm(error, shape))
    with pytest.raises(type(error)) as caught:
        encode(np.zeros(4, "float32"))
    assert caught.value is error


def test_it_is_not_lost_while_a_file_is_read(open_cache, alarm, monkeypatch, tmp_path):
    cache = open_cache()

    @cache.cached(version="1")
    def encode(path):
        return [1]

    error = SocketTimeoutError()
    monkeypatch.setattr(cache.files, "digest", alarm(error))
    with pytest.raises(SocketTimeoutError):
        encode(tmp_path / "voice.wav")


@pytest.mark.parametrize("verb", ["read", "commit", "try_lock"])
def test_it_is_not_taken_for_trouble_with_the_store(open_cache, alarm, monkeypatch, verb):
    cache = open_cache()
    tier, error = cache.chain.tiers[0], SocketTimeoutError()
    monkeypatch.setattr(tier, "_in_worker", lambda _: lambda seconds: strike())
    calls = {
        "read": lambda: tier.read(recipe().key),
        "commit": lambda: tier.commit(None, b""),
        "try_lock": lambda: tier.try_lock(recipe().key),
    }
    strike = alarm(error)
    with pytest.raises(SocketTimeoutError):
        calls[verb]()
    assert not cache.recorder.tally().subjects


def test_it_ends_a_call_that_looks_up(open_cache, alarm, monkeypatch):
    cache = open_cache()
    for verb in ("find", "find_many"):
        monkeypatch.setattr(cache.chain, verb, alarm(TooLongError()))
    for call in (
        lambda: cache.get_or_compute(recipe(), tokens),
        lambda: cache.get(recipe()),
        lambda: cache.get_many([recipe()], lambda _: [tokens()]),
    ):
        with pytest.raises(TooLongError):
            call()
    monkeypatch.undo()
    assert cache.get_or_compute(recipe(), tokens) == tokens()


def test_it_ends_a_call_that_keeps_a_result(open_cache, alarm, monkeypatch):
    cache = open_cache()
    monkeypatch.setattr(cache.chain, "keep", alarm(TooLongError()))
    with pytest.raises(TooLongError):
        cache.get_or_compute(recipe(), tokens)
    with pytest.raises(TooLongError):
        cache.put(recipe(), tokens())


def test_it_ends_a_hit_in_memory(open_cache, alarm, monkeypatch):
    cache = open_cache(memory="1MB")
    cache.put(recipe(), tokens())
    monkeypatch.setattr(cache.recorder, "hit", alarm(TooLongError()))
    with pytest.raises(TooLongError):
        cache.get_or_compute(recipe(), tokens)


def test_what_fails_by_itself_is_not_an_interrupt(alarm):
    alarm(TooLongError())
    with pytest.raises(TooLongError) as caught:
        raise TooLongError
    assert interrupt_in(caught.value) is None


def test_an_exception_of_the_host_has_no_context_of_ours(open_cache):
    @open_cache().cached(version="1")
    def encode(audio):
        raise TooLongError

    with pytest.raises(TooLongError) as caught:
        encode(object())  # not a thing that has a key
    assert caught.value.__context__ is None
