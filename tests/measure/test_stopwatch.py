"""The stages of a request, on a clock that goes on by itself: one tick each time it is asked."""

import itertools
import sys
import threading
from types import ModuleType

import pytest

from stepaudio_cas.measure import stopwatch
from stepaudio_cas.measure.stopwatch import Stopwatch, watch


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: float(next(ticks)))


def test_stages_and_the_rest_add_up_to_the_total_but_for_the_clock_itself():
    timer = Stopwatch(["encode", "llm"])
    inner = timer.time(lambda: None, "encode")
    outer = timer.time(lambda: [inner(), inner()], "llm")
    with timer.request() as found:
        outer()
        inner()
    assert found == {"encode": 3.0, "llm": 3.0, "other": 3.0, "total": 10.0}


def test_a_stage_that_raises_has_ended():
    timer = Stopwatch(["llm"])
    failing = timer.time(lambda: 1 / 0, "llm")
    with timer.request() as found:
        with pytest.raises(ZeroDivisionError):
            failing()
        with pytest.raises(ZeroDivisionError):
            failing()
    assert found == {"llm": 2.0, "other": 3.0, "total": 6.0}


def test_outside_a_request_and_in_other_threads_nothing_is_timed():
    timer = Stopwatch(["llm"])
    work = timer.time(lambda: 7, "llm")
    assert work() == 7
    with timer.request() as found:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == {"llm": 0.0, "other": 1.0, "total": 2.0}


def test_methods_are_found_where_plugins_name_them_and_timed_once(monkeypatch):
    class Model:
        def generate(self):
            return "said"

        async def later(self): ...

    module = ModuleType("some.package.llm")
    module.Model = Model
    monkeypatch.setitem(sys.modules, "some.package.llm", module)
    timer = Stopwatch(["llm"])
    stages = {
        "llm": ["package.llm:Model.generate", "llm:Model.later", "lm:Model.generate"],
        "none": ["llm:Other.generate", "llm:Model.nothing"],
    }
    watch(timer, stages)
    once = Model.generate
    watch(timer, stages)
    assert Model.generate is once
    with timer.request() as found:
        assert Model().generate() == "said"
    assert found["llm"] == 1.0
    assert not hasattr(Model.later, "__wrapped__")
