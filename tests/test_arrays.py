import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepaudio_cas import arrays
from stepaudio_cas.arrays import RawArray, content, fresh_copy, restore, trailer, view
from stepaudio_cas.errors import Bypass, Damaged

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
searching = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])

BY_EXTENSION = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
NUMPY_TYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
TORCH_TYPES = (*NUMPY_TYPES, *BY_EXTENSION, "complex32")
SHAPES = [(), (0,), (1,), (5,), (2, 3), (0, 3), (3, 0), (1, 1), (2, 1, 3)]

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
steps = st.sampled_from([1, 2, 3])


def bits(count, dtype="uint8"):
    """Some bytes; for booleans, ones and zeros."""
    data = (np.arange(count, dtype="uint32") * 37 + 11).astype("uint8")
    return data % 2 if dtype == "bool" else data


def tensor(dtype, shape=(2, 3)):
    kind = getattr(torch, dtype)
    size = torch.empty(0, dtype=kind).element_size()
    flat = torch.from_numpy(bits(int(np.prod(shape)) * size, dtype))
    return flat.view(kind).reshape(shape) if flat.numel() else torch.empty(shape, dtype=kind)


def ndarray(dtype, shape=(2, 3)):
    size = np.dtype(dtype).itemsize
    return bits(int(np.prod(shape)) * size, dtype).view(dtype).reshape(shape)


def in_memory(array):
    """The bytes of an array, by another way than the one under test."""
    if isinstance(array, torch.Tensor):
        data = array.detach().resolve_conj().resolve_neg().contiguous().clone()
        return bytes(data.untyped_storage())
    return array.tobytes("C")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TORCH_TYPES)
def test_a_tensor_comes_back_as_it_was(dtype, shape):
    before = tensor(dtype, shape)
    after = restore(view(before))
    assert type(after) is torch.Tensor
    assert (after.dtype, after.shape) == (before.dtype, before.shape)
    assert in_memory(after) == in_memory(before)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_an_array_comes_back_as_it_was(dtype, shape):
    before = ndarray(dtype, shape)
    after = restore(view(before))
    assert type(after) is np.ndarray
    assert (after.dtype, after.shape) == (before.dtype, before.shape)
    assert in_memory(after) == in_memory(before)


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_a_numpy_scalar_comes_back_as_a_scalar(dtype):
    before = ndarray(dtype, (1,))[0]
    after = restore(view(before))
    assert type(after) is type(before)
    assert after.tobytes() == before.tobytes()


@pytest.mark.parametrize("value", [tensor("int16"), ndarray("int16"), tensor("bool", ())])
def test_what_comes_back_is_writable_and_its_own(value):
    raw = view(value)
    kept = bytes(raw.data)
    after = restore(raw)
    after[...] = 0 if after.any() else 1
    assert bytes(raw.data) == kept
    assert not torch.equal(torch.as_tensor(after), torch.as_tensor(value))


@pytest.mark.parametrize("value", [tensor("float32"), ndarray("float32")], ids=["torch", "numpy"])
def test_the_bytes_are_little_endian_and_in_c_order(value):
    raw = view(value)
    assert bytes(raw.data) == np.asarray(value).astype("<f4").tobytes("C")
    assert (raw.dtype, raw.shape, raw.device) == ("float32", (2, 3), "cpu")


VIEWS = {
    "transposed": lambda x: x.t() if isinstance(x, torch.Tensor) else x.T,
    "a channel": lambda x: x[:, 0],
    "every other": lambda x: x[:, ::2],
    "one of a row": lambda x: x[:1, 1],
    "a part": lambda x: x[1:, 1:],
    "new axes": lambda x: x[None, :, None],
    "repeated": lambda x: (
        x[:, :1].expand(4, 5) if isinstance(x, torch.Tensor) else np.broadcast_to(x[:, :1], (4, 5))
    ),
}


@pytest.mark.parametrize("look", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("dtype", ["float32", "int16", "bfloat16", "bool", "complex64"])
def test_strides_of_a_tensor_do_not_matter(dtype, look):
    strided = look(tensor(dtype, (4, 6)))
    assert bytes(view(strided).data) == in_memory(strided)
    assert digestible(strided) == digestible(strided.clone(memory_format=torch.contiguous_format))


@pytest.mark.parametrize(
    "look", [*VIEWS.values(), lambda x: x[::-1, ::-1]], ids=[*VIEWS, "backwards"]
)
@pytest.mark.parametrize("dtype", ["float32", "int16", "bool", "complex64"])
def test_strides_of_an_array_do_not_matter(dtype, look):
    strided = look(ndarray(dtype, (4, 6)))
    assert bytes(view(strided).data) == in_memory(strided)
    assert digestible(strided) == digestible(np.ascontiguousarray(strided))


def test_fortran_order_does_not_matter():
    array = ndarray("float32", (3, 4))
    assert digestible(np.asfortranarray(array)) == digestible(array)


def test_a_lazy_conjugate_or_negative_is_what_it_says():
    numbers = torch.tensor([1 + 2j, 3 - 4j])
    conjugate, negative = numbers.conj(), numbers.conj().imag
    assert conjugate.is_conj()
    assert negative.is_neg()
    assert digestible(conjugate) == digestible(torch.tensor([1 - 2j, 3 + 4j]))
    assert digestible(negative) == digestible(torch.tensor([-2.0, 4.0]))
    assert digestible(negative[:1]) == digestible(torch.tensor([-2.0]))


@pytest.mark.parametrize(
    "value",
    [torch.ones(3, requires_grad=True), torch.nn.Parameter(torch.ones(3))],
    ids=["requires grad", "parameter"],
)
def test_a_gradient_does_not_matter(value):
    assert digestible(value) == digestible(torch.ones(3))


def test_a_memory_mapped_file_is_an_array(tmp_path):
    array = ndarray("float32", (4, 4))
    array.tofile(tmp_path / "a")
    mapped = np.memmap(tmp_path / "a", "float32", "r", shape=(4, 4))
    assert digestible(mapped) == digestible(array)


def digestible(value):
    data, end = content(value)
    return bytes(data), end


def address(data):
    return np.frombuffer(data, "uint8").ctypes.data


@pytest.mark.parametrize("dtype", TORCH_TYPES)
def test_the_memory_of_a_contiguous_tensor_is_not_copied(dtype):
    value = tensor(dtype, (3, 4))[1:]
    assert address(content(value)[0]) == address(view(value).data) == value.data_ptr()


@pytest.mark.parametrize("grad", [False, True])
def test_the_memory_of_a_parameter_is_not_copied(grad):
    value = torch.nn.Parameter(torch.ones(4), requires_grad=grad)
    assert address(content(value)[0]) == value.data_ptr()


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_the_memory_of_a_contiguous_array_is_not_copied(dtype):
    value = ndarray(dtype, (3, 4))[1:]
    assert address(content(value)[0]) == address(view(value).data) == value.ctypes.data


@st.composite
def tensors(draw):
    shape, dtype = draw(shapes), draw(st.sampled_from(TORCH_TYPES))
    value = tensor(dtype, tuple(n * 3 for n in shape))
    value = value[tuple(slice(None, None, draw(steps)) for _ in shape)]
    order = draw(st.permutations(range(len(shape))))
    value = value.permute(order)
    return value.requires_grad_() if draw(st.booleans()) and value.is_floating_point() else value


@st.composite
def ndarrays(draw):
    shape, dtype = draw(shapes), draw(st.sampled_from(NUMPY_TYPES))
    value = ndarray(dtype, tuple(n * 3 for n in shape))
    signs = st.sampled_from([1, -1])
    value = value[tuple(slice(None, None, draw(steps) * draw(signs)) for _ in shape)]
    return value.transpose(draw(st.permutations(range(len(shape)))))


@searching
@given(tensors() | ndarrays())
def test_the_fast_way_to_the_content_agrees_with_the_long_one(value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = view(value)
        data, end = content(value)
        assert bytes(data) == bytes(raw.data) == in_memory(value)
        assert end == trailer(raw.kind, raw.dtype, raw.shape)


@searching
@given(ndarrays() | tensors())
def test_whatever_its_strides_an_array_comes_back(value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        after = restore(view(value))
        assert type(after) is type(value)
        assert (after.dtype, tuple(after.shape)) == (value.dtype, tuple(value.shape))
        assert in_memory(after) == in_memory(value)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: np.array([1, 2], ">i2"), "unsupported-dtype"),
        (lambda: np.array([object()]), "unsupported-dtype"),
        (lambda: np.array(["a"]), "unsupported-dtype"),
        (lambda: np.zeros(1, "M8[s]"), "unsupported-dtype"),
        (lambda: np.zeros(1, [("a", "f4")]), "unsupported-dtype"),
        (lambda: np.zeros(1, np.longdouble), "unsupported-dtype"),
        (lambda: np.matrix([[1]]), "unsupported-array"),
        (lambda: np.ma.array([1], mask=[True]), "unsupported-array"),
        (lambda: torch.eye(2).to_sparse(), "unsupported-tensor"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8), "unsupported-tensor"),
        (lambda: torch.empty(2, device="meta"), "unsupported-tensor"),
        (lambda: torch.empty(0, device="meta"), "unsupported-tensor"),
        (lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "unsupported-tensor"),
        (lambda: torch.empty(2, dtype=torch.bits8), "unsupported-dtype"),
        (lambda: [1, 2], "unsupported-array"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_what_has_no_exact_bytes_is_a_bypass(make, reason):
    for look in (view, content):
        with pytest.raises(Bypass) as caught:
            look(make())
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    "raw",
    [
        RawArray("numpy", "float31", (1,), b"0000"),
        RawArray("numpy", "object", (1,), b"00000000"),
        RawArray("numpy", "float32", (1,), b"000"),
        RawArray("numpy", "float32", (2,), b"0000"),
        RawArray("numpy", "float32", (0,), b"0000"),
        RawArray("numpy", "float32", (), b""),
        RawArray("torch", "int8", (-1, -1), b"0"),
        RawArray("torch", "int8", (-1,), b""),
        RawArray("torch", "int8", (True,), b"0"),
        RawArray("torch", "int8", (1.0,), b"0"),
        RawArray("torch", "int8", ("1",), b"0"),
        RawArray("jax", "int8", (1,), b"0"),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_are_damaged(raw):
    with pytest.raises(Damaged) as caught:
        restore(raw)
    assert caught.value.kind == "array"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool"])
def test_a_fresh_copy_of_a_tensor_shares_nothing(dtype):
    value = tensor(dtype, (4, 6)).t()
    copy = fresh_copy(value)
    assert torch.equal(copy, value)
    assert copy.dtype == value.dtype
    assert copy.untyped_storage().data_ptr() != value.untyped_storage().data_ptr()


def test_a_fresh_copy_of_an_array_shares_nothing():
    value = ndarray("int16", (4, 6)).T
    copy = fresh_copy(value)
    assert np.array_equal(copy, value)
    assert copy.dtype == value.dtype
    assert not np.shares_memory(copy, value)
    assert copy.flags.writeable


def test_a_fresh_copy_carries_no_gradient():
    assert not fresh_copy(torch.ones(2, requires_grad=True)).requires_grad


def test_a_numpy_scalar_is_its_own_copy():
    value = np.float32(1.5)
    assert fresh_copy(value) is value


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (np.zeros(1), True), (np.float32(1), True), (torch.zeros(1), True),
        (torch.nn.Parameter(torch.zeros(1)), True), ([1.0], False), (1.0, False), (None, False),
        (b"", False), (np.ndarray, False),
    ],
)  # fmt: skip
def test_what_an_array_is(value, answer):
    assert arrays.is_array(value) is answer


def test_no_trailer_is_the_end_of_another():
    trailers = {
        trailer(kind, dtype, shape)
        for kind in ("numpy", "torch", "scalar")
        for dtype in TORCH_TYPES
        for shape in [*SHAPES, (15,), (1, 5), (51,)]
    }
    assert len(trailers) == 3 * len(TORCH_TYPES) * (len(SHAPES) + 3)
    for one in trailers:
        assert one.rfind(b"\0array\0") == 0


@pytest.mark.parametrize("dtype", BY_EXTENSION)
def test_numpy_reads_the_types_that_an_extension_adds(dtype, monkeypatch):
    # Without the extension this is an ImportError that says so, not a damaged entry.
    monkeypatch.setattr(arrays.importlib, "import_module", missing("ml_dtypes"))
    with pytest.raises(ModuleNotFoundError, match="ml_dtypes"):
        restore(RawArray("numpy", dtype, (1,), b"00"[: 2 if dtype == "bfloat16" else 1]))


def missing(absent):
    def import_module(name):
        if name == absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return np if name == "numpy" else torch

    return import_module
