"""The host that a verb works with: `--host`, loaded in a process of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stepaudio_cas.activation.loading import HostSpec, describe_loaders, load_host, parse_host
from stepaudio_cas.cli import context
from stepaudio_cas.errors import SettingError
from stepaudio_cas.runtime.attended import Attended
from stepaudio_cas.runtime.opening import build_kind
from stepaudio_cas.settings import PREFIX, Mode
from stepaudio_cas.tuning.words import wanted

if TYPE_CHECKING:
    import argparse

    from stepaudio_cas.activation.loading import Host

_PATIENCE: Final = 30.0
"""Seconds that a store is waited for at least: nobody's request is waiting here."""

_HELP: Final = """\
HOST says how to load what encodes a voice, with the host's own code and model files:
  PLUGIN:FOLDER?option=value&…          the host's code is in FOLDER; the options are the plugin's
  FOLDER/MODULE:FUNCTION?option=value…  a function of yours that returns what takes a path
In a value, %26 is &, and %25 is %.
"""


@dataclass(frozen=True)
class Opening:
    """How a process opens the stores and loads the host. It is sent there."""

    spec: HostSpec
    store: str | None
    reading: bool = False

    def __call__(self) -> Host:
        """Load the host into this process. With `reading`, nothing is written anywhere."""
        if self.store is not None:
            os.environ[PREFIX] = self.store
        found = context.read(None)
        for problem in found.problems:
            raise SettingError(str(problem))
        for trouble in wanted(found.environment)[1]:
            raise SettingError(trouble)
        settings = found.settings
        settings = settings.override(
            memory=0,
            verify=0.0,
            mode=Mode.RO if self.reading else settings.mode,
            deadline=max(settings.patience, _PATIENCE),
            log="error",
        )
        return load_host(self.spec, build_kind(Attended, settings, strict=True))


def add(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add `--host` and what belongs to it."""
    parser.add_argument(
        "--host",
        metavar="HOST",
        required=required,
        help="the host, such as stepaudio:/app?model=/m",
    )
    parser.add_argument("--verbose", action="store_true", help="show what the host prints")


def epilog(example: str, *, whole: bool = False) -> str:
    """Write the end of a help page: an example, and what there is to be said about hosts."""
    try:
        known = describe_loaders(whole=whole)
    except Exception as error:  # a plugin is no reason to have no help
        known = f"the plugins cannot be asked: {error}"
    return f"example:\n  {example}\n\n{_HELP}\n{known}"


def opening(options: argparse.Namespace, *, reading: bool = False) -> Opening:
    """Read `--host` and `--store`. Raises `SettingError` for what is wrong in them."""
    store = context.absolute(options.store) if options.store is not None else None
    return Opening(parse_host(options.host), store, reading)
