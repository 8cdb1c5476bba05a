"""What we compare with is used if it is here. What is not is said, never passed over."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import time
from typing import Any, Final

_COMPILE: Final = "import librosa, numpy; librosa.effects.trim(numpy.ones(16000, dtype='float32'))"
_FOLDERS: Final = re.compile(r"(?<![\w.])/(?:[^\s/:]+/)+")
_USUAL_SECONDS: Final = 4.0
_LONGEST: Final = 300.0


def describe(error: Exception) -> str:
    """Say what happened, without the folders of this machine."""
    text = _FOLDERS.sub("", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:200]}"


class Libraries:
    """Optional packages, and which of them could not be had."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self._compiling: subprocess.Popen[bytes] | None = None
        self._since = 0.0

    def load(self, name: str, module: str | None = None) -> Any:
        """Import a package, or remember why that is not possible."""
        if name in self.missing:
            return None
        try:
            package = importlib.import_module(name)
            loaded = importlib.import_module(module) if module else package
        except Exception as error:
            self.missing[name] = describe(error)
            return None
        self.versions[name] = str(getattr(package, "__version__", "?"))
        return loaded

    def begin_compiling(self) -> None:
        """Have librosa compile itself in another process: half a minute, the first time ever.

        numba keeps the result, so that from the second run on this takes as long as the import.
        """
        self._since = time.monotonic()
        self._compiling = subprocess.Popen(
            [sys.executable, "-c", _COMPILE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def await_compiling(self, *, usual: bool = False) -> float:
        """Wait for that, or only as long as it usually takes; return since when it has run."""
        if self._compiling is not None:
            try:
                self._compiling.wait(_USUAL_SECONDS if usual else _LONGEST)
                self._compiling = None
            except subprocess.TimeoutExpired:
                if not usual:
                    self._compiling.kill()
                    self._compiling.wait()
                    self.missing["librosa"] = f"not ready after {_LONGEST:.0f} s"
                    self._compiling = None
        return time.monotonic() - self._since
