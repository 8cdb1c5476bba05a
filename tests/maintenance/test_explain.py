"""Which ingredient of a key differs."""

import pytest

import stepaudio_cas as cas
from stepaudio_cas.identity.files import FileDigest
from stepaudio_cas.maintenance.explain import (
    Known,
    Nearest,
    differences,
    hints,
    ingredients,
    known,
    show,
)
from stepaudio_cas.maintenance.inventory import manifests
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend

A, B = "a" * 64, "b" * 64


def model(**parts):
    files = {
        role: FileDigest(digest, size) for role, (digest, size) in parts.get("files", {}).items()
    }
    return cas.make_fingerprint(
        files=files,
        settings=parts.get(
            "settings", {"chunk_size": [0, 4, 5], "conf": {"mels": 80, "fs": 16000}}
        ),
        source=parts.get("source", {"StepAudioTokenizer": "def encode"}),
        runtime=parts.get("runtime"),
    )


PLAIN = {
    "schema": "test.Encoder.encode/1",
    "inputs": {"audio": b"one"},
    "params": {"rate": 16000, "trim": True, "energy_norm": True},
    "fingerprint": model(files={"speech_tokenizer_v1.onnx": (A, 512_000_000)}),
}


@pytest.fixture
def keep(root, open_cache):
    """Keep an entry of a recipe that differs from the plain one; return what is known of it."""
    cache = open_cache(memory=0)

    def keep_(created="2026-11-02T10:00:00Z", label="", producer=None, **changed):
        recipe = cas.make_recipe(**{**PLAIN, **changed})
        cache.put(recipe, [1], label=label)
        store = cache.chain.tiers[0].store
        kept = known(store.backend, store.read(recipe.key).manifest)
        about = {"created": created} | ({"producer": producer} if producer else {})
        return kept._replace(manifest=kept.manifest._replace(**about))

    return keep_


def texts(one, other):
    return [difference.text for difference in differences(one, other)]


def test_the_same_key_has_no_difference(keep):
    assert differences(keep(), keep()) == []


def test_a_parameter_that_differs_is_named_with_both_values(keep):
    other = keep(params={"rate": 16000, "trim": True, "energy_norm": False, "more": "x"})
    assert texts(keep(), other) == ["param energy_norm: True -> False", "param more: none -> x"]
    (first, _) = differences(keep(), other)
    assert (first.part, first.name, first.before, first.after) == (
        "param", "energy_norm", True, False,
    )  # fmt: skip


def test_a_type_is_a_difference_too(keep):
    other = keep(params={**PLAIN["params"], "trim": 1})
    assert texts(keep(), other) == ["param trim: True -> 1"]


def test_a_model_file_that_changed_is_named_with_the_days_between(keep):
    files = {"speech_tokenizer_v1.onnx": (B, 512_000_000)}
    other = keep("2026-11-20T10:00:00Z", fingerprint=model(files=files))
    assert texts(keep(), other) == [
        (
            "speech_tokenizer_v1.onnx changed between 2026-11-02 and 2026-11-20:"
            " aaaaaaaa (512.0 MB) -> bbbbbbbb (512.0 MB)"
        )
    ]
    assert "on 2026-11-02:" in texts(keep(), keep(fingerprint=model(files=files)))[0]


def test_a_model_file_that_came_and_one_that_went(keep):
    other = keep(fingerprint=model(files={"cmvn": (B, 100)}))
    assert [text.partition(": ")[2] for text in texts(keep(), other)] == [
        "aaaaaaaa (512.0 MB) -> none",
        "none -> bbbbbbbb (100 B)",
    ]


def test_settings_are_compared_inside(keep):
    files = {"speech_tokenizer_v1.onnx": (A, 512_000_000)}
    settings = {"chunk_size": [0, 8, 5], "conf": {"mels": 128, "fs": 16000}}
    other = keep(fingerprint=model(files=files, settings=settings))
    assert texts(keep(), other) == [
        "setting chunk_size: [0, 4, 5] -> [0, 8, 5]",
        "setting conf.mels: 80 -> 128",
    ]


def test_a_changed_source_is_named(keep):
    files = {"speech_tokenizer_v1.onnx": (A, 512_000_000)}
    other = keep(fingerprint=model(files=files, source={"StepAudioTokenizer": "def other"}))
    (text,) = texts(keep(), other)
    assert text.startswith("the source of StepAudioTokenizer changed on 2026-11-02: ")


def test_strict_fingerprints_say_what_of_the_machine_differs(keep):
    files = {"speech_tokenizer_v1.onnx": (A, 512_000_000)}
    one = keep(fingerprint=model(files=files, runtime={"torch": "2.3.1"}))
    other = keep(fingerprint=model(files=files, runtime={"torch": "2.6.0"}))
    assert texts(one, other) == ["torch: 2.3.1 -> 2.6.0"]
    assert "only one of the two is of STEPAUDIO_CAS_FINGERPRINT=strict" in texts(keep(), one)


def test_other_audio_is_told_by_its_size(keep):
    assert texts(keep(), keep(inputs={"audio": b"three"})) == [
        "input audio: other content, 3 bytes -> 5 bytes"
    ]
    assert texts(keep(), keep(inputs={"audio": b"two"})) == [
        "input audio: other content, of the same size"
    ]
    assert texts(keep(), keep(inputs={"audio": b"one", "more": b"x"})) == [
        "input more: only in the second"
    ]


def test_another_version_of_the_plugin(keep):
    other = keep(schema="test.Encoder.encode/2")
    (text,) = texts(keep(), other)
    assert text.endswith("test.Encoder.encode/1 -> test.Encoder.encode/2")


def test_what_a_manifest_does_not_show_is_said_to_be_that(keep):
    one, other = keep(params={"x": (1, 2)}), keep(params={"x": [1, 2]})
    (text,) = texts(one, other)
    assert "exact type or value" in text


def test_long_values_that_differ_further_on(keep):
    one, other = keep(params={"x": "a" * 100 + "b"}), keep(params={"x": "a" * 100 + "c"})
    assert texts(one, other) == ["param x: one value -> another"]


def test_a_model_whose_description_is_gone(keep, root):
    other = keep(fingerprint=model(files={"cmvn": (B, 100)}))
    id_ = other.manifest.fingerprint
    LocalBackend(root).delete(layout.fingerprint_path(id_))
    again = known(LocalBackend(root), other.manifest)
    (text,) = texts(keep(), again)
    assert text.endswith(f"what {id_[:8]} is made of is not in this store")


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b"[1]"])
def test_a_damaged_description_is_not_believed(data, keep, root):
    one = keep()
    LocalBackend(root).put(layout.fingerprint_path(one.manifest.fingerprint), data)
    assert known(LocalBackend(root), one.manifest).model is None


def test_what_computed_it_is_a_hint_only(keep):
    one = keep(producer={"torch": "2.3.1", "host": "a"})
    other = keep(producer={"torch": "2.6.0", "host": "a"}, inputs={"audio": b"two"})
    assert [hint.text for hint in hints(one, other)] == ["torch: 2.3.1 -> 2.6.0"]
    assert "torch" not in " ".join(texts(one, other))


def test_a_key_is_made_of_all_its_ingredients(keep):
    made = list(ingredients(keep()))
    assert [(part, name) for part, name, _ in made] == [
        ("method", ""), ("input", "audio"), ("param", "rate"), ("param", "trim"),
        ("param", "energy_norm"), ("file", "speech_tokenizer_v1.onnx"), ("setting", "chunk_size"),
        ("setting", "conf"), ("source", "StepAudioTokenizer"),
    ]  # fmt: skip
    shown = [show(part, value) for part, _, value in made]
    assert shown[1].startswith("bytes ")
    assert shown[1].endswith("(3 bytes)")
    assert shown[5] == "aaaaaaaa (512.0 MB)"
    unknown = Known(keep().manifest)
    assert list(ingredients(unknown))[-1] == ("model", "", keep().manifest.fingerprint)


def nearest(root, wanted):
    found = Nearest([wanted])
    found.consider(manifests(LocalBackend(root)))
    found.consider(manifests(LocalBackend(root)))  # the same entries, in a second store
    return [manifest.key for manifest in found.of(wanted.key)]


def test_the_nearest_has_the_same_input_then_the_same_model_then_the_same_name(keep, root):
    other_model = model(files={"cmvn": (B, 100)})
    keep(schema="test.Other.encode/1")
    keep(inputs={"audio": b"far"}, fingerprint=other_model, label="/voices/bert.wav")
    name = keep(inputs={"audio": b"old"}, fingerprint=other_model, label="/voices/anna.wav")
    same_model = keep(inputs={"audio": b"two"})
    same_input = keep(fingerprint=other_model)
    wanted = cas.make_recipe(**PLAIN)
    manifest = same_input.manifest._replace(
        key=wanted.key, label="/elsewhere/anna.wav", fingerprint=wanted.fingerprint.id
    )
    expected = [one.manifest.key for one in (same_input, same_model, name)]
    assert nearest(root, manifest) == expected


def test_of_many_that_are_equally_near_the_best_few_are_kept(keep, root):
    for number in range(9):
        keep(inputs={"audio": b"%d" % number}, label=f"{number}.wav")
    wanted = keep().manifest._replace(key="0" * 64, inputs={"audio": {"name": "7.wav"}})
    found = nearest(root, wanted)
    assert len(found) == 3
    assert found[0] == keep(inputs={"audio": b"7"}, label="7.wav").manifest.key


def test_nothing_that_is_unlike_is_near(keep, root):
    keep()
    wanted = keep().manifest._replace(key="0" * 64, fingerprint=B, inputs={"audio": {}})
    assert nearest(root, wanted) == []
