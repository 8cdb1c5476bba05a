"""What a check has found: one line, and what to do about it."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple


class State(str, Enum):
    """How good it is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(NamedTuple):
    """One line. `name` says which check it was and never changes; `subject`, of what."""

    name: str
    state: State
    text: str
    remedy: str = ""
    subject: str = ""


def ok(name: str, text: str, *, subject: str = "") -> Finding:
    """Report what is as it should be."""
    return Finding(name, State.OK, text, "", subject)


def warning(name: str, text: str, remedy: str, *, subject: str = "") -> Finding:
    """Report what works, but perhaps not as it was meant."""
    return Finding(name, State.WARNING, text, remedy, subject)


def wrong(name: str, text: str, remedy: str, *, subject: str = "") -> Finding:
    """Report what does not work."""
    return Finding(name, State.WRONG, text, remedy, subject)


def worst(findings: list[Finding]) -> State:
    """Sum up."""
    order = list(State)
    return max((f.state for f in findings), key=order.index, default=State.OK)


def without_secrets(url: str) -> str:
    """Leave the password out of a URL."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)
