"""What is in the key of a decorated function's call."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import stepaudio_cas as cas
from stepaudio_cas.errors import Bypass, SettingError
from stepaudio_cas.identity.fingerprint import make_fingerprint
from tests.support.processes import REPOSITORY
from tests.support.values import counters


@pytest.fixture
def cache(open_cache):
    return open_cache()


def one(value):
    return [1]


def key(cache, *args, function=one, **options):
    options.setdefault("name", "test")
    return cache.cached(**options)(function).recipe(*args).key


AUDIO = np.arange(8, dtype="float32")


@pytest.mark.parametrize(
    ("value", "same", "other"),
    [
        (AUDIO, AUDIO.copy(), AUDIO + 1),
        (AUDIO, np.repeat(AUDIO, 2)[::2], AUDIO.astype("float64")),
        (AUDIO, AUDIO.copy(), AUDIO.reshape(2, 4)),
        (AUDIO, AUDIO.copy(), torch.from_numpy(AUDIO)),
        (torch.ones(3), torch.ones(6)[::2], torch.ones(3, dtype=torch.bfloat16)),
        (torch.ones(3), torch.ones(3), torch.zeros(3)),
        (b"abc", bytes(bytearray(b"abc")), b"abd"),
        (b"abc", b"abc", "abc"),
        ([AUDIO, 1], [AUDIO.copy(), 1], [AUDIO + 1, 1]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}),
        ({1, 2, 3}, {3, 2, 1}, frozenset([1])),
    ],
)
def test_values_count_by_type_and_content(cache, value, same, other):
    assert key(cache, value) == key(cache, same)
    assert key(cache, value) != key(cache, other)


def test_a_path_counts_by_the_content_of_its_file_and_not_by_its_name(cache, tmp_path):
    first, copy, other = tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "c.wav"
    first.write_bytes(b"one")
    copy.write_bytes(b"one")
    other.write_bytes(b"two")
    assert key(cache, first) == key(cache, copy) == key(cache, b"one")
    assert key(cache, first) != key(cache, other)
    assert key(cache, first) != key(cache, str(first))
    first.write_bytes(b"two")
    assert key(cache, first) == key(cache, other)


@pytest.mark.parametrize("batch", [False, True])
def test_what_was_computed_from_a_file_that_was_rewritten_meanwhile_is_not_kept(
    cache, tmp_path, batch
):
    voice = tmp_path / "voice.wav"
    voice.write_bytes(b"the old one")
    recipe = cas.make_recipe("encode/1", inputs={"path": voice})

    def encode(*_):
        voice.write_bytes(b"the new one")
        return [voice.read_bytes()]

    if batch:
        found = cache.get_many([recipe], encode)[0]
    else:
        found = cache.get_or_compute(recipe, encode)[0]
    assert found == b"the new one"
    assert cache.stats()["counters"]["bypass.input-changed"] == 1
    assert cache.get(recipe) is None


def test_what_was_computed_from_an_upload_that_is_gone_is_kept(cache, tmp_path):
    voice = tmp_path / "voice.wav"
    voice.write_bytes(b"upload")
    recipe = cas.make_recipe("encode/1", inputs={"path": voice})
    cache.get_or_compute(recipe, lambda: [voice.unlink()])
    assert cache.get(recipe) == [None]


@pytest.mark.parametrize("path", [Path("/nonexistent/voice.wav"), Path("/")])
def test_a_path_that_cannot_be_read_passes_the_call_through(cache, path):
    function = cache.cached(version="1")(lambda path: [str(path)])
    assert function(path) == [str(path)]
    assert counters(cache) == {"bypass.unreadable-file": 1}


def with_closure(size):
    def function(value):
        return [size]

    return function


def test_what_a_function_captures_counts(cache):
    assert key(cache, 1, function=with_closure(3)) == key(cache, 1, function=with_closure(3))
    assert key(cache, 1, function=with_closure(3)) != key(cache, 1, function=with_closure(4))
    weights = key(cache, 1, function=with_closure(np.ones(3)))
    assert weights != key(cache, 1, function=with_closure(np.zeros(3)))


def test_what_a_function_captures_counts_as_it_is_at_the_call(cache):
    size = [3]

    @cache.cached
    def function(value):
        return [size[0]]

    assert function(1) == [3]
    size[0] = 4
    assert function(1) == [4]


def test_a_capture_that_has_no_description_passes_the_call_through(cache):
    function = cache.cached(with_closure(object))
    assert function(1) == [object]
    assert counters(cache) == {"bypass.closure": 1}


def test_a_version_answers_for_source_and_captures(cache):
    first = key(cache, 1, function=with_closure(object), version="1")
    assert first == key(cache, 1, function=one, version="1")
    assert first != key(cache, 1, function=one, version="2")
    assert first != key(cache, 1, function=one)


def test_the_source_text_counts(cache):
    def one(value):
        return [2]

    assert key(cache, 1) != key(cache, 1, function=one)


def test_a_function_without_source_text_asks_for_a_version(cache):
    made = eval("lambda value: [1]")
    with pytest.raises(Bypass, match="give a version"):
        cache.cached(made)
    assert cache.cached(version="1")(made)(1) == [1]


def test_settings_count(cache):
    keys = {key(cache, 1, settings=settings) for settings in [None, {"a": 1}, {"a": 2}, {"b": 1}]}
    assert len(keys) == 4


def test_a_name_counts(cache):
    assert key(cache, 1, name="a") != key(cache, 1, name="b")


def test_model_files_count_by_content_and_name_and_not_by_folder(cache, tmp_path):
    for folder, content in [("a", b"one"), ("b", b"one"), ("c", b"two")]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.onnx").write_bytes(content)
    keys = [key(cache, 1, files=[tmp_path / folder / "model.onnx"]) for folder in "abc"]
    assert keys[0] == keys[1] != keys[2]
    (tmp_path / "b" / "model.onnx").rename(tmp_path / "b" / "other.onnx")
    assert key(cache, 1, files=[tmp_path / "b" / "other.onnx"]) != keys[0]


def test_two_model_files_of_one_name_are_refused(cache, tmp_path):
    with pytest.raises(SettingError, match="same name"):
        cache.cached(files=[tmp_path / "a" / "model.onnx", tmp_path / "b" / "model.onnx"])(one)


def test_a_model_file_that_is_missing_passes_the_call_through(cache, tmp_path):
    function = cache.cached(version="1", files=[tmp_path / "model.onnx"])(one)
    assert function(1) == [1]
    assert counters(cache) == {"bypass.failed-key": 1}
    (tmp_path / "model.onnx").write_bytes(b"here now")
    assert function(1) == [1]
    assert counters(cache)["miss"] == 1


KEY_IN_A_PROCESS = """
import sys
import stepaudio_cas as cas
root, model = sys.argv[1:]
function = cas.open(root, log="off").cached(version="1", name="test", files=[model])(len)
print(function.recipe("abc").key)
"""


def test_a_model_file_swapped_under_the_same_name_gives_the_next_process_other_keys(tmp_path):
    model = tmp_path / "model.onnx"

    def key_in_a_process():
        return subprocess.run(
            [sys.executable, "-c", KEY_IN_A_PROCESS, tmp_path / "store", model],
            cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=100,
        ).stdout  # fmt: skip

    model.write_bytes(b"weights 1")
    first = [key_in_a_process(), key_in_a_process()]
    (tmp_path / "new").write_bytes(b"weights 2")
    (tmp_path / "new").replace(model)
    assert first[0] == first[1] != key_in_a_process()


def test_a_fingerprint_takes_the_place_of_all_of_that(cache):
    model = make_fingerprint(settings={"a": 1})
    assert key(cache, 1, fingerprint=model) == key(
        cache, 1, function=with_closure(object), fingerprint=model
    )
    other = make_fingerprint(settings={"a": 2})
    assert key(cache, 1, fingerprint=model) != key(cache, 1, fingerprint=other)


def test_a_function_for_the_fingerprint_gets_the_arguments_by_name(cache):
    seen = []

    def identity(arguments):
        seen.append(dict(arguments))
        return make_fingerprint(settings={"model": arguments["model"]})

    def function(audio, model="small"):
        return [1]

    small = key(cache, b"", function=function, fingerprint=identity, ignore=["model"])
    large = key(cache, b"", "large", function=function, fingerprint=identity, ignore=["model"])
    assert small != large
    assert seen == [{"audio": b"", "model": "small"}, {"audio": b"", "model": "large"}]


def test_a_function_for_the_fingerprint_that_fails_passes_the_call_through(cache):
    function = cache.cached(fingerprint=lambda arguments: arguments["nothing"])(one)
    assert function(1) == [1]
    assert counters(cache) == {"bypass.failed-key": 1}


def test_a_strict_fingerprint_also_counts_the_software(open_cache, root):
    assert key(open_cache(), 1) != key(open_cache(fingerprint="strict"), 1)


def test_a_strict_fingerprint_allows_no_random_results(open_cache):
    cache = open_cache(fingerprint="strict")
    assert cache.cached(version="1", deterministic=False)(one)(1) == [1]
    assert cache.cached(version="1")(one)(1) == [1]
    assert counters(cache) == {"bypass.random-result": 1, "miss": 1, "stored": 1}


def test_without_a_strict_fingerprint_the_first_random_result_is_everybodys(open_cache):
    answers = iter([[1], [2]])
    for _ in range(2):
        cache = open_cache(memory="0")
        function = cache.cached(version="1", deterministic=False, name="t")(
            lambda number: next(answers)
        )
        assert function(1) == [1]


def test_facts_about_the_inputs_are_for_people_and_not_in_the_key(cache, tmp_path):
    for name in ("anna.wav", "ben.wav"):
        (tmp_path / name).write_bytes(b"same")
    recipe = cache.cached(one).recipe(tmp_path / "anna.wav")
    assert recipe.inputs["value"].facts == {"bytes": 4, "name": "anna.wav"}
    assert cache.cached(one).recipe(tmp_path / "ben.wav").key == recipe.key
