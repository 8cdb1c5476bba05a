"""What is faster, and what still sounds the same."""

import random

import pytest

from stepaudio_cas.measure.agreement import streams
from stepaudio_cas.measure.tuned import Measured
from stepaudio_cas.measure.verdict import (
    FASTER,
    choose,
    compare,
    holds,
    is_faster,
    is_lost,
    quartiles,
    say_difference,
    sum_up_turns,
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


def few(seeds, *, noise, shift=0):
    """Runs on a recording so short that hardly a token comes of it."""
    found = []
    for seed in seeds:
        chance = random.Random(seed)
        tokens = [
            n + shift + 50 * (chance.random() < noise) * chance.randrange(9) for n in range(4)
        ]
        found.append(Measured(1.0, (tuple(streams("encode", (tokens,), ("a",))),), ()))
    return found


def test_where_the_worst_runs_agree_in_nothing_another_encoder_is_told_by_the_same_noise():
    twice = [few(range(9), noise=0.25)] * 2
    (foreign,) = compare(twice, few(range(9), noise=0.25, shift=7), 0.0)
    assert foreign.own_least == foreign.same == foreign.other == 0
    assert foreign.own >= 0.5
    assert foreign.differs
    assert not compare(twice, few(range(9), noise=0.25), 0.0)[0].differs


def test_what_noise_drowns_is_told_by_the_same_noise_alone_or_not_at_all():
    twice = [few(range(5), noise=1.0)] * 2
    assert not compare(twice, few(range(5), noise=1.0), 0.0)[0].differs
    (foreign,) = compare(twice, few(range(5), noise=1.0, shift=7), 0.0)
    assert foreign.differs
    assert "too noisy to tell" in say_difference([foreign])
    never_still = [few(range(n, n + 5), noise=1.0) for n in (0, 5)]
    assert compare(never_still, few(range(10, 15), noise=1.0), 0.0)[0].differs


def test_a_voice_of_another_loudness_or_that_is_no_number_differs():
    assert judged(runs(voice=3.0), voice=1.0)["v"].differs
    found = judged(runs(voice=float("nan")))["v"]
    assert found.differs
    assert "distance" not in found.as_document()


def test_what_seemed_faster_has_to_win_nearly_all_turns():
    won, lost = (1.0, 0.8), (1.0, 1.1)
    assert holds([won] * 9 + [lost])
    assert not holds([won] * 8 + [lost] * 2)
    assert is_lost([lost, lost])
    assert not is_lost([won, lost])
    assert not holds([(1.0, 0.99)] * 10)
    assert sum_up_turns([won, won, lost]) == {"turns": 3, "faster": 2, "speedup": 1.25}


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
