"""`cas-tool run`: into a process that the start-up files in site-packages do not reach.

A folder with a `sitecustomize` of ours goes on PYTHONPATH, which reaches every Python that the
command is or starts. An interpreter that is told to look at neither (`-S`, `-I`, `-E`) is given a
runner of ours to run, which starts us and then the program; children that it starts with the same
option, as multiprocessing's spawn does, stay out of reach. Either way the command takes the place
of this process, so that signals and exit codes are its own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas import activation
from stepaudio_cas.activation.registry import GROUP
from stepaudio_cas.activation.runner import FOLDERS
from stepaudio_cas.cli.command import take_apart
from stepaudio_cas.cli.context import absolute
from stepaudio_cas.errors import SettingError
from stepaudio_cas.settings import OFF, PREFIX

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

_HERE: Final = os.path.dirname(os.path.abspath(activation.__file__))
RUNNER: Final = os.path.join(_HERE, "runner.py")
ON_PATH: Final = os.path.join(_HERE, "path")

_PYTHON: Final = re.compile(r"(python|pypy)(\d+(\.\d+)*)?[td]?(\.exe)?", re.IGNORECASE).fullmatch
_OUT_OF_REACH: Final = frozenset("SIE")
_NEEDED: Final = ("stepaudio_cas", "blake3", "msgpack", "fsspec", "tomli")
_LONGEST_SHEBANG: Final = 512


class Plan(NamedTuple):
    """What is going to be executed."""

    file: str
    argv: list[str]
    environment: dict[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what comes after `run`."""
    parser.usage = "cas-tool run [--store URL] -- COMMAND [ARGUMENT ...]"
    parser.description = (
        "Run a command with the cache switched on, also where Python does not read the start-up\n"
        "files of site-packages: python -S, -I, -E, and what is installed on PYTHONPATH alone.\n"
        "STEPAUDIO_CAS is set to --store, or to 1 if it is not set. The exit code is the command's."
    )
    parser.epilog = "example:\n  cas-tool run --store /srv/voices -- python -S app.py --port 7860"
    parser.add_argument("command", nargs="...", metavar="COMMAND", help="what to run")


def main(options: argparse.Namespace) -> int:
    """Become the command."""
    command = list(options.command)
    if options.after is not None:
        command += ["--", *options.after] if command else options.after
    if not command:
        raise SettingError("run what? Give a command: cas-tool run -- python app.py")
    plan = make_plan(command, os.environ, options.store)
    sys.stdout.flush()
    sys.stderr.flush()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and its child would inherit that
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(plan.file, plan.argv, plan.environment)  # noqa: S606 - what it is for
    except OSError as error:
        raise SettingError(f"{plan.file} cannot be run: {error.strerror}") from None


def make_plan(command: Sequence[str], environment: Mapping[str, str], store: str | None) -> Plan:
    """Work out what to execute."""
    variables = dict(environment)
    if store is not None:
        variables[PREFIX] = absolute(store)
    elif f"{PREFIX}_CONFIG" not in variables:
        variables.setdefault(PREFIX, "1")
    if variables.get(PREFIX, "1").strip().lower() in OFF:
        return Plan(command[0], list(command), variables)
    earlier = variables.get("PYTHONPATH")
    variables["PYTHONPATH"] = os.pathsep.join([ON_PATH, earlier] if earlier else [ON_PATH])
    variables[FOLDERS] = os.pathsep.join([str(sys.implementation.cache_tag), *folders()])
    argv = _for_interpreter(command) or _for_script(command) or list(command)
    return Plan(argv[0], argv, variables)


def folders() -> list[str]:
    """Say where this interpreter imports us, what we need, and our plugins from."""
    found = [_folder_of(name) for name in _NEEDED]
    for point in entry_points(group=GROUP):
        if point.dist is not None:
            found.append(str(point.dist.locate_file("")))
        found.append(_folder_of(point.module.partition(".")[0]))
    return list(dict.fromkeys(os.path.abspath(folder) for folder in found if folder))


def _folder_of(module: str) -> str | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    folder = os.path.dirname(spec.origin)
    return os.path.dirname(folder) if spec.submodule_search_locations is not None else folder


def _for_interpreter(command: Sequence[str]) -> list[str] | None:
    """Put the runner in front of what an interpreter out of reach is to run."""
    if not is_python(command[0]):
        return None
    line = take_apart(command[1:])
    if line.kind == "none" or not line.letters & _OUT_OF_REACH:
        return None
    program = {"module": ["-m"], "code": ["-c"]}.get(line.kind, [])
    return [command[0], *line.options, RUNNER, *program, line.program, *line.arguments]


def _for_script(command: Sequence[str]) -> list[str] | None:
    """Do the same with a script whose first line says `#!…/python -I`."""
    path = shutil.which(command[0])
    words = list(_shebang(path)) if path is not None else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
    return _for_interpreter([*words, str(path), *command[1:]]) if words else None


def _shebang(path: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            line = file.readline(_LONGEST_SHEBANG)
        if line.startswith(b"#!"):
            yield from shlex.split(line[2:].decode())
    except (OSError, ValueError):
        return


def is_python(word: str) -> bool:
    """Tell whether a command is an interpreter: by its name, or that of what it is a link to."""
    if word == sys.executable:
        return True
    real = os.path.realpath(shutil.which(word) or word)
    return any(_PYTHON(os.path.basename(name)) for name in (word, real))
