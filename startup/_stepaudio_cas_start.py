"""Looks at the environment: called by a line in a `.pth`, from Python 3.15 on by a `.start` file.

The line itself only asks whether anything is set at all. Every interpreter compiles it at its
start, and that is most of what being installed costs.
"""

import os


def start() -> None:
    """Start the package if the operator has asked for it; else nothing of it is imported."""
    asked = os.environ.get("STEPAUDIO_CAS", os.environ.get("STEPAUDIO_CAS_CONFIG", ""))
    if asked.strip().lower() not in ("", "0", "off", "false", "no"):
        from stepaudio_cas.activation import boot

        boot.start()
