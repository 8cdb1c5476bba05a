"""What kind of file system a folder is on, from Linux's own table."""

from __future__ import annotations

import os
import re


def file_systems(table: str = "/proc/self/mountinfo") -> dict[str, str]:
    """Return the kind of file system of every mount point; nothing where there is no table."""
    found = {}
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                found[_plain(before.split()[4])] = after.split()[0]
    except (OSError, IndexError):
        return found
    return found


def file_system_of(path: str, mounts: dict[str, str]) -> str:
    """Return the kind of file system that `path` is on, or will be once it is made."""
    current = os.path.realpath(path)
    while current not in mounts and current != os.path.dirname(current):
        current = os.path.dirname(current)
    return mounts.get(current, "")


def _plain(path: str) -> str:
    """Undo the octal escapes of spaces and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
