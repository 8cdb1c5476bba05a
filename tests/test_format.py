"""What the package does is what docs/format.md says: compared with a program made of that page."""

import collections
import enum
import json
import math

import msgpack
import numpy as np
import pytest

import stepaudio_cas as cas
from stepaudio_cas.store.counters import read_tally, zero
from stepaudio_cas.store.local import LocalBackend
from tests.support.by_the_document import (
    LINE,
    Array,
    Named,
    array_digest,
    digest,
    key_of,
    pack,
    place,
    read,
    read_counters,
    write,
)

DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
]


def plain(value):
    """`value` as the reader returns it: every array and tensor as an `Array`."""
    if isinstance(value, (np.ndarray, np.generic)):
        kind = "numpy" if isinstance(value, np.ndarray) else "scalar"
        return Array(kind, value.dtype.name, list(value.shape), value.tobytes())
    if type(value).__module__ == "torch":
        flat = value.resolve_conj().contiguous().reshape(-1)
        data = bytes(flat.view(dtype=of_torch("uint8")).tolist())
        return Array("torch", str(value.dtype).removeprefix("torch."), list(value.shape), data)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return type(value)(map(plain, value)) if isinstance(value, (list, tuple)) else value


def exactly(value):
    """Tell apart what `==` does not, such as 1, 1.0 and True, and find NaN equal to itself."""
    return repr(value)


def of_torch(name):
    return getattr(pytest.importorskip("torch"), name)


def of_dtype(name, kind):
    """An array of any dtype: bytes that are 0 and 1 mean something in all of them."""
    array = np.tile(np.array([0, 1], dtype="uint8"), 16)
    if kind == "torch":
        return of_torch("from_numpy")(array).view(of_torch(name))
    return array.view(name)


def store(cache, value, **recipe):
    """Have `value` computed and stored through the public interface; return its key."""
    recipe = cas.make_recipe("test.format/1", **recipe)
    cache.get_or_compute(recipe, lambda: value)
    return recipe.key


def type_name(value):
    return type(value).__name__


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


class Colour(enum.Enum):
    RED = "red"


class Holder:
    class Number(enum.IntEnum):
        ONE = 1


VALUES = [
    ([1, 2], [3], [4, 5, 65536]),
    ([],),
    ([-(2**63)], [2**64 - 1]),
    (),
    ([1.0], [True]),
    None,
    [None, True, False, 0, 1.0, -0.0, math.nan, -math.inf, "", "ü\0", b"", b"\xff"],
    {"a": {"b": (1, [2, (3,)], {})}, "tuple": ((), ((),)), 1: {b"x": 2.5}, None: 0},
    nested(16),
    np.arange(6, dtype="int16").reshape(2, 3).T,
    {"features": (np.zeros((2, 0, 3)), [np.float32(0.1), np.array(7)])},
]
ARRAYS = [("torch", name) for name in DTYPES]
ARRAYS += [("numpy", name) for name in DTYPES if name in np.sctypeDict]


@pytest.mark.parametrize("value", VALUES, ids=type_name)
def test_what_the_package_stores_is_read_back_exactly(open_cache, root, value):
    key = store(open_cache(), value)
    assert exactly(read(root, key)) == exactly(plain(value))


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize(("kind", "name"), ARRAYS)
def test_arrays_of_every_dtype_are_read_back_and_keyed(open_cache, root, kind, name):
    value = of_dtype(name, kind)
    expected = Array(kind, name, list(value.shape), b"\0\1" * 16)
    key = store(open_cache(), value, params={"array": value}, inputs={"array": value})
    assert read(root, key) == expected
    inputs = {"array": ("array", array_digest(expected))}
    assert key == key_of("test.format/1", None, {"array": expected}, inputs)


def test_tensors_are_read_back_in_c_order_whatever_their_layout(open_cache, root):
    torch = pytest.importorskip("torch")
    value = (
        torch.arange(6).reshape(2, 3).T,
        {"conjugate": torch.tensor([1 + 2j]).conj(), "scalar": torch.tensor(3.5)},
        [torch.ones(4, dtype=torch.bfloat16)[::2], torch.empty(0, 2)],
    )
    assert exactly(read(root, store(open_cache(), value))) == exactly(plain(value))


def test_every_document_of_a_store_verifies(open_cache, root, tmp_path):
    cache = open_cache()
    keys = {store(cache, value, params={"n": n}) for n, value in enumerate(VALUES)}
    model = tmp_path / "modèle.onnx"
    model.write_bytes(b"weights")

    @cache.cached(files=[model])
    def tokenize(audio, rate, *, text="ü"):
        return [1, 2], [3]

    tokenize(np.zeros(8, dtype="float32"), 16000)
    cache.close()

    for path in root.glob("v1/objects/*/[!.]*"):
        assert path == place(root, "objects", digest(path.read_bytes()))
    manifests = {path.stem: path for path in root.glob("v1/manifests/*/[!.]*")}
    assert len(manifests) == len(keys) + 1
    assert keys < set(manifests)
    for key, path in manifests.items():
        assert path == place(root, "manifests", key, ".json")
        read(root, key)
    (fingerprint,) = root.glob("v1/fingerprints/[!.]*")
    data = fingerprint.read_bytes()
    fields = json.loads(data)
    assert fingerprint.name == f"{digest(data)}.json"
    assert data == json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    assert fields["format"] == 1
    assert fields["files"] == {model.name: {"digest": digest(b"weights"), "size": 7}}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        *(0, 1, -12, 2**200),
        *(1.0, -0.0, math.inf, math.nan, -math.nan),
        *(1 - 2j, complex(math.nan, -0.0)),
        *("", "1", "ü\0"),
        *(b"", b"\xff:"),
        *([], (), [1, [2.0]], (1, ("a", b"a"))),
        {"b": 1, "a": {2: None, (1,): 3, "aa": [], True: ()}},
        *({3, -1, "x"}, frozenset({(1,), 1.5})),
        nested(63),
        *(np.float32(2), np.bool_(True), np.array(2.0), np.zeros((2, 0))),
        {"mel": (np.arange(6, dtype="uint16").reshape(2, 3).T, [np.int64(3)])},
    ],
    ids=type_name,
)
def test_the_key_of_any_parameter_follows_from_the_document(value):
    key = cas.make_recipe("schema/1", params={"p": value, "other": 1}).key
    assert key == key_of("schema/1", None, {"other": 1, "p": plain(value)}, {})


@pytest.mark.parametrize(
    ("member", "name"), [(Colour.RED, "Colour.RED"), (Holder.Number.ONE, "Holder.Number.ONE")]
)
def test_the_key_of_an_enum_member_has_its_class_name_and_value(member, name):
    expected = key_of("s", None, {"p": Named(("enum", name, member.value))}, {})
    assert cas.make_recipe("s", params={"p": member}).key == expected


def test_the_key_of_torch_dtypes_and_devices_has_their_names():
    torch = pytest.importorskip("torch")
    params = {"dtype": torch.bfloat16, "device": torch.device("cuda", 1)}
    names = {
        "dtype": Named(("torch.dtype", "torch.bfloat16")),
        "device": Named(("torch.device", "cuda:1")),
    }
    assert cas.make_recipe("s", params=params).key == key_of("s", None, names, {})


def test_the_key_of_inputs_has_the_digests_of_their_contents():
    clip = np.arange(8, dtype="float32").reshape(2, 4)[:, ::2]
    inputs = {"clip": clip, "speech": of_torch("from_numpy")(clip), "file": b"RIFF"}
    expected = {
        "clip": ("array", array_digest(plain(clip))),
        "file": ("bytes", digest(b"RIFF")),
        "speech": ("array", array_digest(plain(inputs["speech"]))),
    }
    recipe = cas.make_recipe("s", inputs=inputs, params={"rate": 16000})
    assert recipe.key == key_of("s", None, {"rate": 16000}, expected)


def test_the_key_of_a_decorated_call_follows_from_its_manifest(open_cache, root, tmp_path):
    cache, prompt, model = open_cache(), tmp_path / "prompt.wav", tmp_path / "model.onnx"
    prompt.write_bytes(b"RIFF")
    model.write_bytes(b"weights")

    @cache.cached(files=[model])
    def embed(audio, prompt, rate, *, floor=-80.0):
        return np.abs(audio)

    embed(np.ones(8, dtype="float32"), prompt, 16000)
    (path,) = root.glob("v1/manifests/*/[!.]*")
    manifest = json.loads(path.read_bytes())
    inputs = {name: (told["kind"], told["digest"]) for name, told in manifest["inputs"].items()}
    assert inputs == {
        "audio": ("array", array_digest(plain(np.ones(8, dtype="float32")))),
        "prompt": ("bytes", digest(b"RIFF")),
    }
    assert manifest["params"] == {"rate": 16000, "floor": -80.0}
    assert (root / "v1/fingerprints" / f"{manifest['fingerprint']}.json").exists()
    described = (manifest["schema"], manifest["fingerprint"], manifest["params"], inputs)
    assert path.stem == key_of(*described)


@pytest.fixture
def signing(tmp_path):
    path = tmp_path / "signing.key"
    path.write_bytes(b"  " + LINE + b" \n")
    path.chmod(0o600)
    return {"signing_key_file": str(path)}


def test_the_mac_of_a_signed_store_verifies(open_cache, root, signing):
    key = store(open_cache(**signing), ([1], [2], [3]))
    assert read(root, key, LINE) == read(root, key) == ([1], [2], [3])
    with pytest.raises(LookupError):
        read(root, key, LINE[::-1])


def test_an_unsigned_manifest_is_a_miss_for_a_reader_with_a_key(open_cache, root):
    key = store(open_cache(), ([1], [2], [3]))
    with pytest.raises(LookupError):
        read(root, key, LINE)


@pytest.mark.parametrize("value", VALUES, ids=type_name)
def test_what_others_wrote_by_the_document_is_a_hit(open_cache, root, value):
    recipe = cas.make_recipe("independent", params={"n": 1})
    write(root, key_of("independent", None, {"n": 1}, {}), "value/1", pack(plain(value)))
    cache = open_cache()
    assert exactly(plain(cache.get(recipe))) == exactly(plain(value))
    assert cache.stats()["hits"] == 1


def test_a_tensor_that_others_wrote_is_a_hit(open_cache, root):
    torch = pytest.importorskip("torch")
    recipe = cas.make_recipe("independent")
    content = pack(Array("torch", "bfloat16", [2, 1], b"\x80\x3f\x00\x40"))
    write(root, recipe.key, "value/1", content)
    found = open_cache().get(recipe)
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [[1.0], [2.0]]


def test_tokens_that_others_signed_by_the_document_are_a_hit(open_cache, root, signing):
    recipe = cas.make_recipe("independent", inputs={"audio": b"RIFF"})
    key = key_of("independent", None, {}, {"audio": ("bytes", digest(b"RIFF"))})
    write(root, key, "tokens/1", msgpack.packb([[1, 2], [3], []]), LINE)
    cache = open_cache(**signing)
    assert cache.get(recipe) == ([1, 2], [3], [])
    assert cache.stats()["hits"] == 1


def test_counters_add_up_over_the_processes_of_a_store(open_cache, root):
    told = collections.Counter()
    for _ in range(3):
        cache = open_cache()
        for n in (1, 2, 2):
            store(cache, ([n],), params={"n": n})
        cache.close()
        told.update(cache.stats()["counters"])
    assert told["miss"] == told["stored"] == 2
    assert read_counters(root) == pytest.approx(told)


def test_counters_that_were_folded_are_counted_once(open_cache, root):
    def document(name, absorbed, count):
        subject = {"plugin": "", "model": "", "counts": {"miss": count}}
        fields = {"format": 1, "process": {}, "since": 1.0, "updated": 2.0, "processes": 1}
        fields |= {"absorbed": absorbed, "subjects": [subject]}
        (root / "v1/counters" / name).write_text(json.dumps(fields))

    cache = open_cache()
    store(cache, ([1],))
    cache.close()
    document("a.json", [], 10)  # folded, and not yet deleted
    document("fold-1.json", ["a.json", "b.json"], 30)  # two folded at the same time
    document("fold-2.json", ["a.json", "b.json", "c.json"], 70)
    assert read_counters(root)["miss"] == 71


def test_counters_that_were_zeroed_are_counted_from_there(open_cache, root):
    for number in range(2):
        cache = open_cache()
        store(cache, ([1],), params={"n": number})
        cache.close()
        if number == 0:
            zero(LocalBackend(root))
            assert read_counters(root)["miss"] == 0
    assert read_counters(root)["miss"] == 1
    tally = read_tally(LocalBackend(root))
    assert {name: n for name, n in read_counters(root).items() if n} == pytest.approx(
        tally.totals()
    )
