"""What a cached method computes with is in its key, as it is at the moment of the call."""

import gc
import weakref

import pytest

from stepaudio_cas.activation.plugin import (
    Model,
    Parts,
    Plugin,
    content,
    ignored,
    only,
    path,
    value,
)
from tests.activation.in_process import ENCODER, plugin


def with_files(folder):
    """The plugin of the encoder, whose weights are in a file."""

    def describe(instance):
        if instance.model is None:
            return None
        parts = lambda: Parts(files={"weights": str(folder / "weights"), "more": None})  # noqa: E731
        return Model((instance.model,), parts)

    return plugin(model=describe)


def with_settings(*names, **fixed):
    """The plugin of the encoder, with attributes that are read at each call."""

    def describe(instance):
        return Model((), Parts, {name: getattr(instance, name) for name in names}, **fixed)

    return plugin(model=describe)


def encodes(module, instance, *arguments, **named):
    """How often the host encodes in a call of an instance."""
    before = len(module.runs)
    instance.encode(*arguments, **named)
    return len(module.runs) - before


def test_each_argument_is_in_the_key_by_its_role(loader, encoder):
    one = encoder.Encoder()
    calls = [
        ((b"a",), {}),
        ((b"b",), {}),
        ((b"a", 8000), {}),
        ((b"a", 8000.0), {}),
        ((b"a",), {"trim": False}),
        ((b"a",), {"trim": 0}),
    ]
    counts = [encodes(encoder, one, *given, **named) for given, named in calls + calls]
    assert counts == [1] * 6 + [0] * 6


def test_an_ignored_argument_is_not_in_the_key(loader):
    arguments = {"audio": content(), "rate": ignored(), "trim": value()}
    module = loader.patch(loader.module(), plugin(arguments=arguments))
    one = module.Encoder()
    assert [encodes(module, one, b"a", rate) for rate in (1, object())] == [1, 0]


def test_a_call_with_a_state_of_its_own_is_passed_through(loader):
    arguments = {"audio": content(), "rate": value(), "trim": only(True, None)}
    module = loader.patch(loader.module(), plugin(arguments=arguments))
    one = module.Encoder()
    assert [encodes(module, one, b"a", trim=t) for t in (True, None, 7, 7)] == [
        *(1, 0),
        *(1, 1),
    ]
    assert loader.counters()["bypass.stateful"] == 2


def test_a_path_is_in_the_key_by_the_content_of_its_file(loader, tmp_path):
    arguments = {"audio": path(), "rate": value(), "trim": value()}
    text = ENCODER.replace("list(audio)", "list(pathlib.Path(audio).read_bytes())")
    text = "import pathlib\n" + text
    module = loader.patch(loader.module(text), plugin(arguments=arguments))
    one = module.Encoder()
    for name, data in {"a.wav": b"a", "b.wav": b"a", "c.wav": b"c"}.items():
        (tmp_path / name).write_bytes(data)
    ways = [str(tmp_path / "a.wav"), tmp_path / "a.wav", str(tmp_path / "b.wav")]
    assert [encodes(module, one, way) for way in ways] == [1, 0, 0]
    assert encodes(module, one, tmp_path / "c.wav") == 1
    with pytest.raises(FileNotFoundError):
        one.encode(str(tmp_path / "d.wav"))
    with pytest.raises(TypeError, match="NoneType"):
        one.encode(None)
    assert loader.counters() == {
        "miss": 2,
        "hit.memory": 2,
        "bypass.unreadable-file": 1,
        "bypass.unsupported-input": 1,
    }


@pytest.mark.parametrize(("size", "remembered"), [(4 << 20, 0), ((4 << 20) + 1, 1)])
def test_only_long_recordings_are_remembered_by_name(loader, tmp_path, size, remembered):
    arguments = {"audio": path(), "rate": value(), "trim": value()}
    text = ENCODER.replace("list(audio)", "[]")
    module = loader.patch(loader.module(text), plugin(arguments=arguments))
    recording = tmp_path / "a.wav"
    recording.write_bytes(bytes(size))
    asked = []
    digest = loader.cache.files.digest
    loader.cache.files.digest = lambda name: asked.append(name) or digest(name)
    assert [encodes(module, module.Encoder(), recording) for _ in range(2)] == [1, 0]
    assert asked == [recording] * 2 * remembered


def test_instances_with_the_same_model_share_what_they_have(loader, tmp_path):
    (tmp_path / "weights").write_bytes(b"1")
    module = loader.patch(loader.module(), with_files(tmp_path))
    assert encodes(module, module.Encoder(), b"a") == 1
    assert encodes(module, module.Encoder(), b"a") == 0


def test_another_model_file_gives_another_key(loader, tmp_path):
    (tmp_path / "weights").write_bytes(b"1")
    module = loader.patch(loader.module(), with_files(tmp_path))
    module.Encoder().encode(b"a")
    (tmp_path / "weights").write_bytes(b"2")
    assert encodes(module, module.Encoder(), b"a") == 1


def test_a_model_that_is_replaced_on_disk_after_it_was_loaded_keeps_its_key(loader, tmp_path):
    (tmp_path / "weights").write_bytes(b"1")
    module = loader.patch(loader.module(), with_files(tmp_path))
    early, used = module.Encoder(), module.Encoder()
    used.encode(b"a")
    (tmp_path / "weights").write_bytes(b"2")
    assert encodes(module, early, b"a") == 0
    assert encodes(module, used, b"a") == 0
    assert encodes(module, module.Encoder(), b"a") == 1


def test_files_stay_those_that_were_loaded_when_a_setting_changes(loader, tmp_path):
    (tmp_path / "weights").write_bytes(b"1")

    def describe(instance):
        parts = lambda: Parts(files={"weights": str(tmp_path / "weights")})  # noqa: E731
        return Model((instance.model,), parts, {"scale": instance.scale})

    module = loader.patch(loader.module(), plugin(model=describe))
    one = module.Encoder()
    one.encode(b"a")
    (tmp_path / "weights").write_bytes(b"2")
    one.scale = 3
    one.encode(b"a")
    (tmp_path / "weights").write_bytes(b"1")
    other = module.Encoder()
    other.scale = 3
    assert encodes(module, other, b"a") == 0


def test_a_model_that_is_loaded_later_is_cached_from_then_on(loader, encoder):
    one = encoder.Encoder()
    one.model = None
    assert [encodes(encoder, one, b"a") for _ in range(2)] == [1, 1]
    one.model = encoder.Loaded()
    assert [encodes(encoder, one, b"a") for _ in range(2)] == [1, 0]
    one.model = None
    assert encodes(encoder, one, b"a") == 1
    assert loader.counters()["bypass.not-loaded"] == 3


def test_a_model_that_was_unloaded_is_not_kept_in_memory(encoder):
    one = encoder.Encoder()
    one.encode(b"a")
    alive = weakref.ref(one.model)
    one.model = None
    gc.collect()
    assert alive() is None


def test_another_model_at_the_same_address_is_another_model(loader):
    module = loader.patch(loader.module())
    for size in range(1, 30):
        one = module.Encoder(b"w" * size)
        assert encodes(module, one, b"a") == 1
        del one


def test_a_setting_is_read_at_each_call(loader):
    module = loader.patch(loader.module(), with_settings("scale"))
    one = module.Encoder()
    first = one.encode(b"a")
    one.scale = 3
    assert one.encode(b"a") == [292] != first
    one.scale = 2
    assert encodes(module, one, b"a") == 0


def test_settings_that_cannot_be_described_are_a_bypass(loader):
    module = loader.patch(loader.module(), with_settings("model"))
    one = module.Encoder()
    assert [encodes(module, one, b"a") for _ in range(2)] == [1, 1]
    assert loader.counters() == {"bypass.undescribable": 2}


def test_missing_model_files_are_a_bypass(loader, tmp_path):
    module = loader.patch(loader.module(), with_files(tmp_path))
    assert module.Encoder().encode(b"a") == [195]
    assert loader.counters() == {"bypass.unreadable-model": 1}


@pytest.mark.parametrize(("repeats", "expected"), [(True, [1, 0]), (False, [1, 1]), (None, [1, 1])])
def test_strict_caches_only_what_repeats(loader, repeats, expected):
    host = with_settings(deterministic=repeats).classes[0]
    method = host.methods[0]._replace(deterministic=False)
    declared = Plugin("test", [host._replace(methods=[method])])
    module = loader.patch(loader.module(), declared, fingerprint="strict")
    one = module.Encoder()
    assert [encodes(module, one, b"a") for _ in range(2)] == expected
    assert loader.counters().get("bypass.random-result", 0) == sum(expected) // 2 * 2


def test_a_result_that_is_not_to_be_kept_is_not(loader):
    module = loader.patch(loader.module(), plugin(keep=lambda codes: len(codes) > 1))
    one = module.Encoder()
    assert [encodes(module, one, b"a") for _ in range(2)] == [1, 1]
    assert [encodes(module, one, b"ab") for _ in range(2)] == [1, 0]


def test_a_kept_value_is_put_where_the_host_would_have_had_it(loader):
    def restore(instance, arguments, kept):
        return [type(instance).__name__, arguments["rate"], arguments["trim"], kept]

    module = loader.patch(loader.module(), plugin(restore=restore))
    one = module.Encoder()
    assert one.encode(b"a", 8000) == [195]
    assert one.encode(b"a", 8000) == ["Encoder", 8000, True, [195]]


def test_a_version_of_the_plugins_keys_sets_them_apart(loader):
    module = loader.patch(loader.module())
    module.Encoder().encode(b"a")
    module = loader.patch(loader.module(), plugin(version=2))
    assert encodes(module, module.Encoder(), b"a") == 1


def test_what_a_description_raises_is_a_bypass_each_time(loader):
    for error in (RuntimeError, LookupError, AttributeError):

        def describe(instance, error=error):
            raise error("of the plugin")

        module = loader.patch(loader.module(), plugin(model=describe))
        assert module.Encoder().encode(b"a") == [195]
    assert loader.counters() == {"bypass.failed-key": 3}
