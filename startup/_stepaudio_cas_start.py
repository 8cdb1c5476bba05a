"""Looks at the environment, from Python 3.15 on (PEP 829). Before that, a `.pth` line does it."""

import os


def start() -> None:
    """Start the package if the operator has asked for it; else nothing of it is imported."""
    asked = os.environ.get("STEPAUDIO_CAS", os.environ.get("STEPAUDIO_CAS_CONFIG", ""))
    if asked.strip().lower() not in ("", "0", "off", "false", "no"):
        from stepaudio_cas.activation import boot

        boot.start()
