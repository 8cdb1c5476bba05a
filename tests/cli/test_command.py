"""The command line of an interpreter, taken apart."""

import json
import subprocess
import sys

import pytest

from stepaudio_cas.activation import main_module
from stepaudio_cas.cli.command import take_apart

CASES = {
    "app.py a -b": ([], "script", "app.py", ["a", "-b"]),
    "-S app.py": (["-S"], "script", "app.py", []),
    "-uSI -X dev -Wignore -W error app.py -m x": (
        ["-uSI", "-X", "dev", "-W", "ignore", "-W", "error"],
        "script",
        "app.py",
        ["-m", "x"],
    ),
    "-Xtracemalloc app.py": (["-X", "tracemalloc"], "script", "app.py", []),
    "-uW ignore app.py": (["-uW", "ignore"], "script", "app.py", []),
    "-m package.module a": ([], "module", "package.module", ["a"]),
    "-mpackage a": ([], "module", "package", ["a"]),
    "-uIm package -m": (["-uI"], "module", "package", ["-m"]),
    "-c pass a": ([], "code", "pass", ["a"]),
    "-Ecpass -x": (["-E"], "code", "pass", ["-x"]),
    "-S - a": (["-S"], "stdin", "-", ["a"]),
    "-S -- -odd.py a": (["-S"], "script", "-odd.py", ["a"]),
    "--check-hash-based-pycs never app.py": (
        ["--check-hash-based-pycs", "never"],
        "script",
        "app.py",
        [],
    ),
    "--version": (["--version"], "none", "", []),
    "-VV": (["-VV"], "none", "", []),
    "-S": (["-S"], "none", "", []),
}


@pytest.mark.parametrize("words", CASES)
def test_it_is_taken_apart_as_the_interpreter_does(words):
    options, kind, program, arguments = CASES[words]
    line = take_apart(words.split())
    assert (list(line.options), line.kind, line.program) == (options, kind, program)
    assert list(line.arguments) == arguments


@pytest.mark.parametrize("words", CASES)
def test_activation_takes_it_for_the_same_program(words):
    line = take_apart(words.split())
    known = {"script": "script", "module": "module"}.get(line.kind, "")
    expected = (known, line.program) if known else ("", "")
    assert main_module._main_of(words.split()) == expected


def test_an_option_without_its_value_is_left_to_the_interpreter():
    assert take_apart(["-S", "-m"]).kind == take_apart(["-W"]).kind == "none"


@pytest.mark.parametrize("words", ["-uSI x", "-Xdev x", "-SW ignore x", "-E -c pass", "-Im x"])
def test_letters_are_the_options_that_were_given(words):
    found = take_apart(words.split()).letters
    assert found == set("".join(w[1:] for w in words.split() if w[0] == "-")) - set("dev")


def test_what_it_says_of_arguments_is_what_python_says():
    text = "import json, sys; print(json.dumps(sys.argv))"
    for words in (["-uEc", text, "-S", "--", "a"], [f"-Ic{text}", "-m"], ["-X", "dev", "-c", text]):
        seen = json.loads(subprocess.check_output([sys.executable, *words]))
        assert seen[1:] == list(take_apart(words).arguments)
