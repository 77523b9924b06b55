"""A fixed point in time, less the margin that an answer needs."""

import pytest

from sidecar.delivery.deadline import Deadline
from tests.support.clock import Clock


@pytest.mark.parametrize(
    ("remaining_s", "margin_s", "expected_s"),
    [
        pytest.param(30.0, 0.05, 29.95, id="margin"),
        pytest.param(0.2, 0.05, 0.18, id="margin-is-at-most-a-tenth"),
        pytest.param(0.5, 0.05, 0.45, id="exactly-a-tenth"),
        pytest.param(5.0, 0.0, 5.0, id="no-margin"),
        pytest.param(0.0, 0.05, 0.0, id="nothing-left"),
    ],
)
def test_answer_is_due_a_margin_before_the_deadline(remaining_s: float, margin_s: float, expected_s: float) -> None:
    assert Deadline(remaining_s, margin_s, Clock()).remaining_s() == pytest.approx(expected_s)


def test_deadline_that_has_passed_leaves_nothing() -> None:
    assert Deadline(-1.0, 0.05, Clock()).remaining_s() <= 0


def test_deadline_stands_still_while_time_goes_on() -> None:
    clock = Clock()
    deadline = Deadline(10.0, 1.0, clock)
    clock.now += 4
    assert deadline.remaining_s() == pytest.approx(5)
    clock.now += 6
    assert deadline.remaining_s() == pytest.approx(-1)
