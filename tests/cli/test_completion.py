"""`cas-tool completion`: scripts that the shells take, and what they complete."""

import re
import shutil
import subprocess
import sys

import pytest

from stepaudio_cas.cli import main as cli
from stepaudio_cas.cli.completion import SHELLS

ASK = """
source "$1"; shift
COMP_WORDS=(cas-tool "$@"); COMP_CWORD=$#; COMPREPLY=()
_shtab_cas_tool
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(tmp_path, capsys):
    def script_(shell):
        assert cli.main(["completion", shell]) == 0
        path = tmp_path / f"completion.{shell}"
        path.write_text(capsys.readouterr().out)
        return str(path)

    return script_


@pytest.fixture
def complete(script):
    """Return what bash offers after `cas-tool` and these words."""

    def complete_(*words):
        command = ["bash", "-c", ASK, "bash", script("bash"), *words]
        return set(subprocess.check_output(command, text=True).split())

    return complete_


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_has_all_verbs_and_options(script, shell):
    with open(script(shell)) as file:
        text = file.read()
    assert set(cli.VERBS) <= set(re.findall("[a-z]+", text))
    assert all(option in text for option in ("store", "older", "keep-objects", "dry-run"))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_the_script(script, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    path = script(shell)
    command = [shell, "-f", "-c", f"source {path}"] if shell == "tcsh" else [shell, "-n", path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_verbs(complete):
    assert complete("") >= set(cli.VERBS)
    assert complete("unp") == {"unpin"}


def test_bash_completes_options_and_their_values(complete):
    assert complete("ls", "--sort", "") == {"used", "size", "created", "saved", "key"}
    assert complete("rm", "--keep") == {"--keep-objects"}
    assert complete("completion", "") == set(SHELLS)


def test_an_unknown_shell_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["completion", "dash"])
    assert end.value.code == 2
    assert "bash" in capsys.readouterr().err


def test_other_verbs_do_not_wait_for_the_library():
    text = "import sys; from stepaudio_cas.cli.main import main; main(['ls'])"
    text += "; print('shtab' in sys.modules)"
    done = subprocess.check_output(
        [sys.executable, "-c", text], stderr=subprocess.DEVNULL, text=True
    )
    assert done == "False\n"
