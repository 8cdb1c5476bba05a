import contextlib
import inspect

import numpy as np
import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.identity.fingerprint import make_fingerprint
from tests.support.values import counters, errors


@pytest.fixture
def cache(open_cache):
    return open_cache()


def module_level(audio, rate=16000):
    """What a host has."""
    return [len(audio), rate]


def recording(cache, **options):
    """Return a cached function of several kinds of parameters, and the list of its calls."""
    calls = []

    @cache.cached(version="1", **options)
    def function(a, b=2, *rest, c=3, **others):
        calls.append((a, b, rest, c, others))
        return [a, b, list(rest), c, others]

    return function, calls


def test_a_function_is_decorated_with_and_without_options(cache):
    bare = cache.cached(module_level)
    named = cache.cached(name="my.tokens", version="1")(module_level)
    for function in (bare, named):
        assert function([1, 2]) == function([1, 2]) == [2, 16000]
    assert counters(cache) == {"miss": 2, "stored": 2, "hit.memory": 2}
    assert bare.recipe([]).schema == f"{__name__}.module_level"
    assert named.recipe([]).schema == "my.tokens"


def test_what_is_decorated_still_looks_like_the_function(cache):
    cached = cache.cached(module_level)
    assert cached.__name__ == "module_level"
    assert cached.__doc__ == "What a host has."
    assert cached.__wrapped__ is module_level
    assert inspect.signature(cached) == inspect.signature(module_level)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((1,), {"b": 2}), ((1,), {"c": 3}),
     ((), {"c": 3, "b": 2, "a": 1})],
)  # fmt: skip
def test_however_the_same_arguments_are_given_it_is_the_same_call(cache, args, kwargs):
    function, calls = recording(cache)
    function(1, 2, c=3)
    assert function(*args, **kwargs) == [1, 2, [], 3, {}]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((2,), {}), ((1, 3), {}), ((1, 2, 3), {}), ((1,), {"c": 4}), ((1,), {"d": 3}), ((1.0,), {}),
     ((True,), {}), (("1",), {}), ((1, None), {})],
)  # fmt: skip
def test_other_arguments_are_another_call(cache, args, kwargs):
    function, calls = recording(cache)
    function(1)
    function(*args, **kwargs)
    assert len(calls) == 2


def test_a_simple_signature_is_bound_as_python_does(cache):
    cached = cache.cached(lambda a, b=2, *, c=3: [a, b, c])
    keys = {
        cached.recipe(*args, **kwargs).key
        for args, kwargs in [
            ((1,), {}), ((1, 2), {}), ((1,), {"b": 2}), ((), {"a": 1}), ((1,), {"c": 3}),
            ((), {"b": 2, "c": 3, "a": 1}), ((1, 2), {"c": 3}),
        ]
    }  # fmt: skip
    assert len(keys) == 1
    assert cached.recipe(2, 1).key not in keys


def test_an_ignored_parameter_does_not_matter(cache):
    calls = []

    @cache.cached(version="1", ignore=["progress"])
    def function(number, progress=None):
        calls.append(progress)
        return number

    assert [function(1, object()), function(1, progress="bar"), function(1)] == [1, 1, 1]
    assert len(calls) == 1


def test_an_ignored_parameter_that_is_not_there_is_refused(cache):
    with pytest.raises(SettingError, match="has no parameter progress, verbose"):
        cache.cached(ignore=["verbose", "audio", "progress"])(module_level)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), (([],), {"audio": []}), (([],), {"speed": 1}), ((), {"rate": 1})],
)
def test_arguments_that_do_not_fit_raise_the_functions_own_error(cache, args, kwargs):
    cached = cache.cached(module_level)
    for value in ([], 1):
        with contextlib.suppress(TypeError):
            cached(value)  # what is kept by now is no answer to the wrong call
    with pytest.raises(TypeError) as expected:
        module_level(*args, **kwargs)
    with pytest.raises(TypeError) as found:
        cached(*args, **kwargs)
    assert str(found.value) == str(expected.value)
    assert errors(cache) == set()


async def coroutine():
    return 1


def generator():
    yield 1


async def asynchronous_generator():
    yield 1


@pytest.mark.parametrize("function", [coroutine, generator, asynchronous_generator])
def test_what_does_not_return_its_result_when_called_is_refused(cache, function):
    with pytest.raises(SettingError, match="does not return its result"):
        cache.cached(version="1")(function)


class Encoder:
    """A host's class; its methods are cached below."""

    size = 3

    def __init__(self):
        self.calls = 0


def test_a_method_is_cached_across_instances_when_self_does_not_matter(cache, monkeypatch):
    def encode(self, audio):
        self.calls += 1
        return [len(audio)]

    cached = cache.cached(version="1", ignore=["self"])(encode)
    monkeypatch.setattr(Encoder, "encode", cached, raising=False)
    first, second = Encoder(), Encoder()
    assert first.encode(b"abc") == second.encode(audio=b"abc") == [3]
    assert (first.calls, second.calls) == (1, 0)
    assert Encoder.encode is cached


def test_a_method_whose_self_matters_is_passed_through(cache, monkeypatch):
    monkeypatch.setattr(
        Encoder, "encode", cache.cached(version="1")(lambda self, audio: [1]), raising=False
    )
    assert Encoder().encode(b"abc") == [1]
    assert counters(cache) == {"bypass.undescribable": 1}


def test_a_method_takes_its_models_identity_from_a_function_of_its_arguments(cache, monkeypatch):
    def identity(arguments):
        return make_fingerprint(settings={"size": arguments["self"].size})

    def encode(self, audio):
        self.calls += 1
        return [self.size]

    cached = cache.cached(ignore=["self"], fingerprint=identity)(encode)
    monkeypatch.setattr(Encoder, "encode", cached, raising=False)
    small, same, large = Encoder(), Encoder(), Encoder()
    large.size = 30
    assert [each.encode(b"a") for each in (small, same, large)] == [[3], [3], [30]]
    assert [each.calls for each in (small, same, large)] == [1, 0, 1]


def test_an_exception_is_the_functions_own_and_nothing_is_kept(cache):
    error, calls = ValueError("theirs"), []

    @cache.cached(version="1")
    def function(number):
        calls.append(number)
        raise error

    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            function(1)
        assert caught.value is error
    assert calls == [1, 1]


def test_an_argument_that_has_no_description_passes_the_call_through(cache):
    function, calls = recording(cache)
    odd = object()
    assert function(odd)[0] is odd
    assert function(1, d=[odd])[0] == 1
    assert len(calls) == 2
    assert counters(cache) == {"bypass.undescribable": 2}


def test_an_argument_that_fails_when_it_is_looked_at_passes_the_call_through(cache):
    class Broken:
        def __fspath__(self):
            raise RuntimeError("no path today")

    assert cache.cached(version="1")(lambda path: [1])(Broken()) == [1]
    assert counters(cache) == {"bypass.failed-key": 1}


def test_what_a_function_returns_is_fresh_at_every_hit(cache):
    @cache.cached(version="1")
    def function(number):
        return {"tokens": [number], "audio": np.zeros(2)}

    for _ in range(3):
        value = function(1)
        assert value["tokens"] == [1]
        assert value["audio"].tolist() == [0, 0]
        value["tokens"].append(9)
        value["audio"][:] = 9


def test_a_result_that_is_not_to_be_kept_is_asked_for_again(cache):
    answers = iter(["", "text"])
    function = cache.cached(version="1", keep=bool)(lambda number: next(answers))
    assert [function(1), function(1), function(1)] == ["", "text", "text"]


def test_restore_is_applied_to_hits(cache):
    function = cache.cached(version="1", restore=tuple)(lambda number: [number])
    assert [function(1), function(1)] == [[1], (1,)]


def test_two_functions_on_one_store_do_not_share(cache):
    first = cache.cached(version="1")(lambda number: "first")
    second = cache.cached(version="1", name="another")(lambda number: "second")
    assert [first(1), second(1), first(1), second(1)] == ["first", "second"] * 2


def test_without_a_cache_that_is_open_the_function_is_just_called(open_cache):
    cache = open_cache(mode="off")
    function, calls = recording(cache)
    assert function(1) == function(1)
    assert len(calls) == 2
