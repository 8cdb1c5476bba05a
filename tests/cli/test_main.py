"""`cas-tool` itself: verbs, help, exit codes."""

import os
import subprocess
import sys

import pytest

from stepaudio_cas import __version__
from stepaudio_cas.cli import main as cli
from stepaudio_cas.errors import SettingError, Unavailable
from tests.cli.environments import tool


@pytest.fixture
def verb(monkeypatch):
    """A verb `try` that does what the test says."""

    class Verb:
        seen = None

        def configure(self, parser):
            parser.add_argument("--size", type=int)

        def main(self, options):
            self.seen = options
            return self.work()

        def work(self):
            return 0

    made = Verb()
    monkeypatch.setitem(sys.modules, "verb_to_try", made)
    monkeypatch.setitem(cli.VERBS, "try", ("verb_to_try", "try something"))
    return made


@pytest.mark.parametrize("words", ["--store /a --json try", "try --store /a --json"])
def test_global_options_stand_before_or_after_the_verb(verb, words):
    assert cli.main(words.split()) == 0
    assert (verb.seen.store, verb.seen.json, verb.seen.size) == ("/a", True, None)


def test_without_global_options_the_environment_decides(verb):
    cli.main(["try", "--size", "3"])
    assert (verb.seen.store, verb.seen.json, verb.seen.size) == (None, False, 3)


@pytest.mark.parametrize(
    ("error", "code"), [(SettingError("a"), 2), (Unavailable("a"), 1), (KeyboardInterrupt(), 130)]
)
def test_errors_are_one_line_and_an_exit_code(verb, capsys, error, code):
    def work():
        raise error

    verb.work = work
    assert cli.main(["try"]) == code
    assert capsys.readouterr().err == ("" if code == 130 else "cas-tool: a\n")


@pytest.mark.parametrize("words", [["nothing"], ["try", "--size", "x"], ["doctor", "--nothing"]])
def test_wrong_usage_is_2(verb, words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert "usage: cas-tool" in capsys.readouterr().err


def test_no_verb_shows_the_verbs(capsys):
    assert cli.main([]) == 2
    assert "doctor" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], *([verb] for verb in cli.VERBS)], ids=" ".join)
def test_every_help_has_an_example(words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert "example:\n  " in text
    assert max(map(len, text.splitlines())) <= 100


def test_only_the_module_of_the_verb_is_imported():
    text = (
        "import sys; from stepaudio_cas.cli.main import main\n"
        "try: main(['doctor', '--help'])\n"
        "except SystemExit: print('stepaudio_cas.cli.run' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_reader_that_has_seen_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = tool("doctor", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_is_the_tool():
    said = subprocess.check_output([sys.executable, "-m", "stepaudio_cas", "--version"], text=True)
    assert said == f"stepaudio-cas {__version__}\n"


@pytest.mark.parametrize(("closed", "code"), [("stdout", 1), ("stderr", 0)])
def test_an_output_that_was_closed_is_missed_and_complaints_are_not(closed, code):
    text = f"import sys; sys.{closed} = None; from stepaudio_cas.cli.main import main as tool"
    words = [sys.executable, "-c", f"{text}; sys.exit(tool(['completion', 'bash']))"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr == ("cas-tool: [Errno 9] the output is closed\n" if code else "")


def test_an_output_that_takes_nothing_more_is_said_in_one_line():
    with open("/dev/full", "w") as full:
        done = tool("doctor", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "cas-tool: [Errno 28] No space left on device\n"
