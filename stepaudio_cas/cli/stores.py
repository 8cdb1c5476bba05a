"""The stores that a verb works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.cli import context
from stepaudio_cas.errors import SettingError
from stepaudio_cas.settings import PREFIX, Mode
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import default_root, open_backend

if TYPE_CHECKING:
    import argparse

    from stepaudio_cas.settings import Settings


def open_stores(options: argparse.Namespace, *, writing: bool = False) -> list[Store]:
    """Open what `--store` or the environment names, fastest first.

    Raises `SettingError` if it names nothing, or, with `writing`, if the mode forbids to write.
    """
    settings = read_settings(options)
    if writing and settings.mode is Mode.RO:
        raise SettingError(f"{PREFIX}_MODE is ro: nothing is changed here; unset it to do so")
    return [open_one(url, settings) for url in settings.stores]


def open_first(options: argparse.Namespace, *, writing: bool = False) -> Store:
    """Open the first store of the chain: the one that a verb is about unless it is about all."""
    return open_stores(options, writing=writing)[0]


def read_settings(options: argparse.Namespace) -> Settings:
    """Read the settings; what is wrong in them stops a tool, unlike a host."""
    found = context.read(options.store)
    for problem in found.problems:
        raise SettingError(str(problem))
    if not found.settings.stores:
        raise SettingError(f"which store? Give --store URL, or set {PREFIX}")
    return found.settings


def open_one(url: str, settings: Settings) -> Store:
    """Open one store, with the signing key that is set."""
    path = settings.signing_key_file
    signer = Signer.from_file(path) if path is not None else None
    return Store(open_backend(str(default_root()) if url == "default" else url), signer=signer)
