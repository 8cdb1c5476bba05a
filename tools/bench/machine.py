"""What a run was made on."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stepaudio_cas

if TYPE_CHECKING:
    from tools.bench.libraries import Libraries

_ALWAYS = ("numpy", "torch", "blake3", "msgpack")


def load() -> float:
    """Return how many processes have been running, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def describe_machine(folder: Path, libraries: Libraries) -> dict[str, Any]:
    """Describe processor, system, disk and versions."""
    for name in _ALWAYS:
        libraries.load(name)
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(folder),
        "python": platform.python_version(),
        "stepaudio_cas": stepaudio_cas.__version__,
        "versions": dict(sorted(libraries.versions.items())),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Name the type of the file system that the stores of the run are on."""
    best, kind = "", "unknown"
    try:
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _, point, name, *_ = line.split()
            if folder.is_relative_to(point) and len(point) >= len(best):
                best, kind = point, name
    except OSError:
        pass
    return kind
