"""Functions that look alike to the eye of `inspect` and are not the same."""

import functools

import pytest

from stepaudio_cas.errors import SettingError


def test_lambdas_on_one_line_are_told_apart(open_cache):
    cache = open_cache()
    functions = [cache.cached(lambda x: x + 1), cache.cached(lambda x: x + 2)]
    assert [function(1) for function in functions] == [2, 3]


def test_a_lambda_is_the_same_one_in_another_cache(open_cache):
    def made():
        return open_cache(memory=0).cached(lambda x: x + 1)

    assert made().recipe(1).key == made().recipe(1).key


def test_a_bound_method_is_refused_because_its_object_would_not_be_in_the_key(open_cache):
    class Model:
        def run(self, x):
            return x

    with pytest.raises(SettingError, match="bound"):
        open_cache().cached(Model().run)


@pytest.mark.parametrize("thing", [functools.partial(int, "1"), object()])
def test_what_is_no_function_is_refused_by_name(open_cache, thing):
    with pytest.raises(SettingError, match="not a function"):
        open_cache().cached(thing)
