"""Libraries that are tuned in this process, and put back afterwards."""

import pytest

from stepaudio_cas.tuning import effects as room
from stepaudio_cas.tuning.words import parse


@pytest.fixture
def effects(monkeypatch):
    """What comes of the tuning, from nothing, in every module that takes it down."""
    monkeypatch.setenv("STEPAUDIO_CAS_LOG", "info")
    kept = dict(vars(room.effects))
    vars(room.effects).update(vars(room.Effects()))
    yield room.effects
    vars(room.effects).update(kept)


@pytest.fixture
def states(effects):
    """Return what became of each word: {(word, thing): (state, why)}."""

    def states_():
        return {key: (o.state, o.why) for key, o in effects.outcomes.items()}

    return states_


@pytest.fixture
def plan():
    """Read words as the environment would have them."""

    def plan_(text):
        found, troubles = parse(text)
        assert troubles == []
        return found

    return plan_
