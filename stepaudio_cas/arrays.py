"""NumPy arrays and torch tensors seen as what they are made of: kind, dtype, shape, bytes.

Both libraries are looked up among the modules the process has already loaded: a value of theirs
cannot exist before they do, so neither is ever imported for a look.
"""

from __future__ import annotations

import importlib
import math
import sys
from functools import lru_cache
from typing import Any, Final, NamedTuple

from stepaudio_cas.errors import Bypass, Damaged

NUMPY: Final = "numpy"
TORCH: Final = "torch"
SCALAR: Final = "scalar"

_ITEM_SIZES: Final = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
    "int64": 8, "uint64": 8, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8,
    "complex32": 4, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
}  # fmt: skip
_NUMPY_ONLY_BY_EXTENSION: Final = frozenset(
    n for n in _ITEM_SIZES if n.startswith(("bf", "float8"))
)


_ARRAY_TYPES: Final[dict[type, bool]] = {}  # the few types of arguments; grows no further


class RawArray(NamedTuple):
    """An array without its library. `data` is C-ordered and little-endian."""

    kind: str
    dtype: str
    shape: tuple[int, ...]
    data: Any
    device: str = "cpu"


@lru_cache(maxsize=4096)
def trailer(kind: str, dtype: Any, shape: tuple[int, ...]) -> bytes:
    """Say everything but the content; none is the end of another, so it can follow the content."""
    name = str(dtype).removeprefix("torch.")
    return f"\0array\0{kind}\0{name}\0{','.join(map(str, shape))}".encode()


def is_array_type(kind: type) -> bool:
    """Tell whether `view` would accept values of this type at all."""
    known = _ARRAY_TYPES.get(kind)
    if known is None:
        known = _ARRAY_TYPES[kind] = _is_array_type(kind)
    return known


def _is_array_type(kind: type) -> bool:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (torch is not None and issubclass(kind, torch.Tensor)) or (
        numpy is not None and issubclass(kind, (numpy.ndarray, numpy.generic))
    )


def is_array(value: object) -> bool:
    """Tell whether `view` would accept this kind of value at all."""
    return is_array_type(type(value))


def content(value: Any) -> tuple[Any, bytes]:
    """Return an array's bytes and its trailer; the fastest way to what a digest needs."""
    torch = sys.modules.get("torch")
    if torch is not None and type(value) is torch.Tensor:
        try:
            return memoryview(value.numpy()).cast("B"), trailer(TORCH, value.dtype, value.shape)
        except (RuntimeError, TypeError):
            pass  # a gradient, a device, strides, bfloat16, no elements … : the long way
    raw = view(value)
    return raw.data, trailer(raw.kind, raw.dtype, raw.shape)


def view(value: Any) -> RawArray:
    """See an array or tensor as bytes, without a copy where its memory is contiguous on the CPU.

    Raises `Bypass` for what has no exact description as bytes (objects, sparse, quantised …).
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _view_tensor(torch, value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _view_ndarray(numpy, numpy.asarray(value), SCALAR)
    if numpy is not None and type(value) in {numpy.ndarray, numpy.memmap}:
        return _view_ndarray(numpy, value, NUMPY)
    raise Bypass("unsupported-array", f"{type(value).__module__}.{type(value).__qualname__}")


def _view_tensor(torch: Any, tensor: Any) -> RawArray:
    if type(tensor) not in {torch.Tensor, torch.nn.Parameter}:
        raise Bypass("unsupported-tensor", f"a {type(tensor).__qualname__}")
    if tensor.layout is not torch.strided or tensor.is_nested:
        raise Bypass("unsupported-tensor", f"{tensor.layout} tensor")
    if tensor.is_quantized or tensor.is_meta:
        raise Bypass("unsupported-tensor", f"{tensor.layout} tensor of {tensor.dtype}")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _ITEM_SIZES:
        raise Bypass("unsupported-dtype", f"tensor of {tensor.dtype}")
    plain = tensor.detach()
    device = plain.device
    if device.type != "cpu":
        plain = plain.cpu()
    flat = plain.resolve_conj().resolve_neg().reshape(-1)
    if flat.stride(0) != 1:  # a stereo channel; also one element of a wider row
        flat = flat.clone(memory_format=torch.contiguous_format)
    data = flat.view(torch.uint8).numpy() if flat.numel() else b""
    return RawArray(TORCH, dtype, tuple(tensor.shape), data, str(device))


def _view_ndarray(numpy: Any, array: Any, kind: str) -> RawArray:
    dtype = array.dtype
    if dtype.name not in _ITEM_SIZES or not dtype.isnative:
        raise Bypass("unsupported-dtype", f"array of {dtype!r}")
    flat = array.reshape(-1)
    data = numpy.ascontiguousarray(flat).view(numpy.uint8) if flat.size else b""
    return RawArray(kind, dtype.name, array.shape, data)


def restore(raw: RawArray) -> Any:
    """Make the array again: fresh, writable memory. Raises `Damaged` if the parts do not fit."""
    size = _ITEM_SIZES.get(raw.dtype)
    if size is None or any(type(n) is not int or n < 0 for n in raw.shape):
        raise Damaged("array", f"{raw.dtype} {raw.shape}")
    if math.prod(raw.shape) * size != len(raw.data):
        raise Damaged("array", f"{raw.dtype} {raw.shape} with {len(raw.data)} bytes")
    if raw.kind == TORCH:
        return _restore_tensor(raw)
    if raw.kind in {NUMPY, SCALAR}:
        return _restore_ndarray(raw)
    raise Damaged("array", f"kind {raw.kind!r}")


def _restore_tensor(raw: RawArray) -> Any:
    torch = importlib.import_module("torch")
    dtype = getattr(torch, raw.dtype)
    if len(raw.data) == 0:
        return torch.empty(raw.shape, dtype=dtype)
    return torch.frombuffer(bytearray(raw.data), dtype=dtype).reshape(raw.shape)


def _restore_ndarray(raw: RawArray) -> Any:
    numpy = importlib.import_module("numpy")
    if raw.dtype in _NUMPY_ONLY_BY_EXTENSION:
        importlib.import_module("ml_dtypes")
    dtype = numpy.dtype(raw.dtype)
    if len(raw.data) == 0:
        return numpy.empty(raw.shape, dtype=dtype)
    array = numpy.frombuffer(bytearray(raw.data), dtype=dtype).reshape(raw.shape)
    return array[()] if raw.kind == SCALAR else array


def fresh_copy(value: Any) -> Any:
    """Copy an array or tensor on the device it is on; a NumPy scalar is its own copy."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().clone(memory_format=torch.contiguous_format)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value
    return value.copy()
