"""What is in force is said by the things themselves, with the same names in any process."""

import copy
from types import SimpleNamespace

from stepaudio_cas.tuning.effects import SKIPPED, marks_of


class Session:
    pass


class Wrapped:
    def __init__(self, session):
        self.parts = {"speech": session}
        self.session = session


def test_a_thing_that_was_not_tuned_says_nothing(effects):
    assert not effects.active
    assert effects.of([Session(), 3, None]) == {}


def test_a_mark_is_found_in_what_holds_the_thing(effects):
    session = Session()
    effects.mark([session], "ort.graph", "all")
    assert effects.of([None, session]) == {"1 Session": {"ort.graph": "all"}}
    assert effects.of([Wrapped(session)]) == {"0.parts.speech Session": {"ort.graph": "all"}}
    assert effects.of([SimpleNamespace(inner=Wrapped(session))]) == {
        "0.inner.parts.speech Session": {"ort.graph": "all"}
    }


def test_things_that_hold_each_other_are_looked_at_once(effects):
    one, other = Session(), Session()
    one.other, other.one = other, one
    effects.mark([one, other], "compile", True)
    assert set(effects.of([one])) == {"0 Session", "0.other Session"}


def test_a_copy_is_tuned_as_well(effects):
    session = Session()
    effects.mark([session], "llm", "4bit")
    assert effects.of([copy.deepcopy(session)]) == {"0 Session": {"llm": "4bit"}}


def test_what_is_withdrawn_is_gone_from_marks_that_were_found_before(effects):
    session = Session()
    effects.mark([session], "compile", True)
    marks = marks_of([session])
    effects.withdraw([session], "compile")
    assert effects.of([session], marks) == effects.of([session]) == {}


def test_a_setting_of_the_whole_process_counts_while_it_is_in_force(effects):
    state = [True]
    effects.everywhere("tf32", lambda: state[0])
    assert effects.of([]) == {"process": {"tf32": True}}
    state[0] = None
    assert effects.of([]) == {}


def test_the_same_is_said_once_and_a_reason_is_never_pages_long(effects, capfd):
    for _ in range(3):
        effects.note("compile", "encoder", SKIPPED, "no\ncompiler " * 500)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("stepaudio-cas: tuning: compile (encoder) is skipped: no compiler no")
    assert len(line) < 400
