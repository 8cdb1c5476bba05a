"""What a terminal sees, and what a pipe does."""

import io
import json

import pytest

from stepaudio_cas.cli import doctor
from stepaudio_cas.cli.checks.finding import ok, warning, wrong
from stepaudio_cas.cli.output import Output

FINDINGS = [ok("python.version", "fine"), warning("store.speed", "slow", "hurry"),
            wrong("setting", "a " * 60, "mend it")]  # fmt: skip


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self):
        return True


@pytest.fixture
def table(monkeypatch):
    """Return doctor's table as a terminal with these variables shows it."""
    monkeypatch.setenv("COLUMNS", "60")

    def table_(**variables):
        stream = Terminal()
        doctor._table(Output(stream, variables), FINDINGS)
        return stream.getvalue()

    return table_


def test_a_terminal_gets_colours(table):
    assert "\x1b[31mwrong" in table()


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_none_gets_none(table, variables):
    assert "\x1b" not in table(**variables)


def test_a_pipe_gets_no_colours():
    stream = io.StringIO()
    assert Output(stream, {}).paint("text", "red") == "text"


def test_a_table_has_titles_remedies_and_a_sum(table):
    text = table(NO_COLOR="1")
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert titles == ["Python", "Settings", "Stores", "1 ok, 1 to look at, 1 wrong"]
    assert "  warning  slow\n           → hurry\n" in text


def test_lines_are_folded_to_the_terminal(table):
    lines = table(NO_COLOR="1").splitlines()
    assert max(map(len, lines)) <= 60
    assert "           a a" in "\n".join(lines)


def test_what_an_encoding_lacks_is_escaped():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Output(stream, {}).line("→ µs")
    stream.flush()
    assert stream.buffer.getvalue() == b"\\u2192 \\xb5s\n"


def test_documents_are_json():
    stream = io.StringIO()
    Output(stream, {}).document({"a": ["µ", None]})
    assert json.loads(stream.getvalue()) == {"a": ["µ", None]}
