import threading

import numpy as np
import pytest

from stepaudio_cas.runtime.log import Log
from stepaudio_cas.runtime.recorder import Recorder
from stepaudio_cas.runtime.shadow import Shadow
from stepaudio_cas.settings import Level
from tests.runtime.helpers import GENEROUS, call, counted, quiet, ready
from tests.support.values import Computation, counters, recipe, tokens


@pytest.fixture
def recorder():
    return quiet()


def always(recorder):
    return Shadow(1.0, recorder)


def hit(value=None, again=None, **options):
    """Return a call whose recomputation gives `again`, and what was kept for it."""
    made = tokens() if again is None else again
    options.setdefault("snapshot", lambda: lambda: made)
    return call(**options), ready(tokens() if value is None else value)


def checked(shadow):
    assert shadow.queue.flush(GENEROUS) == 0


def test_an_equal_result_is_counted(recorder):
    shadow = always(recorder)
    shadow.consider(*hit())
    checked(shadow)
    assert counted(recorder, "shadow.equal") == 1


def test_another_result_of_a_deterministic_function_is_counted_and_said(capfd):
    recorder = Recorder(Log(Level.ERROR))
    shadow = always(recorder)
    shadow.consider(*hit(again=([9],)))
    checked(shadow)
    assert counted(recorder, "shadow.different") == 1
    said = capfd.readouterr().err
    assert recipe().key in said
    assert "its key lacks an ingredient" in said


def test_another_result_of_a_random_function_is_counted_and_not_said(capfd):
    recorder = Recorder(Log(Level.ERROR))
    shadow = always(recorder)
    shadow.consider(*hit(again=([9],), deterministic=False))
    checked(shadow)
    assert counted(recorder, "shadow.different") == 1
    assert capfd.readouterr().err == ""


def test_a_difference_in_type_or_dtype_is_a_difference(recorder):
    shadow = always(recorder)
    for kept, again in [((1,), [1]), (np.zeros(2, "f4"), np.zeros(2, "f8")), (1, 1.0)]:
        shadow.consider(*hit(value=kept, again=again))
        checked(shadow)
    assert counted(recorder, "shadow.different") == 3


def test_only_the_share_that_chance_picks_is_checked(recorder):
    chances = iter([0.0, 0.0999, 0.1, 0.5, 0.9999])
    shadow = Shadow(0.1, recorder, chance=lambda: next(chances))
    for _ in range(5):
        shadow.consider(*hit())
        checked(shadow)
    assert counted(recorder, "shadow.equal") == 2


def test_a_share_of_nothing_does_not_even_ask_chance(recorder):
    shadow = Shadow(0.0, recorder, chance=lambda: 1 / 0)
    shadow.consider(*hit())
    assert len(shadow.queue) == 0


def test_a_call_without_a_snapshot_is_not_checked(recorder):
    shadow = always(recorder)
    shadow.consider(*hit(snapshot=None))
    checked(shadow)
    assert counted(recorder, "shadow.") == 0


def test_while_one_is_checked_others_are_let_go_without_a_copy_of_their_arguments(recorder):
    shadow, go_on, copies = always(recorder), threading.Event(), []
    shadow.consider(*hit(snapshot=lambda: lambda: go_on.wait(GENEROUS) and tokens()))
    for _ in range(5):
        shadow.consider(*hit(snapshot=lambda: copies.append(1)))
    go_on.set()
    checked(shadow)
    assert copies == []
    assert counted(recorder, "shadow.equal") == 1


def test_a_recomputation_that_fails_is_counted_as_an_error(recorder):
    shadow = always(recorder)
    shadow.consider(*hit(snapshot=lambda: lambda: 1 / 0))
    checked(shadow)
    assert counted(recorder, "error.shadow") == 1
    assert counted(recorder, "shadow.") == 0


def test_a_recomputation_that_cannot_be_compared_is_let_go(recorder):
    shadow = always(recorder)
    shadow.consider(*hit(again=object()))
    checked(shadow)
    assert counted(recorder, "shadow.") == counted(recorder, "error.") == 0


def test_hits_of_a_cache_are_checked_and_misses_are_not(open_cache):
    cache, compute = open_cache(verify="1"), Computation()

    def ask():
        value = cache.get_or_compute(recipe(), compute, snapshot=lambda: compute)
        checked(cache._shadow)
        return value

    assert [ask(), ask()] == [tokens()] * 2
    assert compute.runs == 2
    assert counters(cache)["shadow.equal"] == 1


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        (lambda: np.zeros(4), lambda value: value.fill(9)),
        (lambda: [1, 2], lambda value: value.append(3)),
        (lambda: {"a": [1]}, lambda value: value["a"].append(2)),
        (lambda: {1, 2}, lambda value: value.add(3)),
    ],
    ids=["array", "list", "nested", "set"],
)
def test_what_the_caller_changes_after_the_call_does_not_matter(open_cache, argument, change):
    cache, go_on = open_cache(verify="1"), threading.Event()
    computed = threading.Event()

    @cache.cached(version="1")
    def function(value):
        if computed.is_set():
            assert go_on.wait(GENEROUS)
        computed.set()
        return repr(value)

    function(argument())
    given = argument()
    function(given)
    change(given)
    go_on.set()
    checked(cache._shadow)
    assert counters(cache)["shadow.equal"] == 1


def test_a_function_that_lacks_an_ingredient_is_found_out(open_cache):
    cache, hidden = open_cache(verify="1"), []
    function = cache.cached(version="1")(lambda number: [number, len(hidden)])
    function(1)
    hidden.append(1)
    assert function(1) == [1, 0]
    checked(cache._shadow)
    assert counters(cache)["shadow.different"] == 1
