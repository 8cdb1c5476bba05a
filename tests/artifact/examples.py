"""What the tests of artifacts share: values a host may return, and when two are the same."""

import struct

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

searching = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)

NUMPY_TYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
TORCH_TYPES = (
    *NUMPY_TYPES, "bfloat16", "complex32",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
)  # fmt: skip


def ndarray(dtype, shape=(2, 3)):
    size = np.dtype(dtype).itemsize * int(np.prod(shape))
    data = (np.arange(size) * 37 + 11) % (2 if dtype == "bool" else 256)
    return data.astype("uint8").view(dtype).reshape(shape)


def tensor(dtype, shape=(2, 3)):
    kind = getattr(torch, dtype)
    count = int(np.prod(shape))
    if count == 0:
        return torch.empty(shape, dtype=kind)
    size = torch.empty(0, dtype=kind).element_size()
    data = ndarray("bool" if dtype == "bool" else "uint8", (count * size,)).view("uint8")
    return torch.from_numpy(data).view(kind).reshape(shape)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
integers = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | integers | st.floats() | text | st.binary(max_size=8)
keys = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | text | st.binary()
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
some_arrays = st.builds(ndarray, st.sampled_from(NUMPY_TYPES), shapes) | st.builds(
    tensor, st.sampled_from([name for name in TORCH_TYPES if name != "complex32"]), shapes
)
scalar_arrays = st.sampled_from(NUMPY_TYPES).map(lambda dtype: ndarray(dtype, (1,))[0])
values = st.recursive(
    scalars | some_arrays | scalar_arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=20,
)
tokens = st.lists(st.lists(integers, max_size=6), min_size=1, max_size=4).map(tuple)


def same(left, right):
    """Whether two values are of the same types with the same content, to the last bit."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and not isinstance(left, np.generic):
        return struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    if isinstance(left, torch.Tensor):
        return (left.dtype, left.shape) == (right.dtype, right.shape) and bits(left) == bits(right)
    if isinstance(left, (np.ndarray, np.generic)):
        parts = (left.dtype, left.shape, left.tobytes())
        return parts == (right.dtype, right.shape, right.tobytes())
    return left == right


def bits(tensor):
    return bytes(tensor.resolve_conj().contiguous().clone().untyped_storage())


def nested(levels, wrap=lambda value: [value], core=()):
    """`levels` containers inside each other."""
    for _ in range(levels):
        core = wrap(core)
    return core
