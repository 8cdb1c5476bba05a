"""`cas-tool completion`: the script that completes verbs and options in a shell."""

from __future__ import annotations

import argparse
import sys
from typing import Final

import shtab

from stepaudio_cas.cli.codes import FINE
from stepaudio_cas.cli.main import VERBS, build_parser

SHELLS: Final = tuple(
    shell for shell in ("bash", "zsh", "tcsh", "fish") if shell in shtab.SUPPORTED_SHELLS
)
_FILES: Final = {"PATH": shtab.FILE, "FILE": shtab.FILE, "URL": shtab.DIRECTORY}
"""What kind of name completes an argument, by what the help calls it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `completion`."""
    parser.description = "Write a script that completes verbs, options and files, to be sourced."
    parser.epilog = (
        'example:\n  eval "$(cas-tool completion bash)"          # in ~/.bashrc\n'
        '  cas-tool completion zsh > "${fpath[1]}/_cas-tool"\n'
        "  cas-tool completion tcsh > ~/.cas-tool.tcsh  # then: source ~/.cas-tool.tcsh\n"
        "  cas-tool completion fish > ~/.config/fish/completions/cas-tool.fish"
    )
    parser.add_argument("shell", choices=SHELLS, help="whose script")


def main(options: argparse.Namespace) -> int:
    """Write it."""
    parser = build_parser(list(VERBS))
    _name_files(parser)
    sys.stdout.write(shtab.complete(parser, shell=options.shell))
    return FINE


def _name_files(parser: argparse.ArgumentParser) -> None:
    """Have the shell offer files where a file is wanted."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to its arguments
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for verb in action.choices.values():
                _name_files(verb)
        elif isinstance(action.metavar, str) and action.metavar in _FILES:
            action.complete = _FILES[action.metavar]  # type: ignore[attr-defined]
