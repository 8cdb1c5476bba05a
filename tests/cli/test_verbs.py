"""What every verb has in common: options, pipes, colours, interruptions."""

import argparse
import json
import os
import subprocess
from importlib import import_module

import pytest

from stepaudio_cas.cli import main as cli
from stepaudio_cas.store.local import LocalBackend
from tests.cli.terminal import START, on_terminal

COMMANDS = {
    "stats": [],
    "ls": [],
    "show": ["anna.wav"],
    "explain": ["anna.wav"],
    "gc": ["--max-size", "1", "--dry-run"],
    "verify": [],
    "rm": ["anna.wav", "--dry-run"],
    "clear": ["--dry-run"],
    "pin": ["anna.wav", "--dry-run"],
    "unpin": ["--all"],
}
"""What is done to a store with one voice."""

WHICH = "cas-tool: which store? Give --store URL, or set STEPAUDIO_CAS\n"
LISTING = [verb for verb in COMMANDS if verb in cli.VERBS]


def required(parser):
    """Make up what a verb cannot do without."""
    for action in parser._actions:
        needed = action.required if action.option_strings else action.nargs in {None, "+"}
        if needed:
            yield from action.option_strings[:1]
            yield str(next(iter(action.choices))) if action.choices else "/x"


def in_closed_pipe(*words):
    """Write into a pipe whose reader is gone, and return exit code and complaints."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*START, *words], check=False, stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    return done.returncode, done.stderr


@pytest.fixture
def said(monkeypatch):
    """Have verbs only keep what they are called with."""
    seen = []

    def record(verb):
        module = import_module(cli.VERBS[verb][0])
        monkeypatch.setattr(module, "main", lambda options: seen.append(options) or 0)
        verbs = next(
            action
            for action in cli.build_parser([verb])._actions
            if isinstance(action, argparse._SubParsersAction)
        )
        return list(required(verbs.choices[verb])), seen

    return record


@pytest.mark.parametrize("verb", cli.VERBS)
def test_global_options_mean_the_same_before_and_after_the_verb(verb, said):
    needed, seen = said(verb)
    needed = needed if verb != "run" else []
    assert cli.main(["--store", "/a", "--json", verb, *needed]) == 0
    assert cli.main([verb, "--store", "/a", "--json", *needed]) == 0
    assert seen[0] == seen[1]
    assert (seen[0].store, seen[0].json) == ("/a", True)
    assert cli.main([verb, *needed]) == 0
    assert (seen[2].store, seen[2].json) == (None, False)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_into_a_pipe_that_closes_early_is_no_error(verb):
    assert in_closed_pipe(verb, "--help") == (0, "")


@pytest.mark.parametrize("verb", LISTING)
def test_output_into_a_pipe_that_closes_early_is_no_error(verb, drawer):
    drawer.voice(1, "anna.wav")
    assert in_closed_pipe(verb, *COMMANDS[verb], "--store", str(drawer.root)) == (0, "")


def test_a_reader_may_stop_in_the_middle_of_a_long_list(drawer):
    for number in range(300):
        drawer.voice(number)
    process = subprocess.Popen(
        [*START, "ls", "--store", str(drawer.root)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert json.loads(process.stdout.readline())["key"]
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize("verb", LISTING)
def test_json_can_be_read(verb, drawer, capsys):
    drawer.voice(1, "anna.wav")
    cli.main([verb, *COMMANDS[verb], "--json", "--store", str(drawer.root)])
    text = capsys.readouterr().out
    decoder, documents = json.JSONDecoder(), []
    while text.strip():
        document, end = decoder.raw_decode(text.lstrip())
        documents.append(document)
        text = text.lstrip()[end:]
    assert all(isinstance(document, (dict, list)) for document in documents)
    assert documents or verb == "unpin"


@pytest.mark.parametrize("verb", LISTING)
def test_a_terminal_that_wants_no_colours_gets_none(verb, drawer):
    drawer.voice(1, "anna.wav")
    command = [verb, *COMMANDS[verb], "--store", drawer.root]
    code, text = on_terminal(*command, variables={"NO_COLOR": "1"})
    assert code == 0
    assert "\x1b" not in text
    assert text.strip()


@pytest.mark.parametrize("verb", LISTING)
def test_ctrl_c_is_130_and_changes_nothing(verb, drawer, monkeypatch, capsys):
    drawer.voice(1, "anna.wav")
    before = {path for path in drawer.root.rglob("*") if path.is_file()}

    def interrupted(backend, prefix):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalBackend, "everything", interrupted)
    words = [word for word in COMMANDS[verb] if word != "--dry-run"]
    yes = ["--yes"] if verb in {"rm", "clear"} else []
    assert cli.main([verb, *words, *yes, "--store", str(drawer.root)]) == 130
    assert capsys.readouterr().out == ""
    assert {path for path in drawer.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("verb", LISTING)
def test_a_store_that_cannot_be_listed_is_one_line(verb, drawer, monkeypatch, capsys):
    drawer.voice(1, "anna.wav")

    def fail(backend, prefix):
        raise PermissionError(13, "Permission denied", str(drawer.root))

    monkeypatch.setattr(LocalBackend, "everything", fail)
    assert cli.main([verb, *COMMANDS[verb], "--store", str(drawer.root)]) == 1
    assert "Permission denied" in "".join(capsys.readouterr())


@pytest.mark.parametrize("verb", LISTING)
def test_no_store_and_a_wrong_setting_are_wrong_usage(verb, monkeypatch, capsys):
    assert cli.main([verb, *COMMANDS[verb]]) == 2
    assert capsys.readouterr().err == WHICH
    monkeypatch.setenv("STEPAUDIO_CAS_MODE", "often")
    assert cli.main([verb, *COMMANDS[verb], "--store", "memory://"]) == 2
    assert "STEPAUDIO_CAS_MODE: 'often' is not one of" in capsys.readouterr().err


def test_names_that_the_encoding_of_a_terminal_lacks_are_escaped(drawer):
    drawer.voice(1, "änna.wav")
    variables = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    code, text = on_terminal("ls", "--store", drawer.root, variables=variables)
    assert code == 0
    assert "\\xe4nna.wav" in text
