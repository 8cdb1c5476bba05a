import errno
import traceback

import pytest

from stepaudio_cas.errors import Bypass, Damaged
from stepaudio_cas.identity.fingerprint import make_fingerprint
from tests.support.values import Computation, counters, errors, recipe, tokens


@pytest.fixture
def cache(open_cache):
    return open_cache()


def test_the_first_call_computes_and_the_second_does_not(cache):
    compute = Computation()
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1
    assert counters(cache) == {"miss": 1, "stored": 1, "hit.memory": 1}


def test_another_process_on_the_same_store_does_not_compute(open_cache):
    compute = Computation()
    for _ in range(2):
        assert open_cache(memory="0").get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 1


def test_the_miss_itself_returns_what_was_computed(cache):
    value = tokens()
    assert cache.get_or_compute(recipe(), lambda: value) is value


def test_every_hit_is_a_value_of_the_callers_own(cache):
    for _ in range(3):
        value = cache.get_or_compute(recipe(), Computation())
        assert value == tokens()
        value[0].append(99)


@pytest.mark.parametrize("value", [None, (), [], {}, "", b"", 0, False, ([],), 0.0])
@pytest.mark.parametrize("memory", ["1MB", "0"])
def test_a_result_that_is_empty_or_nothing_is_a_result(open_cache, value, memory):
    cache, compute = open_cache(memory=memory), Computation(value)
    compute.value = value
    again = [cache.get_or_compute(recipe(), compute) for _ in range(3)]
    assert again == [value] * 3
    assert [type(each) for each in again] == [type(value)] * 3
    assert compute.runs == 1


def failing(error):
    def compute():
        raise error

    return compute


@pytest.mark.parametrize(
    "error",
    [ValueError("theirs"), OSError(errno.ENOSPC, "theirs"), KeyboardInterrupt(), SystemExit(2),
     Bypass("theirs"), Damaged("theirs"), GeneratorExit(), StopIteration()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_the_host_raises_comes_out_as_it_is_and_is_not_kept(cache, error):
    with pytest.raises(type(error)) as caught:
        cache.get_or_compute(recipe(), failing(error))
    assert caught.value is error
    assert counters(cache) == {"raised": 1}
    assert cache.get_or_compute(recipe(), Computation()) == tokens()
    assert counters(cache) == {"raised": 1, "miss": 1, "stored": 1}


def test_an_exception_runs_the_host_once_and_has_its_traceback_once(cache):
    runs = []

    def their_function():
        runs.append(1)
        return 1 // 0

    with pytest.raises(ZeroDivisionError) as caught:
        cache.get_or_compute(recipe(), their_function)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert runs == [1]
    assert frames[-1] == "their_function"
    assert frames.count("their_function") == 1
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_failure_of_ours_on_top_of_the_hosts_does_not_hide_it_or_run_it_again(cache, monkeypatch):
    runs, error = [], ValueError("theirs")

    def compute():
        runs.append(1)
        raise error

    def fail(*_):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(cache.flights, "finish", fail)
    with pytest.raises(ValueError) as caught:
        cache.get_or_compute(recipe(), compute)
    assert caught.value is error
    assert runs == [1]


class Mine:
    pass


@pytest.mark.parametrize(
    "value", [Mine(), {1, 2}, [Mine()], 2**70, 1j], ids=lambda value: type(value).__name__
)
def test_a_result_that_would_not_come_back_as_it_was_is_passed_on_and_counted(cache, value):
    compute = Computation(value)
    assert cache.get_or_compute(recipe(), compute) is value
    assert cache.get_or_compute(recipe(), compute) is value
    assert compute.runs == 2
    assert counters(cache) == {"bypass.unsupported-result": 2}


def test_a_tensor_that_carries_a_gradient_is_passed_on(cache):
    import torch

    value = torch.ones(3, requires_grad=True)
    assert cache.get_or_compute(recipe(), lambda: value) is value
    assert counters(cache) == {"bypass.requires-grad": 1}


def test_a_result_that_is_not_to_be_kept_is_passed_on(cache):
    assert cache.get_or_compute(recipe(), lambda: "", keep=bool) == ""
    assert cache.get_or_compute(recipe(), lambda: "text", keep=bool) == "text"
    assert cache.get_or_compute(recipe(), lambda: "other", keep=bool) == "text"
    assert counters(cache)["bypass.not-kept"] == 1


def test_restore_is_applied_to_hits_and_not_to_what_the_host_made(open_cache):
    cache = open_cache()

    def ask():
        return cache.get_or_compute(recipe(), lambda: [1], restore=lambda value: ("moved", value))

    assert ask() == [1]
    assert ask() == ("moved", [1])
    cache.chain.memory.clear()
    assert ask() == ("moved", [1])


def test_a_restore_that_fails_leaves_the_host_to_compute(cache):
    def restore(_):
        raise RuntimeError("out of memory on the device")

    compute = Computation()
    cache.get_or_compute(recipe(), compute)
    assert cache.get_or_compute(recipe(), compute, restore=restore) == tokens()
    assert compute.runs == 2
    assert errors(cache) == {"error.internal"}


def test_a_failure_of_ours_in_any_step_leaves_the_host_to_compute_once(cache, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("a bug of ours")

    for number, (owner, name) in enumerate(
        [(cache.chain, "find"), (cache.chain, "keep"), (cache.flights, "join"),
         (cache.recorder, "count"), (cache.chain.memory, "get"), (cache, "missed")]
    ):  # fmt: skip
        compute = Computation()
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            assert cache.get_or_compute(recipe(number), compute) == tokens(), name
        assert compute.runs == 1, name


def test_counts_are_kept_by_plugin_and_model(cache):
    model = make_fingerprint(settings={"size": 1})
    for _ in range(2):
        cache.get_or_compute(
            recipe()._replace(fingerprint=model), Computation(), plugin="stepaudio"
        )
    stats = cache.stats()
    line = {"hits": 1, "misses": 1}
    assert line.items() <= stats["by_plugin"]["stepaudio"].items()
    assert line.items() <= stats["by_model"][model.id].items()
    assert stats["hit_rate"] == 0.5


def test_stats_say_the_mode_the_memory_and_the_tiers(open_cache, root):
    cache = open_cache(memory="1KB")
    cache.get_or_compute(recipe(), Computation())
    stats = cache.stats()
    assert stats["mode"] == "rw"
    assert stats["memory"]["limit"] == 1000
    assert stats["memory"]["entries"] == 1
    assert 0 < stats["memory"]["bytes"] <= 1000
    assert [tier["url"] for tier in stats["tiers"]] == [f"file://{root}"]


def test_one_line_is_said_for_a_miss_and_one_for_a_hit(open_cache, capfd):
    cache = open_cache(log="info")
    for _ in range(2):
        cache.get_or_compute(recipe(), Computation())
    miss, hit = capfd.readouterr().err.splitlines()
    assert miss.startswith(f"stepaudio-cas: miss {recipe().key[:12]} test/1 encoded in ")
    assert hit.startswith(f"stepaudio-cas: hit memory {recipe().key[:12]} test/1 in ")


def test_get_returns_what_is_there_and_a_default_otherwise(cache):
    assert cache.get(recipe()) is None
    assert cache.get(recipe(), "nothing") == "nothing"
    cache.put(recipe(), tokens())
    assert cache.get(recipe(), "nothing") == tokens()
    cache.chain.memory.clear()
    assert cache.get(recipe(), "nothing") == tokens()


def test_put_keeps_a_value_and_returns_the_one_that_stands(cache):
    assert cache.put(recipe(), [1], seconds=2.0) == [1]
    assert cache.put(recipe(), [2]) == [1]
    assert cache.get_or_compute(recipe(), lambda: [3]) == [1]


def test_put_refuses_what_cannot_be_kept(cache):
    with pytest.raises(Bypass):
        cache.put(recipe(), Mine())


def test_put_and_get_survive_a_failure_of_ours(cache, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(cache.chain, "keep", fail)
    monkeypatch.setattr(cache.chain, "find", fail)
    assert cache.put(recipe(), [1]) == [1]
    assert cache.get(recipe(), "nothing") == "nothing"
    assert errors(cache) == {"error.internal"}


def test_peek_finds_without_computing_or_counting_a_hit(cache):
    key = recipe().key
    assert cache.peek(key) is None
    cache.put(recipe(), tokens())
    assert cache.peek(key).tier == "memory"
    cache.chain.memory.clear()
    assert cache.peek(key).tier == "disk"
    assert cache.stats()["hits"] == 0


def test_a_closed_cache_computes(cache):
    cache.put(recipe(), tokens())
    cache.close()
    compute = Computation([0])
    assert cache.get_or_compute(recipe(), compute) == [0]
    assert cache.get_many([recipe()], lambda _: [[0]]) == [[0]]
    assert cache.get(recipe(), "nothing") == "nothing"
    assert cache.put(recipe(2), [1]) == [1]
    assert cache.peek(recipe(2).key) is None


def test_a_cache_is_closed_at_the_end_of_its_context(open_cache):
    with open_cache() as cache:
        assert cache.enabled
    assert not cache.enabled
    cache.close()
