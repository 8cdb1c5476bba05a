"""What the global options and the environment mean together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stepaudio_cas.errors import SettingError
from stepaudio_cas.settings import PREFIX, Problem, Settings, read_settings, split_stores

if TYPE_CHECKING:
    from collections.abc import Mapping


class Context(NamedTuple):
    """The settings that are in force for one command."""

    settings: Settings
    problems: list[Problem]
    environment: dict[str, str]


def read(store: str | None, environment: Mapping[str, str] | None = None) -> Context:
    """Read the environment, with `--store` in the place of `STEPAUDIO_CAS` if it is given."""
    variables = dict(os.environ if environment is None else environment)
    if store is not None:
        named_stores(store)
        variables[PREFIX] = store
    return Context(*read_settings(variables), variables)


def named_stores(text: str) -> tuple[str, ...]:
    """Read the value of `--store`."""
    try:
        return split_stores(text.strip())
    except ValueError as error:
        raise SettingError(f"--store {error}") from None


def absolute(text: str) -> str:
    """Write the value of `--store` so that it means the same in any folder."""
    stores = named_stores(text)
    if stores == ("default",):
        return "1"
    return ",".join(
        store if "://" in store else os.path.abspath(Path(store).expanduser()) for store in stores
    )
