"""`cas-tool key`: make signing keys, and the public halves for those who only read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from stepaudio_cas.artifact.signing import PRIVATE, PUBLIC, Ed25519, read_keys
from stepaudio_cas.cli.codes import FINE
from stepaudio_cas.errors import SettingError

if TYPE_CHECKING:
    import argparse

_EXAMPLES: Final = """\
example:
  cas-tool key new /etc/cas/signing.key
  cas-tool key public /etc/cas/signing.key > reading.key

Those who write name the first file in STEPAUDIO_CAS_SIGNING_KEY_FILE, those who may only read name
the second: they see what was signed with the first, and cannot forge it. To change keys, put the
new one before the old one, and give both public halves to the readers beforehand.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add arguments."""
    parser.description = "Make keys of Ed25519, with which manifests are signed."
    parser.epilog = _EXAMPLES
    parser.add_argument("what", choices=["new", "public"], help="a new key, or public halves")
    parser.add_argument("file", metavar="FILE", help="where the key goes, or is")


def main(options: argparse.Namespace) -> int:
    """Do it."""
    if options.what == "new":
        _make(options.file)
    for key in read_keys(options.file):
        if isinstance(key, Ed25519):
            print(f"{PUBLIC}{key.public.hex()}")  # noqa: T201 - a tool talks
    return FINE


def _make(path: str) -> None:
    """Write a private key into a new file that nobody else may read."""
    key = os.urandom(32)
    Ed25519(private=key)  # before there is a file: the package it needs may be missing
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingError(f"no key was made: {error}") from None
    with os.fdopen(fd, "w") as file:
        file.write(f"{PRIVATE}{key.hex()}\n")
