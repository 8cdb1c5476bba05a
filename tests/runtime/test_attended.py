"""A cache that takes down what a host asks of it."""

from dataclasses import dataclass

import pytest

from stepaudio_cas.runtime.attended import ASKED, BYPASSED, NEW, THERE, Anything, Attended, Enough
from stepaudio_cas.runtime.opening import build_kind
from stepaudio_cas.settings import Settings
from tests.support.values import recipe


@dataclass
class Form:
    results: int = 1
    composed: bool = False


@pytest.fixture
def cache(root):
    settings = Settings(stores=(str(root),)).override(log="off", memory=0)
    made = build_kind(Attended, settings, strict=True)
    yield made
    made.close()


@pytest.fixture
def runs():
    return []


@pytest.fixture
def encode(cache, runs):
    @cache.cached(version="1", name="encode")
    def encode(audio):
        runs.append(audio)
        return [len(audio)], [1]

    return encode


@pytest.fixture
def prepare(cache, encode, runs):
    @cache.cached(version="1", name="prepare")
    def prepare(path):
        runs.append(path)
        first, second = encode(path.encode())
        return [first, second]

    return prepare


def states(cache):
    return [(call.method, call.state, call.within) for call in cache.asked]


def test_what_is_computed_is_new_and_what_is_found_is_there(cache, encode):
    first = encode(b"a")
    second = encode(b"a")
    assert first == second == ([1], [1])
    assert states(cache) == [("encode", NEW, ""), ("encode", THERE, "")]
    assert cache.asked[0].recipe.key == cache.asked[1].recipe.key == encode.recipe(b"a").key


def test_calls_inside_a_call_are_taken_down_in_the_order_they_begin(cache, prepare):
    prepare("a.wav")
    assert [(m, s) for m, s, _ in states(cache)] == [("prepare", NEW), ("encode", NEW)]


def test_the_label_of_the_moment_goes_into_the_manifest(cache, encode):
    cache.label = "anna.wav"
    encode(b"a")
    found = cache.chain.tiers[0].store.read(encode.recipe(b"a").key)
    assert found.manifest.label == "anna.wav"


def test_an_exception_of_the_host_passes(cache):
    @cache.cached(version="1")
    def fails(audio):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails(b"a")
    assert [call.state for call in cache.asked] == [ASKED]


def test_a_bypass_is_taken_down_with_its_reason(cache, encode, runs):
    encode(audio=[object()])
    (call,) = cache.asked
    assert (call.state, call.recipe) == (BYPASSED, None)
    assert "undescribable" in call.why
    assert len(runs) == 1


def test_keys_are_found_without_computing(cache, encode, prepare, runs):
    cache.computing = False
    cache.forms = {"prepare": Form(composed=True), "encode": Form(results=2)}
    prepare("a.wav")
    assert runs == ["a.wav"]
    assert states(cache) == [("prepare", ASKED, ""), ("encode", ASKED, "prepare")]
    assert cache.peek(prepare.recipe("a.wav").key) is None


def test_a_method_of_which_nothing_is_known_ends_it(cache, encode, runs):
    cache.computing = False
    with pytest.raises(Enough):
        encode(b"a")
    assert runs == []
    assert states(cache) == [("encode", ASKED, "")]


def test_a_bypass_ends_it_too_because_only_computing_goes_further(cache, encode, runs):
    cache.computing = False
    with pytest.raises(Enough):
        encode(audio=[object()])
    assert runs == []


def test_the_one_who_makes_a_call_is_forgotten_when_it_is_over(cache, encode, prepare):
    cache.computing = False
    cache.forms = {"prepare": Form(composed=True), "encode": Form(results=3)}
    with pytest.raises(ValueError, match="too many values"):
        prepare("a.wav")
    cache.forms["encode"] = Form(results=2)
    encode(b"a")
    assert states(cache)[-1] == ("encode", ASKED, "")


def test_anything_takes_whatever_is_done_with_it():
    thing = Anything()
    assert thing.shape[0].to("cuda") is thing
    assert list(thing) == []
    assert len(thing) == 0
    with pytest.raises(AttributeError):
        thing.__array__  # noqa: B018 - looking is what fails


def test_of_a_batch_each_is_taken_down(cache, runs):
    def compute(positions):
        runs.append(positions)
        return [[position] for position in positions]

    made = [recipe(number) for number in range(3)]
    cache.put(made[1], ["there"])
    assert cache.get_many(made, compute, plugin="many") == [[0], ["there"], [2]]
    assert [(call.recipe, call.state) for call in cache.asked] == [
        (made[0], NEW),
        (made[1], THERE),
        (made[2], NEW),
    ]
    assert runs == [[0], [2]]
