"""The code that a call runs is in its key: what was loaded, and what was changed since."""

import pytest

from stepaudio_cas.activation.plugin import Model, Parts
from stepaudio_cas.activation.source import texts_of
from tests.activation.in_process import ENCODER, plugin
from tests.activation.test_method import encodes


def test_the_same_text_in_another_module_is_the_same_code(loader):
    loader.patch(loader.module(name="encoder")).Encoder().encode(b"a")
    module = loader.patch(loader.module(name="fork_of_encoder"))
    assert encodes(module, module.Encoder(), b"a") == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs.append(rate)", "runs.append(rate)  # a comment"),
        ("code * self.scale", "code * self.scale * 1"),
        ("code + 1", "code + 2"),
        ("scale = 2", "scale = 3"),
    ],
)
def test_another_text_of_the_class_or_of_a_helper_is_another_key(loader, old, new):
    loader.patch(loader.module()).Encoder().encode(b"a")
    module = loader.patch(loader.module(ENCODER.replace(old, new)))
    assert encodes(module, module.Encoder(), b"a") == 1


def test_the_text_is_that_of_the_time_of_loading(loader):
    module = loader.patch(loader.module())
    with open(module.__file__, "a") as file:
        file.write("\n# another version\n")
    text = ENCODER.replace("code + 1", "code + 2")
    with open(module.__file__, "w") as file:
        file.write(text)
    module.Encoder().encode(b"a")
    again = loader.patch(loader.module())
    assert encodes(again, again.Encoder(), b"a") == 0
    changed = loader.patch(loader.module(text))
    assert encodes(changed, changed.Encoder(), b"a") == 1


def test_a_subclass_that_changes_a_step_has_keys_of_its_own(loader):
    text = ENCODER + "class Loud(Encoder):\n    def quantise(self, codes): return [0]\n"
    module = loader.patch(loader.module(text))
    assert module.Encoder().encode(b"a") == [195]
    assert module.Loud().encode(b"a") == [1]
    assert module.Loud().encode(b"a") == [1]
    assert len(module.runs) == 2


def test_a_subclass_that_calls_the_cached_method_gets_hits(loader):
    text = (
        ENCODER
        + "class Twice(Encoder):\n    def encode(self, audio, rate=1):\n"
        + "        return super().encode(audio, rate) * 2\n"
    )
    module = loader.patch(loader.module(text))
    assert module.Twice().encode(b"a") == module.Twice().encode(b"a") == [195, 195]
    assert len(module.runs) == 1


def louder(self, codes):
    return [0]


def test_a_method_replaced_in_the_class_has_keys_of_its_own(loader, encoder):
    one = encoder.Encoder()
    before = vars(encoder.Encoder)["quantise"]
    assert one.encode(b"a") == [195]
    encoder.Encoder.quantise = louder
    assert one.encode(b"a") == one.encode(b"a") == [1]
    encoder.Encoder.quantise = before
    assert one.encode(b"a") == [195]
    assert len(encoder.runs) == 2


def test_a_helper_replaced_in_the_module_has_keys_of_its_own(encoder):
    one = encoder.Encoder()
    assert one.encode(b"a") == [195]
    encoder.shift = no_shift
    assert one.encode(b"a") == one.encode(b"a") == [194]
    assert len(encoder.runs) == 2


def no_shift(codes):
    return codes


def replace_by_closure(module):
    number = 5
    module.Encoder.quantise = lambda self, codes: [number]


def replace_by_object(module):
    module.shift = print


def replace_by_generated_code(module):
    space = {}
    exec("def quantise(self, codes): return [1]", space)
    module.Encoder.quantise = space["quantise"]


def take_away(module):
    module.Encoder.quantise = None


REPLACEMENTS = {
    replace_by_closure: "changed-host",
    replace_by_object: "changed-host",
    replace_by_generated_code: "no-source",
    take_away: "changed-host",
}


@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda replace: replace.__name__)
def test_a_change_that_has_no_text_makes_calls_bypasses(loader, encoder, replace):
    one = encoder.Encoder()
    one.encode(b"a")
    replace(encoder)
    try:
        one.encode(b"a")
    except TypeError:  # of the host, which calls what is no function
        assert replace in {take_away, replace_by_object}
    assert loader.counters() == {"miss": 1, f"bypass.{REPLACEMENTS[replace]}": 1}


def test_a_method_replaced_in_one_instance_makes_its_calls_bypasses(loader, encoder):
    one = encoder.Encoder()
    one.encode(b"a")
    other = encoder.Encoder()
    other.quantise = lambda codes: [7]
    assert other.encode(b"a") == [8]
    assert one.encode(b"a") == [195]
    assert loader.counters() == {"miss": 1, "bypass.changed-host": 1, "hit.memory": 1}


def test_a_wrapper_that_somebody_puts_around_the_cached_method_changes_nothing(encoder):
    inner = vars(encoder.Encoder)["encode"]
    encoder.Encoder.encode = lambda self, *args: inner(self, *args) or None
    one = encoder.Encoder()
    assert one.encode(b"a") == one.encode(b"a") == [195]
    assert len(encoder.runs) == 1


def test_a_call_on_an_instance_of_another_class_is_a_bypass(loader, encoder):
    class Other:
        model = encoder.Loaded()
        weights = b""
        quantise = louder

    assert encoder.Encoder.encode(Other(), b"a") == [1]
    assert loader.counters() == {"bypass.changed-host": 1}


def test_a_subclass_without_a_text_is_a_bypass(loader, encoder):
    made = type("Made", (encoder.Encoder,), {"__module__": encoder.__name__})
    assert made().encode(b"a") == [195]
    assert loader.counters() == {"bypass.no-source": 1}


def test_code_that_a_model_runs_is_in_the_key_by_its_whole_file(loader):
    def describe(instance):
        return Model((instance.model,), lambda: Parts(code=[type(instance.model), None]))

    for text, expected in ((ENCODER, 1), (ENCODER, 0), ("other = 1\n" + ENCODER, 1)):
        module = loader.patch(loader.module(text), plugin(model=describe))
        assert encodes(module, module.Encoder(), b"a") == expected


def test_where_the_package_of_a_model_is_makes_no_other_key(loader):
    def describe(instance):
        return Model((instance.model,), lambda: Parts(code=[type(instance.model)]))

    for name, expected in (("host.encoder", 1), ("nodes.of.a_fork.encoder", 0)):
        module = loader.patch(loader.module(name=name), plugin(model=describe))
        assert encodes(module, module.Encoder(), b"a") == expected


def test_classes_of_two_packages_that_are_called_the_same_are_both_in_it(loader):
    one = loader.module("class Network: pass\n", "one.network").Network
    two = loader.module("class Network: size = 2\n", "two.network").Network
    assert list(texts_of([one, two, one]).items()) == [
        ("network.Network", "class Network: pass\n"),
        ("network.Network'", "class Network: size = 2\n"),
    ]
