"""What runs at the start of every interpreter in which `STEPAUDIO_CAS` is set.

Everything here happens before the host's first import: so it is little, and imports next to
nothing.
"""

from __future__ import annotations

import os
import sys


def start() -> None:
    """Wait for host modules to be imported. A second call changes nothing.

    Never raises: site would print a traceback into every process on the machine.
    """
    try:
        from stepaudio_cas.activation.finder import install  # noqa: PLC0415 - may itself fail
        from stepaudio_cas.activation.main_module import expect_main  # noqa: PLC0415

        finder = install()
        if finder is not None:
            expect_main(finder)
    except Exception as error:
        _say(f"cannot be activated: {type(error).__name__}: {error}; the host runs without it")


def _say(text: str) -> None:
    if os.environ.get("STEPAUDIO_CAS_LOG") != "off":
        line = f"stepaudio-cas: {text} (Python {sys.version.split()[0]})\n"
        try:
            os.write(2, line.encode("utf-8", "backslashreplace"))
        except OSError:
            return
