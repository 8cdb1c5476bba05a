"""Whatever raises in us, the host gets its own result, or its own exception, once."""

import asyncio
import errno
import random

import pytest

from stepaudio_cas.artifact import codec
from stepaudio_cas.artifact.fresh import Ready
from stepaudio_cas.runtime import chain as chain_module
from stepaudio_cas.runtime.background import Background
from stepaudio_cas.runtime.breaker import LONGEST_PAUSE
from stepaudio_cas.runtime.chain import Chain
from stepaudio_cas.runtime.flights import Flights
from stepaudio_cas.runtime.housekeeping import Housekeeping
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.memory import MemoryTier
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.runtime.shadow import Shadow
from stepaudio_cas.runtime.tier import Tier
from stepaudio_cas.runtime.turns import Turn
from stepaudio_cas.runtime.workers import Workers
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.store import Store
from tests.support.faulty import VERBS
from tests.support.values import Computation, counters, recipe, tokens


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("not even this works")

    __repr__ = __str__


class HostError(Exception):
    """What the host itself raises."""


EXCEPTIONS = [
    OSError(errno.EIO, "broken"),
    OSError(errno.ENOSPC, "full"),
    PermissionError(errno.EACCES, "denied"),
    FileNotFoundError(errno.ENOENT, "the whole bucket is gone"),
    ConnectionResetError(),
    TimeoutError(),
    ValueError("bad answer"),
    KeyError("LastModified"),
    RuntimeError("client closed"),
    RecursionError(),
    MemoryError(),
    StopIteration(),
    AssertionError(),
    UnprintableError(),
    asyncio.CancelledError(),
    SystemExit(3),
    GeneratorExit(),
]


def raising(error):
    """Raise this very exception, as the host does."""

    def raise_(*args, **kwargs):
        raise error

    return raise_


def failing(error):
    """Raise one like it each time, as a bug does: nothing is kept alive by its traceback."""

    def raise_(*args, **kwargs):
        raise type(error)(*error.args)

    return raise_


def holds_to_its_promises(cache, numbers=range(4)):
    """The host's results and exceptions, once each, whatever happens in between."""
    for number in numbers:
        compute = Computation(number=number)
        assert cache.get_or_compute(recipe(number), compute) == tokens(number)
        assert compute.runs <= 1
    error, runs = HostError(), []

    def fails():
        runs.append(1)
        raise error

    with pytest.raises(HostError) as raised:
        cache.get_or_compute(recipe(-1), fails)
    assert raised.value is error
    assert runs == [1]
    assert error.__cause__ is None
    assert error.__context__ is None
    recipes = [recipe(number) for number in numbers]
    values = cache.get_many(recipes, lambda at: [tokens(numbers[n]) for n in at])
    assert values == [tokens(number) for number in numbers]
    with pytest.raises(HostError) as raised:
        cache.get_many([recipe(-2)], raising(error))
    assert raised.value is error


@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_raises_is_not_noticed(open_on, make_faulty, root, verb, error):
    backend = make_faulty(LocalBackend(root))
    cache = open_on(backend)
    backend.hooks[verb] = failing(error)
    holds_to_its_promises(cache)
    if verb in {"get", "put", "try_lock", "release"}:
        assert cache.stats()["errors"] >= 1
    else:
        assert cache.stats()["errors"] == 0, "nothing in a call needs this verb"


@pytest.mark.parametrize("seed", range(12))
def test_verbs_that_raise_anything_at_any_time_are_not_noticed(
    open_on, make_faulty, root, clock, seed
):
    chance = random.Random(seed)
    upper, lower = make_faulty(LocalBackend(root)), make_faulty(url="lower://")
    cache = open_on(upper, lower, memory=chance.choice(["0", "1MB"]))
    host_error = HostError()

    def perhaps(path):
        if chance.random() < 0.3:
            failing(chance.choice(EXCEPTIONS))()

    for backend in (upper, lower):
        backend.hooks.update(dict.fromkeys(VERBS, perhaps))
    for _ in range(60):
        number = chance.randrange(12)
        if chance.random() < 0.1:
            clock.advance(LONGEST_PAUSE)
        if chance.random() < 0.1:
            with pytest.raises(HostError) as raised:
                cache.get_or_compute(recipe(100 + number), raising(host_error))
            assert raised.value is host_error
        assert cache.get_or_compute(recipe(number), Computation(number=number)) == tokens(number)
    assert cache.stats()["errors"] > 0
    for backend in (upper, lower):
        backend.mend()
    assert cache.flush()
    for backend in (upper.inner, lower.inner):
        for found in list(backend.list("v1/manifests")):
            key = found.path.rsplit("/", 1)[-1].removesuffix(".json")
            assert Store(backend).read(key) is not None, "a manifest without its object"


PLACES = [
    (codec, "encode"),
    (codec, "decode"),
    (chain_module, "make_manifest"),
    (Background, "submit"),
    (Chain, "find"),
    (Chain, "find_many"),
    (Chain, "keep"),
    (Chain, "_take"),
    (Flights, "join"),
    (Housekeeping, "start"),
    (Log, "_write"),
    (Log, "error"),
    (Log, "info"),
    (Log, "error_sometimes"),
    (MemoryTier, "get"),
    (MemoryTier, "put"),
    (Recorder, "count"),
    (Recorder, "error"),
    (Recorder, "hit"),
    (Shadow, "consider"),
    (Store, "commit"),
    (Store, "read"),
    (Tier, "commit"),
    (Tier, "read"),
    (Tier, "read_many"),
    (Tier, "try_lock"),
    (Turn, "__enter__"),
    (Workers, "call"),
    (Workers, "start"),
]


@pytest.mark.parametrize("memory", ["0", "1MB"])
@pytest.mark.parametrize("place", PLACES, ids=lambda p: f"{p[0].__name__}.{p[1]}")
@pytest.mark.parametrize(
    "error", [RuntimeError("a bug of ours"), UnprintableError()], ids=["", "worse"]
)
def test_a_bug_of_ours_is_not_noticed(open_on, root, monkeypatch, place, error, memory):
    cache = open_on(LocalBackend(root), MemoryBackend(f"{root}"), memory=memory, log="off")
    holds_to_its_promises(cache, range(10, 12))
    monkeypatch.setattr(*place, failing(error))
    holds_to_its_promises(cache, range(10, 14))
    monkeypatch.undo()
    holds_to_its_promises(cache, range(10, 16))


@pytest.mark.parametrize("memory", ["0", "1MB"])
def test_a_value_that_cannot_be_copied_is_computed(open_on, root, monkeypatch, memory):
    cache = open_on(LocalBackend(root), memory=memory)
    monkeypatch.setattr(Ready, "of_tokens", failing(RuntimeError("a bug of ours")))
    holds_to_its_promises(cache)
    assert counters(cache)["error.internal"] >= 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_an_interrupt_of_the_host_leaves_nothing_locked(open_on, root, error):
    cache = open_on(LocalBackend(root))
    with pytest.raises(type(error)) as raised:
        cache.get_or_compute(recipe(), raising(error))
    assert raised.value is error
    compute = Computation()
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert LocalBackend(root).try_lock(recipe().key) is not None


def test_an_exception_of_the_host_is_not_kept(open_on, root):
    cache = open_on(LocalBackend(root), memory="1MB")
    with pytest.raises(HostError):
        cache.get_or_compute(recipe(), raising(HostError()))
    assert list(LocalBackend(root).list("v1/manifests")) == []
    assert cache.get_or_compute(recipe(), Computation()) == tokens()
    assert counters(cache) == {"raised": 1, "miss": 1, "stored": 1}


def test_locks_that_never_work_do_not_keep_a_store_from_being_written(
    open_on, make_faulty, root, clock
):
    """An NFS without a lock daemon, and an outage on top of it."""
    backend = make_faulty(LocalBackend(root))
    cache = open_on(backend)
    no_locks = OSError(errno.ENOLCK, "no locks available")
    backend.fail("try_lock", no_locks)
    for number in range(6):
        cache.get_or_compute(recipe(number), Computation(number=number))
    assert counters(cache)["stored"] == 6
    assert counters(cache)["error.store.faulty"] == 3, "they are not left alone"
    backend.fail("put", OSError(errno.EIO, "broken"))
    for number in range(10, 16):
        cache.get_or_compute(recipe(number), Computation(number=number))
    assert counters(cache)["stored"] == 6
    backend.mend()
    backend.fail("try_lock", no_locks)
    clock.advance(LONGEST_PAUSE)
    for number in range(20, 26):
        cache.get_or_compute(recipe(number), Computation(number=number))
    assert counters(cache)["stored"] == 12
