"""A caller's rate: a bucket that is filled evenly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.server.rate import Rate
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


def test_whole_bucket_at_once_and_then_evenly(clock: Clock) -> None:
    rate = Rate(5, 10.0, clock)
    assert [rate.take() for _ in range(5)] == [0.0] * 5
    assert rate.take() == pytest.approx(2.0)
    assert rate.take() == pytest.approx(2.0), "who is refused costs nothing"
    clock.now += 2.0
    assert rate.take() == 0.0
    assert rate.take() == pytest.approx(2.0)


@pytest.mark.parametrize("per_s", [0.7, 1.0, 3600.0, 86400.0])
def test_wait_that_was_told_is_enough(clock: Clock, per_s: float) -> None:
    clock.now = 123_456.789
    rate = Rate(3, per_s, clock)
    for _ in range(100):
        while (wait_s := rate.take()) == 0:
            pass
        clock.now += wait_s
        assert rate.take() == 0.0


@given(st.integers(1, 1000), st.floats(0.01, 1000), st.lists(st.floats(0, 100), max_size=200))
def test_no_more_than_a_bucket_and_what_was_filled_since(calls: int, per_s: float, waits: list[float]) -> None:
    clock = Clock(0.0)
    rate = Rate(calls, per_s, clock)
    taken = 0
    for wait_s in waits:
        clock.now += wait_s
        taken += rate.take() == 0
    assert taken <= calls + clock.now * calls / per_s + 1
