"""What runs at the start of every interpreter in which `STEPAUDIO_CAS` is set.

Everything here happens before the host's first import: so it is little, and what it imports was
loaded long before it. Not even `typing` is, which is why this room says `TYPE_CHECKING = False`.
"""

from __future__ import annotations

import os
import sys


def start(main: tuple[str, str] | None = None) -> None:
    """Wait for host modules to be imported. A second call changes nothing.

    `main` is what the runner of `cas-tool run` is about to run, see `expect_main`.
    Never raises: site would print a traceback into every process on the machine.
    """
    try:
        from stepaudio_cas.activation.finder import (  # noqa: PLC0415 - may itself fail
            install,
            installed,
        )
        from stepaudio_cas.activation.main_module import expect_main  # noqa: PLC0415

        finder = install()
        earlier = installed() if finder is None and main is not None else None
        if earlier is not None:
            expect_main(earlier, main)
        if finder is not None:
            expect_main(finder, main)
            if not _starting_up():
                finder.discover()  # the host may be there already
    except Exception as error:
        say(f"cannot be activated: {type(error).__name__}: {error}; the host runs without it")


def _starting_up() -> bool:
    """Tell whether `site` is at work: then nothing of a host can have been imported."""
    spec = getattr(sys.modules.get("site"), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def say(text: str) -> None:
    """Say something, without importing anything for it."""
    if os.environ.get("STEPAUDIO_CAS_LOG", "").strip().lower() != "off":
        line = f"stepaudio-cas: {' '.join(text.split())} (Python {sys.version.split()[0]})\n"
        try:
            os.write(2, line.encode("utf-8", "backslashreplace"))
        except OSError:
            return
