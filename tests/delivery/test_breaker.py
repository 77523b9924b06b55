"""When the breaker opens, what it lets through, and that there is always a way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.delivery.breaker import Breaker, Permit, State
from sidecar.errors import NotSent
from tests.support.clock import Clock

OPEN_S = 5.0
WINDOW_S = 10.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failure_ratio=0.5, min_calls=4, window_s=WINDOW_S, open_s=OPEN_S, clock=clock)


def report(breaker: Breaker, *outcomes: bool | None) -> None:
    for reached in outcomes:
        breaker.admit().report(reached=reached)


def refusal(breaker: Breaker) -> NotSent:
    with pytest.raises(NotSent) as refused:
        breaker.admit()
    with pytest.raises(NotSent):
        breaker.check()
    return refused.value


OK, BAD, NOTHING = True, False, None


@pytest.mark.parametrize(
    ("outcomes", "is_open"),
    [
        pytest.param([BAD, BAD, BAD], False, id="too-few-calls"),
        pytest.param([BAD, BAD, BAD, BAD], True, id="all-failed"),
        pytest.param([OK, OK, BAD, BAD], True, id="as-many-as-the-ratio"),
        pytest.param([OK, OK, OK, BAD, BAD], False, id="fewer-than-the-ratio"),
        pytest.param([OK] * 100, False, id="all-answered"),
        pytest.param([BAD, BAD, BAD, NOTHING, NOTHING], False, id="nothing-learned-does-not-count"),
    ],
)
def test_opens_by_the_ratio_of_failures(breaker: Breaker, outcomes: list[bool | None], *, is_open: bool) -> None:
    report(breaker, *outcomes)
    assert (breaker.state is State.OPEN) is is_open


def test_failures_of_long_ago_do_not_count(breaker: Breaker, clock: Clock) -> None:
    report(breaker, BAD, BAD, BAD)
    clock.now += WINDOW_S + 1
    report(breaker, BAD, OK, OK, OK)
    assert breaker.state is State.CLOSED


def test_window_slides(breaker: Breaker, clock: Clock) -> None:
    for _ in range(4):
        report(breaker, BAD)
        clock.now += WINDOW_S / 5
    assert breaker.state is State.OPEN


def test_open_it_refuses_and_says_how_long(breaker: Breaker, clock: Clock) -> None:
    report(breaker, *[BAD] * 4)
    clock.now += 2
    refused = refusal(breaker)
    assert (refused.cause, refused.retry_after_s) == ("breaker_open", OPEN_S - 2)


def test_half_open_it_lets_one_call_through_at_a_time(breaker: Breaker, clock: Clock) -> None:
    report(breaker, *[BAD] * 4)
    clock.now += OPEN_S
    assert breaker.state is State.HALF_OPEN
    breaker.check()
    probe = breaker.admit()
    assert refusal(breaker).retry_after_s == 1.0
    probe.report(reached=True)
    assert breaker.state is State.CLOSED
    report(breaker, BAD, BAD, BAD)
    assert breaker.state is State.CLOSED, "it counts anew"


def test_probe_that_fails_opens_it_for_longer_each_time_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    report(breaker, *[BAD] * 4)
    for stretch in (2, 4, 8, 8):
        clock.now += breaker.retry_after_s
        report(breaker, BAD)
        assert breaker.retry_after_s == stretch * OPEN_S
    clock.now += breaker.retry_after_s
    report(breaker, OK)
    report(breaker, *[BAD] * 4)
    assert breaker.retry_after_s == OPEN_S


def test_probe_that_learned_nothing_gives_its_place_to_another(breaker: Breaker, clock: Clock) -> None:
    report(breaker, *[BAD] * 4)
    clock.now += OPEN_S
    report(breaker, NOTHING)
    assert breaker.state is State.HALF_OPEN
    report(breaker, OK)
    assert breaker.state is State.CLOSED


def test_calls_of_an_earlier_time_change_nothing(breaker: Breaker, clock: Clock) -> None:
    early = [breaker.admit() for _ in range(6)]
    for permit in early[:4]:
        permit.report(reached=False)
    early[4].report(reached=True)
    assert breaker.state is State.OPEN
    clock.now += OPEN_S
    probe = breaker.admit()
    early[5].report(reached=False)
    assert breaker.retry_after_s == 1.0, "the probe is still under way"
    probe.report(reached=True)
    assert breaker.state is State.CLOSED


def test_permit_reports_once(breaker: Breaker) -> None:
    permit = breaker.admit()
    for _ in range(10):
        permit.report(reached=False)
    assert breaker.state is State.CLOSED


def admitted(breaker: Breaker) -> tuple[Permit | None, float]:
    """Ask for a permit; returns it, or the time to wait."""
    try:
        return breaker.admit(), 0.0
    except NotSent as refused:
        return None, refused.retry_after_s or 0.0


@given(
    st.lists(
        st.tuples(st.sampled_from(["call", "report"]), st.sampled_from([OK, BAD, NOTHING]), st.sampled_from([0, 1, 6])),
        max_size=80,
    )
)
def test_at_most_one_probe_and_always_a_way_back(steps: list[tuple[str, bool | None, int]]) -> None:
    clock = Clock()
    breaker = Breaker(failure_ratio=0.5, min_calls=4, window_s=WINDOW_S, open_s=OPEN_S, clock=clock)
    permits: list[Permit] = []
    for step, reached, wait_s in steps:
        clock.now += wait_s
        if step == "report" and permits:
            permits.pop(0).report(reached=reached)
            continue
        was = breaker.state
        permit, after_s = admitted(breaker)
        if permit is None:
            assert after_s > 0
            assert was is not State.CLOSED
        else:
            permits.append(permit)
            assert was is not State.OPEN
    for permit in permits:
        permit.report(reached=None)
    clock.now += breaker.retry_after_s
    report(breaker, OK)
    assert breaker.state is State.CLOSED


@given(st.lists(st.sampled_from([OK, NOTHING]), max_size=200))
def test_never_opens_on_answers(outcomes: list[bool | None]) -> None:
    breaker = Breaker(failure_ratio=0.01, min_calls=1, window_s=WINDOW_S, open_s=OPEN_S, clock=Clock())
    report(breaker, *outcomes)
    assert breaker.state is State.CLOSED
