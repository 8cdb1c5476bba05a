"""Environments that have us installed as operators have, and hosts that are run in them."""

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import NamedTuple

from tests.activation import hosts
from tests.support.processes import REPOSITORY

NEEDED = ("blake3", "msgpack", "fsspec", "numpy", "numpy.libs", "tomli")


def build(source, folder):
    """Build the wheel of a project with what is installed here; return its path."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    succeed([*command, source])
    return next(Path(folder).glob("*.whl"))


def build_editable(folder):
    """Build what `pip install -e` would unpack; return its path."""
    code = "import sys; from hatchling.build import build_editable as b; b(sys.argv[1])"
    folder.mkdir()
    succeed([sys.executable, "-c", code, folder], cwd=REPOSITORY)
    return next(folder.glob("*.whl"))


def succeed(command, **options):
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, timeout=200, **options
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def shared(folder, name, make):
    """Make something once for all workers of a test run; `folder` is one that they share."""
    made = folder / name
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            (folder / f"{name}.path").write_text(str(make(made)))
    return Path((folder / f"{name}.path").read_text())


class Environment:
    """A virtual environment with wheels unpacked into it, as an installer would."""

    def __init__(self, folder, *wheels, python=sys.executable):
        succeed([python, "-m", "venv", "--without-pip", folder])
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.packages = next((folder / "lib").glob("python3*")) / "site-packages"
        for wheel in wheels:
            self.install(wheel)

    def install(self, wheel, folder=None):
        folder = folder or self.packages
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        succeed([self.python, "-I", "-m", "compileall", "-q", folder])  # as installers do

    def link_needed(self):
        """Put beside us what we and the hosts need, and nothing else of this interpreter's."""
        for name in NEEDED:
            found = _package(name)
            if found is not None:
                (self.packages / found.name).symlink_to(found)
        return self


def _package(name):
    if "." in name:
        path = Path(sysconfig.get_path("platlib"), name)
        return path if path.is_dir() else None
    spec = importlib.util.find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec is not None else None


class Done(NamedTuple):
    """How a program of a host went."""

    said: list
    errors: str
    encodes: int

    @property
    def results(self):
        """All results that were said, in order."""
        return [result for one in self.said for result in one.get("results", ())]

    @property
    def lines(self):
        """What we have said."""
        return [line for line in self.errors.splitlines() if line.startswith("stepaudio-cas: ")]


class Host:
    """A folder with a host's code and model, run by an environment's interpreter."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.python = environment.python
        self.store = folder / "store"
        self._encodes = folder / "encodes"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "HOST_ENCODES": str(self._encodes),
            "STEPAUDIO_CAS": str(self.store),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.write("models.py", hosts.MODELS)
        self.write("utils.py", hosts.UTILS)
        self.write("calls.py", hosts.CALLS)
        self.write("tokenizer.py", hosts.CLASS)
        self.write("app.py", hosts.APP)
        self.write("model/model.pt", "weights")
        self.write("model/speech_tokenizer_v1.onnx", "graph")
        self._encodes.touch()

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def plugin(self, name, text, reference=None):
        """Install a plugin in a folder of its own: a module, and what names it."""
        module = f"{name.replace('-', '_')}_plugin"
        self.write(f"site/{module}.py", text)
        entry = f"[stepaudio_cas.plugins]\n{name} = {reference or f'{module}:plugin'}\n"
        self.write(f"site/{module}-1.dist-info/entry_points.txt", entry)
        self.environment["PYTHONPATH"] = str(self.folder / "site")

    def run(self, *words, python=None, code=0, **environment):
        """Run the interpreter with these words; return how it went."""
        before = self._count()
        done = subprocess.run(
            [python or self.python, *map(str, words)],
            check=False,
            cwd=self.folder,
            env={k: v for k, v in (self.environment | environment).items() if v is not None},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Done(said, done.stderr, self._count() - before)

    def _count(self):
        return len(self._encodes.read_text().splitlines())


def assert_cached(host, *words, calls=2, **options):
    """Run a program twice: it encodes once in all, and what it got then, it gets ever after."""
    first = host.run(*words, **options)
    again = host.run(*words, **options)
    assert len(first.results) == calls
    assert first.results == again.results == [first.results[0]] * calls
    assert (first.encodes, again.encodes) == (1, 0), first.errors + again.errors
    return first, again


def assert_as_without(host, *words, calls=2, **options):
    """Run a program that nothing is cached for: each call encodes, and gets its own result."""
    done = host.run(*words, **options)
    assert done.encodes == calls == len({json.dumps(result) for result in done.results})
    return done
