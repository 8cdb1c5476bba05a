"""A patched class is the class it was, in everything but speed."""

import inspect
import pickle

import pytest

from stepaudio_cas.activation.plugin import HostClass, Method, Plugin, value
from tests.activation.in_process import ENCODER, plugin


@pytest.fixture
def plain(loader):
    """The same module, not patched."""
    return loader.module(name="encoder_of_a_test")


def test_a_second_call_is_a_hit_with_a_value_of_its_own(loader, encoder):
    one = encoder.Encoder()
    first = one.encode(b"ab")
    first.append(0)
    assert one.encode(b"ab") == [195, 197] == encoder.Encoder().encode(b"ab", 16000, trim=True)
    assert encoder.runs == [16000]
    assert loader.counters() == {"miss": 1, "hit.memory": 2}


def test_a_method_shows_as_what_it_was(loader, plain):
    before = vars(plain.Encoder)["encode"], plain.Encoder.__init__
    shown = [describe(method) for method in before]
    loader.patch(plain)
    after = vars(plain.Encoder)["encode"], plain.Encoder.__init__
    assert [describe(method) for method in after] == shown
    assert [method.__wrapped__ for method in after] == list(before)
    assert all(inspect.isfunction(method) for method in after)


def describe(method):
    return {
        "signature": str(inspect.signature(method)),
        "source": inspect.getsource(method),
        "annotations": inspect.get_annotations(method),
        **{name: getattr(method, name) for name in ("__name__", "__qualname__", "__module__")},
        "doc": method.__doc__,
        "own": {n: v for n, v in vars(method).items() if n not in {"__wrapped__", MARK}},
    }


MARK = "__stepaudio_cas__"


def test_a_class_shows_as_what_it_was(loader, plain):
    before = inspect.getsource(plain.Encoder), sorted(vars(plain.Encoder)), plain.Encoder
    loader.patch(plain)
    assert (inspect.getsource(plain.Encoder), sorted(vars(plain.Encoder)), plain.Encoder) == before
    assert str(inspect.signature(plain.Encoder)) == "(weights=b'w')"


def test_instances_and_bound_methods_are_pickled_as_before(encoder):
    one = encoder.Encoder(b"weights")
    again = pickle.loads(pickle.dumps(one))
    assert vars(again).keys() == {"model", "weights"}
    assert pickle.loads(pickle.dumps(encoder.Encoder.encode)) is encoder.Encoder.encode
    assert pickle.loads(pickle.dumps(one.encode))(b"a") == [195]


def test_attributes_that_the_host_gave_its_method_are_kept(loader):
    module = loader.module(ENCODER + "Encoder.encode.limit = 7\n")
    loader.patch(module)
    assert module.Encoder.encode.limit == 7


def test_a_class_is_patched_once_however_often_it_is_seen(loader, encoder):
    method = vars(encoder.Encoder)["encode"]
    loader.patch(encoder)
    loader.patch(encoder, plugin()._replace(name="another"))
    assert vars(encoder.Encoder)["encode"] is method


def test_calls_that_do_not_fit_raise_what_the_host_raises(loader, encoder):
    one = encoder.Encoder()
    for call in (one.encode, lambda: one.encode(b"", 1, 2), lambda: one.encode(b"", x=1)):
        with pytest.raises(TypeError, match=r"Encoder\.encode\(\)"):
            call()
    assert loader.counters() == {"bypass.failed-key": 3}


MISFITS = {
    "another order": ("self, rate, audio, *, trim=True", "its parameters are (rate, audio, trim)"),
    "one more": ("self, audio, rate, trim, beam=1", "its parameters are (audio, rate, trim, beam)"),
    "one less": ("self, audio, rate", "its parameters are (audio, rate), this"),
    "anything": ("self, *args, **kwargs", "its parameters are (args, kwargs), this"),
    "nothing": ("", "its parameters are (), this"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_a_method_with_other_parameters_is_left_alone(loader, capfd, kind):
    text, trouble = MISFITS[kind]
    module = loader.module(f"class Encoder:\n    quantise = 1\n    def encode({text}): return 1\n")
    before = vars(module.Encoder)["encode"]
    loader.patch(module)
    assert vars(module.Encoder)["encode"] is before
    assert f"encoder_of_a_test.Encoder.encode is left alone: {trouble}" in capfd.readouterr().err


def test_what_is_wrong_with_a_class_is_said_once_wherever_it_is_seen(loader, capfd):
    module = loader.module("class Encoder:\n    def encode(self): 0\n")
    for _ in range(3):
        loader.patch(module)
    assert capfd.readouterr().err.count("is left alone") == 1


OTHER_KINDS = {
    "a static method": ("@staticmethod\n    def encode(audio, rate, trim): 0", "is a staticmethod"),
    "a class method": ("@classmethod\n    def encode(cls, audio, rate, trim): 0", "a classmethod"),
    "a property": ("@property\n    def encode(self): 0", "it is a property, not a plain method"),
    "a value": ("encode = 1", "it is a int, not a plain method"),
    "missing": ("pass", "there is no such method"),
    "a coroutine": ("async def encode(self, audio, rate, trim): 0", "does not return its result"),
    "a generator": ("def encode(self, audio, rate, trim): yield", "does not return its result"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_is_not_a_plain_method_is_left_alone(loader, capfd, kind):
    text, trouble = OTHER_KINDS[kind]
    module = loader.module(f"class Encoder:\n    {text}\n")
    before = vars(module.Encoder).get("encode")
    loader.patch(module)
    assert vars(module.Encoder).get("encode") is before
    assert trouble in capfd.readouterr().err


def test_methods_that_fit_are_cached_beside_one_that_does_not(loader):
    method = plugin().classes[0].methods[0]
    missing = method._replace(name="decode")
    host = plugin().classes[0]._replace(methods=[missing, method])
    module = loader.patch(loader.module(), Plugin("test", [host]))
    one = module.Encoder()
    assert one.encode(b"a") == one.encode(b"a")
    assert module.runs == [16000]


def test_two_plugins_may_cache_different_methods_of_a_class(loader):
    module = loader.patch(loader.module())
    arguments = {"codes": value()}
    method = Method("quantise", arguments, plugin().classes[0].methods[0].model)
    loader.patch(module, Plugin("other", [HostClass("Encoder", ["x"], [], [method])]))
    one = module.Encoder()
    assert one.encode(b"a") == [195]
    assert one.quantise([97]) == one.quantise([97]) == [194]
    assert loader.counters()["hit.memory"] == 2


def test_nothing_is_patched_where_nothing_would_be_cached(loader):
    module = loader.module()
    before = dict(vars(module.Encoder))
    loader.patch(module, mode="off")
    assert dict(vars(module.Encoder)) == before


def test_a_class_without_a_constructor_of_its_own_gets_none(loader):
    text = ENCODER.replace("def __init__", "def load")
    module = loader.patch(loader.module(text))
    assert "__init__" not in vars(module.Encoder)


def test_what_the_constructor_raises_is_the_hosts(loader):
    text = ENCODER.replace("self.weights = weights", "raise RuntimeError('no memory')")
    module = loader.patch(loader.module(text))
    with pytest.raises(RuntimeError, match="no memory"):
        module.Encoder()
    assert loader.counters() == {}
