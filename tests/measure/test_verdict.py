"""What is faster, and what still sounds the same."""

import random

import pytest

from stepaudio_cas.measure.agreement import streams
from stepaudio_cas.measure.tuned import Measured
from stepaudio_cas.measure.verdict import (
    FASTER,
    choose,
    compare,
    is_faster,
    quartiles,
    say_difference,
)

CLEAN = tuple(range(1000))


def run(seed, *, noise=0.1, change=0.0, shift=0, longer=0, voice=0.0):
    """A run: codes of which some are noisy, as many that are not, and an embedding."""
    chance, other = random.Random(seed), random.Random(9)
    noisy = [c + shift + (chance.random() < noise) + 2 * (other.random() < change) for c in CLEAN]
    result = streams("encode", (noisy + [0] * longer, [*CLEAN], [1.0, voice]), ("a", "b", "v"))
    return Measured(1.0, (tuple(result),), ())


def judged(tuned, tolerance=0.0, **untuned):
    twice = [[run(seed, **untuned) for seed in range(5)] for _ in range(2)]
    return {c.name: c for c in compare(twice, tuned, tolerance)}


def runs(**how):
    return [run(seed, **how) for seed in range(5)]


def test_the_same_encoder_agrees_within_its_own_noise():
    found = judged(runs())
    assert found["a"].same == 1
    assert 0.75 < found["a"].other == found["a"].own < 0.9
    assert not any(c.differs for c in found.values())


def test_other_noise_is_no_difference():
    found = judged([run(seed) for seed in range(100, 105)])
    assert found["a"].same < 1
    assert not found["a"].differs


def test_another_encoder_differs_and_is_said_by_how_much():
    found = judged(runs(shift=5))
    assert found["a"].differs
    assert not found["b"].differs
    said = say_difference(list(found.values()))
    assert said.startswith("a: 0.0% agree, of two runs as it is 8")


def test_a_change_that_is_larger_than_the_noise_differs():
    assert judged(runs(change=0.2))["a"].differs
    assert not judged(runs(change=0.005))["a"].differs


def test_without_noise_a_single_token_is_a_difference_unless_it_is_tolerated():
    assert judged(runs(noise=0, change=0.01), noise=0)["a"].differs
    assert not judged(runs(noise=0, change=0.01), 0.05, noise=0)["a"].differs


def test_a_result_that_is_longer_or_lacks_a_part_differs():
    longer = judged(runs(longer=3))["a"]
    assert longer.differs
    assert longer.length == 3
    lacking = [r._replace(results=((r.results[0][0],),)) for r in runs()]
    assert judged(lacking)["b"].differs


@pytest.mark.parametrize(("voice", "differs"), [(0.001, False), (0.5, True)])
def test_an_embedding_may_be_a_little_different(voice, differs):
    assert judged(runs(voice=voice))["v"].differs is differs


def test_faster_is_faster_than_what_varies_anyway():
    untuned = [1.0, 1.1, 0.9, 1.2, 1.05]
    assert is_faster([0.5, 0.55, 0.6, 0.5], untuned)
    assert not is_faster([0.5, 1.3, 1.3, 0.6], untuned)
    assert not is_faster([0.99, 0.99, 0.99, 0.99], [1.0] * 5)
    assert quartiles([2.0]) == (2.0, 2.0, 2.0)


def test_of_settings_with_the_same_word_the_faster_is_chosen():
    settings = [
        {"verdict": FASTER, "speedup": 1.2, "plan": {"ort.intra": 2}},
        {"verdict": FASTER, "speedup": 1.5, "plan": {"ort.intra": 4}},
        {"verdict": FASTER, "speedup": 1.1, "plan": {"tf32": True}},
        {"verdict": "changes the voice", "speedup": 9.0, "plan": {"encoder": "x"}},
    ]
    assert choose(settings) == {"ort.intra": 4, "tf32": True}
