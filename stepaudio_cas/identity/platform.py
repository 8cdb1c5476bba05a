"""What a strict fingerprint adds: the software and devices that compute the numbers."""

from __future__ import annotations

import platform
import sys
from typing import Any, Final

_LIBRARIES: Final = ("torch", "torchaudio", "librosa", "onnxruntime", "numpy", "scipy")


def describe_platform() -> dict[str, Any]:
    """Describe what is loaded in this process; nothing is imported for the purpose."""
    found: dict[str, Any] = {"machine": platform.machine()}
    for name in _LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            found[name] = str(version)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "backends"):
        found["default_dtype"] = str(torch.get_default_dtype())
        found |= _precision(torch.backends)
        found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return found


def _precision(backends: Any) -> dict[str, Any]:
    """Say how float32 is computed; where it was set by the newer names the older ones raise."""
    cuda, cudnn = backends.cuda, backends.cudnn
    try:
        parts = {"matmul": cuda.matmul, "conv": cudnn.conv, "rnn": cudnn.rnn}
        parts["cpu_matmul"] = backends.mkldnn.matmul
        return {f"fp32_{name}": str(part.fp32_precision) for name, part in parts.items()}
    except AttributeError:  # torch before 2.9
        return {"tf32_matmul": bool(cuda.matmul.allow_tf32), "tf32_cudnn": bool(cudnn.allow_tf32)}
