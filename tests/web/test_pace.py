"""How much of a processor the server takes, by clocks of our own."""

import pytest

from stepaudio_cas.web.pace import Pace


class Clocks:
    def __init__(self):
        self.now = self.used = 0.0

    def work(self, seconds):
        self.now += seconds
        self.used += seconds


@pytest.fixture
def clocks():
    return Clocks()


def pace(clocks, share=0.02, burst=0.5):
    made = Pace(share, burst=burst, clock=lambda: clocks.now, used=lambda: clocks.used)
    made.owed()
    return made


def test_a_burst_is_free_and_then_work_is_paid_for_with_rest(clocks):
    made = pace(clocks)
    clocks.work(0.4)
    assert made.owed() == 0.0
    clocks.work(0.2)
    assert made.owed() == pytest.approx((0.1 - 0.2 * 0.02) / 0.02)


def test_who_rests_as_long_as_is_owed_takes_the_share_and_no_more(clocks):
    made = pace(clocks)
    for _ in range(1000):
        clocks.work(0.003)
        clocks.now += made.owed()
    assert clocks.used / clocks.now < 0.025


def test_what_was_not_used_is_not_saved_up_beyond_the_burst(clocks):
    made = pace(clocks)
    clocks.now += 1e6
    assert made.owed() == 0.0
    clocks.work(0.6)
    assert made.owed() > 4.0


def test_nobody_rests_who_has_a_processor_of_his_own_or_is_done(clocks):
    made = pace(clocks, share=1.0)
    clocks.work(100.0)
    assert made.owed() == 0.0
    made = pace(clocks)
    clocks.work(100.0)
    made.free()
    assert made.owed() == 0.0
