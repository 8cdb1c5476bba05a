"""The small host, where processes that we start find it."""

import pytest

from tests.prewarm.small_host import SmallHost


@pytest.fixture
def small(tmp_path, monkeypatch):
    made = SmallHost(tmp_path / "small")
    monkeypatch.syspath_prepend(str(made.site))
    return made
