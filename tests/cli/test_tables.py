"""Tables, bars and words for people."""

import json
import sys

import pytest

from stepaudio_cas.cli import tables


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"), (0, "0 s"), (59.4, "59 s"), (61, "1 min"), (7199, "119 min"), (7200, "2 h"),
        (86400, "24 h"), (172800, "2 d"), (86400 * 729, "729 d"), (86400 * 731, "2 y"),
    ],
)  # fmt: skip
def test_ages_are_short(seconds, text):
    assert tables.age(seconds) == text


def test_what_is_not_printable_is_escaped():
    assert tables.clean("a\x1b[2J\n\u202eé\ud800") == "a\\x1b[2J\\n\\u202eé\\ud800"


def test_a_row_and_a_field_are_escaped(capsys):
    tables.rows(["a"], [["\x1b[2J"]])
    tables.field("name", "\x1b[2J")
    tables.say("\x1b[2J")
    assert capsys.readouterr().out.count("\\x1b[2J") == 3


def test_markup_and_emoji_in_names_are_text(capsys):
    tables.rows(["a"], [["[bold]x[/] :smile:"]])
    tables.say("[red]y[/]")
    assert capsys.readouterr().out.split() == ["a", "[bold]x[/]", ":smile:", "[red]y[/]"]


def test_json_lines_and_documents(capsys):
    tables.line({"a": "é", "b": None})
    tables.document([1])
    line, *document = capsys.readouterr().out.splitlines()
    assert line == '{"a":"\\u00e9","b":null}'
    assert json.loads("".join(document)) == [1]


class Timer:
    """One that waits on the clock of a `Bar`."""

    def __init__(self, at, function):
        self._at, self._function, self._waits = at, function, False

    def start(self):
        self._waits = True

    def cancel(self):
        self._waits = False

    def join(self):
        assert not self._waits

    def look(self, now):
        if self._waits and now >= self._at:
            self._waits = False
            self._function()


class Bar:
    """Somebody at a terminal whose clock is ours."""

    def __init__(self, monkeypatch, capsys):
        self.now = 100.0
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._timers = []
        monkeypatch.setattr(tables.threading, "Timer", self._timer)
        monkeypatch.setattr(tables.time, "monotonic", lambda: self.now)
        monkeypatch.setenv("TERM", "xterm")

    def _timer(self, delay, function):
        timer = Timer(self.now + delay, function)
        self._timers.append(timer)
        return timer

    def go_on(self, seconds):
        """Let time pass."""
        self.now += seconds
        for timer in self._timers:
            timer.look(self.now)

    def take(self, seconds, *, terminal=True, **options):
        """Work for so long, with a bar, and return what it drew."""
        self._monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        with tables.progress("looking", **options) as advance:
            advance(0, total=2)
            self.go_on(seconds)
            advance()
        return self._capsys.readouterr().err


@pytest.fixture
def bar(monkeypatch, capsys):
    return Bar(monkeypatch, capsys)


def test_what_is_quick_has_no_bar(bar):
    assert bar.take(tables.BAR_AFTER * 0.9) == ""


@pytest.mark.parametrize("thread", [True, False])
def test_what_takes_long_has_a_bar(bar, thread):
    drawn = bar.take(tables.BAR_AFTER * 2, thread=thread)
    assert "looking" in drawn
    assert "1/2" in drawn


@pytest.mark.parametrize("where", ["quiet", "dumb", "pipe"])
def test_where_nobody_looks_there_is_no_bar(bar, monkeypatch, where):
    monkeypatch.setenv("TERM", "dumb" if where == "dumb" else "xterm")
    drawn = bar.take(tables.BAR_AFTER * 2, quiet=where == "quiet", terminal=where != "pipe")
    assert drawn == ""


def test_a_bar_goes_when_the_work_is_interrupted(bar, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def work():
        with tables.progress("looking") as advance:
            bar.go_on(tables.BAR_AFTER * 2)
            advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err.endswith("\x1b[2K")
