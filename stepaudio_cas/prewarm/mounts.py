"""Whether a folder is where the kernel tells of changes that others make.

Events of inotify come from the kernel that makes the change. On a network mount, or on a folder
that a virtual machine shares with its host, that is another one, and nothing is heard of it.
"""

from __future__ import annotations

import os
import re
from typing import Final

_REMOTE: Final = frozenset(
    (
        *("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "drvfs", "fakeowner"),
        *("gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "prl_fs"),
        *("smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs"),
    )
)
_TABLE: Final = "/proc/self/mountinfo"
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


def silent(folder: str, table: str = _TABLE) -> str:
    """Return the type of a folder's file system if no events of others' changes come from it."""
    found = file_system(folder, table)
    return found if found in _REMOTE or found.startswith("fuse.") else ""


def file_system(folder: str, table: str = _TABLE) -> str:
    """Return the type of the file system that a folder is on; empty where nobody says."""
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return ""
    path = os.path.realpath(folder)
    best, length = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        place = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4])
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= length:  # the later of two mounts at one place hides the other
            best, length = after.split()[0], len(place)
    return best
