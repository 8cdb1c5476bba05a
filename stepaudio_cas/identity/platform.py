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
        found["tf32_matmul"] = bool(torch.backends.cuda.matmul.allow_tf32)
        found["tf32_cudnn"] = bool(torch.backends.cudnn.allow_tf32)
        found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return found
