"""`cas-tool`: finds the verb, and lets its module do the rest.

A verb is one line in `VERBS` and one module with two functions: `configure(parser)` adds arguments,
`main(options)` does the work and returns an exit code. Only the module of the verb that was asked
for is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from stepaudio_cas import __version__
from stepaudio_cas.cli.codes import FINE, FOUND, INTERRUPTED, USAGE
from stepaudio_cas.errors import CasError, SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUMMARIES: Final = {
    "stats": "say what is in the store, and what it has saved",
    "ls": "list entries",
    "show": "show an entry: what it is, and how it came to be",
    "explain": "say why something missed: which ingredient of the key differs",
    "gc": "remove what is used least, down to a size, an age or a number",
    "verify": "check every object and manifest, and mend what can be mended",
    "rm": "remove entries",
    "clear": "remove every entry that is not pinned",
    "pin": "keep entries, whatever gc is told",
    "unpin": "let gc have them again",
    "export": "write entries into one file",
    "import": "read entries from such a file",
    "sync": "copy what one store has and another lacks",
    "prewarm": "encode voices before they are asked for",
    "watch": "keep doing so for folders, as files come and go",
    "bench": "say where the time of a host goes, and what the cache saves of it",
    "tune": "say which settings make a host faster, and leave its voices what they are",
    "serve": "show it on a page: HTTP API, events, metrics",
    "key": "make keys that entries are signed with",
    "doctor": "say whether everything works here, and the remedies",
    "run": "run a command, caching where start-up files do not reach",
    "completion": "write the completion script for a shell",
}

VERBS: Final[dict[str, tuple[str, str]]] = {
    name: (f"stepaudio_cas.cli.{name if name != 'import' else 'import_'}", summary)
    for name, summary in _SUMMARIES.items()
}
"""What there is, by name: its module, and what it does."""

_DESCRIPTION: Final = "Looks after a store of what speech models have computed from recordings."
_EXAMPLE: Final = """\
example:
  cas-tool --store /srv/voices doctor

exit codes: 0 fine, 1 found something wrong, 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_output()
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        _drop_output()
        return FINE
    except KeyboardInterrupt:
        return INTERRUPTED
    except CasError as error:
        print(f"cas-tool: {error}", file=sys.stderr)  # noqa: T201 - a tool talks
        return USAGE if isinstance(error, SettingError) else FOUND
    except OSError as error:  # a store or a file that cannot be read or written
        print(f"cas-tool: {error}", file=sys.stderr)  # noqa: T201
        _drop_output()
        return FOUND
    return code


def _run(words: list[str]) -> int:
    words, after = _split(words)
    parser = build_parser(words)
    options = parser.parse_args(words)
    if options.verb is None:
        parser.print_help(sys.stderr)
        return USAGE
    options.after = after
    code: int = import_module(VERBS[options.verb][0]).main(options)
    return code


class _Closed(io.TextIOBase):
    """An output that somebody has closed: writing fails as it does on a full disk."""

    def write(self, _: str) -> int:
        raise OSError(errno.EBADF, "the output is closed")

    @property
    def buffer(self) -> Any:
        raise OSError(errno.EBADF, "the output is closed")


def _open_output() -> None:
    """Have an output where there is none: nobody hears complaints, but results are missed."""
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _drop_output() -> None:
    """Have the interpreter not write, and fail, once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Make the parser; verbs that are among the words come with their arguments."""
    parser = argparse.ArgumentParser(
        prog="cas-tool", parents=[_common()], description=_DESCRIPTION, **_style(_EXAMPLE)
    )
    parser.add_argument("--version", action="version", version=f"stepaudio-cas {__version__}")
    parser.set_defaults(store=None, json=False, after=None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, (module, summary) in VERBS.items():
        verb = verbs.add_parser(name, parents=[_common()], help=summary, **_style(""))
        if name in words:
            import_module(module).configure(verb)
    return parser


def _common() -> argparse.ArgumentParser:
    """Options that stand before or after the verb; made anew, because defaults are set on them."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--store", metavar="URL", help="a path or URL, or several with commas [$STEPAUDIO_CAS]"
    )
    common.add_argument("--json", action="store_true", help="write JSON, for programs")
    return common


def _style(epilog: str) -> dict[str, Any]:
    return {
        "epilog": epilog,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _split(words: list[str]) -> tuple[list[str], list[str] | None]:
    """Cut at the first `--`: what follows is somebody else's command line."""
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]
