"""Throw-away interpreters, and a host of a few lines for them to run."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from stepaudio_cas.activation.patch import MARK
from stepaudio_cas.cli.run import folders

REPOSITORY = Path(__file__).parents[2]

HOST_CLASS = """
class StepAudioTokenizer:
    def wav2token(self, audio, sample_rate, enable_trim=True, energy_norm=True):
        return [1], [2], [3]
    def get_vq02_code(self): pass
    def get_vq06_code(self): pass
    def merge_vq0206_to_token_str(self): pass
"""
REPORT = f"""
import sys
print("cached" if hasattr(StepAudioTokenizer.wav2token, {MARK!r}) else "not cached", *sys.argv[1:])
"""
OWN = f"try: import parts\nexcept ImportError: pass\n{HOST_CLASS}{REPORT}"
PROGRAM = f"from tokenizer import StepAudioTokenizer\n{REPORT}"


class Environment:
    """A virtual environment with as much of us in it as a test wants."""

    def __init__(self, folder, *, importable=False, start_files=False):
        venv.create(folder, symlinks=True)
        self.python = str(folder / "bin" / "python")
        self.bin = folder / "bin"
        self.site = next((folder / "lib").glob("python*")) / "site-packages"
        if importable:
            self.write("aaa_paths.pth", "\n".join(folders()))
        if start_files:
            for file in (REPOSITORY / "startup").iterdir():
                shutil.copy(file, self.site)

    def write(self, name, text):
        """Put a file into site-packages."""
        path = self.site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def script(self, name, text, options=""):
        """Put a console script into `bin`."""
        path = self.bin / name
        path.write_text(f"#!{self.python}{options}\n{text}")
        path.chmod(0o755)
        return str(path)


def make_host(folder):
    """Write a host: a module `tokenizer`, and programs that say whether its class is cached."""
    (folder / "package").mkdir(parents=True)
    (folder / "tokenizer.py").write_text(HOST_CLASS)
    (folder / "app.py").write_text(PROGRAM)
    (folder / "package" / "__main__.py").write_text(PROGRAM)
    (folder / "parts.py").write_text("")
    (folder / "own.py").write_text(OWN)
    (folder / "own_package").mkdir()
    (folder / "own_package" / "__main__.py").write_text(OWN)
    return folder


def tool(*words, interpreter=None, variables=None, **options):
    """Run `cas-tool` and return the finished process."""
    options = {"timeout": 120, "text": True, "capture_output": True, **options}
    return subprocess.run(
        _command(words, interpreter, variables), env=_environment(), check=False, **options
    )


def in_reach(*words, variables=None, **options):
    """Start a command through `cas-tool run`."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
    return subprocess.Popen(
        _command(["run", *words], None, variables),
        env=_environment(),
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _command(words, interpreter, variables):
    """Call the tool so that what it starts does not find us the way it did.

    `variables` are in the environment that the tool sees.
    """
    start = "import os, sys; sys.path[:] = filter(None, sys.path); del os.environ['PYTHONPATH']"
    start += f"; os.environ.update({variables or {}!r})"
    call = "from stepaudio_cas.cli.main import main; sys.exit(main())"
    return [*(interpreter or [sys.executable]), "-c", f"{start}\n{call}", *map(str, words)]


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders())}


def finish(process, text=None):
    """Return exit code, standard output and standard error."""
    output, errors = process.communicate(text, timeout=120)
    return process.returncode, output, errors


def doctor(*words, **options):
    """Run `cas-tool doctor --json` and return exit code and findings by name (the last of each)."""
    done = tool("doctor", "--json", *words, **options)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    return done.returncode, {finding["name"]: finding for finding in document["findings"]}
