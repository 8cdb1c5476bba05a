"""What doctor says of `STEPAUDIO_CAS_TUNE`: each word, and why it cannot be in force."""

import sys

import pytest

from stepaudio_cas.cli.checks.finding import State
from stepaudio_cas.cli.checks.tuning import examine


@pytest.fixture
def look(monkeypatch, tmp_path):
    def look_(tune, python=sys.executable, **more):
        import os

        environment = {**os.environ, "STEPAUDIO_CAS": str(tmp_path), **more}
        findings = examine([python], {**environment, "STEPAUDIO_CAS_TUNE": tune})
        return [(finding.state, finding.text) for finding in findings]

    return look_


def test_without_the_variable_there_is_nothing_to_say(look):
    assert look("") == look("off") == []


def test_each_word_is_possible_or_has_its_reason(look):
    assert look("ort.intra=2,ort.inter=2,attention=sdpa,ort.engines=x") == [
        (State.OK, "ort.intra=2 is possible here"),
        (State.WARNING, "ort.inter=2 is skipped: it counts only together with ort.parallel"),
        (State.OK, "attention=sdpa is possible here"),
        (
            State.WARNING,
            "ort.engines=x is skipped: it counts only together with ort.providers=tensorrt",
        ),
    ]


def test_a_word_that_is_none_is_wrong(look):
    (found,) = look("tf23")
    assert found[0] is State.WRONG
    assert "no word 'tf23'" in found[1]


def test_tuning_without_the_switch_does_nothing_and_that_is_said(look):
    found = look("attention=sdpa", STEPAUDIO_CAS="off")
    assert found[0] == (
        State.WARNING,
        "STEPAUDIO_CAS_TUNE is set, but STEPAUDIO_CAS is not: nothing is tuned",
    )


def test_an_interpreter_that_cannot_be_asked_is_named(look):
    (found,) = look("tf32", python="/nowhere/python")
    assert found[0] is State.WRONG
    assert "/nowhere/python cannot be asked about tf32" in found[1]


def test_a_library_that_is_not_there_is_the_reason(look, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no onnxruntime here')")
    ((state, text),) = look("ort.intra=2", PYTHONPATH=str(tmp_path))
    assert state is State.WARNING
    assert "no onnxruntime here" in text
