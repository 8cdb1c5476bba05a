"""The stores that a verb works on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from stepaudio_cas.artifact.signing import Signer
from stepaudio_cas.cli import context
from stepaudio_cas.errors import SettingError
from stepaudio_cas.runtime.opening import expire
from stepaudio_cas.settings import PREFIX, Mode
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from stepaudio_cas.store.urls import default_root, open_backend

if TYPE_CHECKING:
    import argparse

    from stepaudio_cas.settings import Settings


def open_stores(options: argparse.Namespace, *, writing: bool = False) -> list[Store]:
    """Open what `--store` or the environment names, fastest first.

    Raises `SettingError` if it names nothing, or, with `writing`, if the mode forbids to write.
    """
    settings = _allowed(options, writing)
    stores = [open_one(url, settings) for url in settings.stores]
    if not writing and not any(map(is_there, stores)):
        _say_nothing_is_at(stores[0])
    return stores


def open_first(options: argparse.Namespace, *, writing: bool = False) -> Store:
    """Open the first store of the chain: the one that a verb is about unless it is about all.

    With `writing`, people who have set a chain are told which one that is.
    """
    settings = _allowed(options, writing)
    first = open_one(settings.stores[0], settings)
    if not writing and not is_there(first):
        _say_nothing_is_at(first)
    if writing and len(settings.stores) > 1:
        text = f"only {first.url}, the first of {len(settings.stores)}; --store names another"
        print(f"cas-tool: {text}", file=sys.stderr)  # noqa: T201 - a tool talks
    return first


def is_there(store: Store) -> bool:
    """Tell whether there may be something to look at; a path is easily mistyped."""
    backend = store.backend
    return not isinstance(backend, LocalBackend) or os.path.exists(backend.root)


def _say_nothing_is_at(store: Store) -> None:
    text = f"there is no store at {store.url}; nothing was ever written there"
    print(f"cas-tool: {text}", file=sys.stderr)  # noqa: T201 - a tool talks


def _allowed(options: argparse.Namespace, writing: bool) -> Settings:
    settings = read_settings(options)
    if writing and settings.mode is Mode.RO:
        raise SettingError(f"{PREFIX}_MODE is ro: nothing is changed here; unset it to do so")
    return settings


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
    backend = open_backend(str(default_root()) if url == "default" else url)
    expire([backend], settings)
    return Store(backend, signer=signer)
