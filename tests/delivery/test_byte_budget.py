"""What calls hold: refused beyond the limit, never below zero, and nothing left when all have ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.delivery.byte_budget import ByteBudget
from sidecar.errors import Overloaded, Sent
from tests.support.fake_vendor import Caller


def budget(limit: int = 100, setting: str = "server.max_pending_bytes") -> ByteBudget:
    return ByteBudget(setting, limit=limit, retry_after_s=2.5)


@pytest.mark.parametrize(
    ("pending", "own", "size", "is_refused"),
    [
        pytest.param(0, 0, 100, False, id="just fits"),
        pytest.param(0, 0, 101, False, id="too large, but alone"),
        pytest.param(1, 0, 99, False, id="just fits beside another"),
        pytest.param(1, 0, 100, True, id="too large beside another"),
        pytest.param(60, 60, 50, False, id="too large, but all else is its own"),
        pytest.param(61, 60, 50, True, id="too large, and another is there"),
        pytest.param(150, 0, 1, True, id="overdrawn by an answer"),
        pytest.param(100, 0, 0, False, id="an empty request needs no room"),
    ],
)
def test_more_is_taken_up_to_the_limit_and_from_who_is_alone(
    pending: int, own: int, size: int, is_refused: bool
) -> None:
    tried = budget()
    tried.overdraw(pending)
    if not is_refused:
        tried.charge(size, own=own)
        assert tried.pending == pending + size
        return
    with pytest.raises(Overloaded) as full:
        tried.charge(size, own=own)
    assert tried.pending == pending
    assert (full.value.sent, full.value.retry_after_s) == (Sent.NO, 2.5)
    assert full.value.description == "the calls in progress hold as many bytes as server.max_pending_bytes allows"


def test_request_counts_twice_and_body_and_answer_once_for_the_process_and_the_app() -> None:
    process, app = budget(1000), budget(1000, "apps.shop.max_pending_bytes")
    call = Caller(process_bytes=process).call()
    call.hold_request(10)
    assert (process.pending, app.pending) == (20, 0)
    call.hold_body(7, app)
    assert (process.pending, app.pending) == (27, 27)
    call.hold_answer(5)
    assert (process.pending, app.pending) == (32, 32)
    call.release_bytes()
    assert (process.pending, app.pending) == (0, 0)
    call.release_bytes()
    assert (process.pending, app.pending) == (0, 0), "once"


def test_answer_is_never_refused_and_later_requests_are() -> None:
    process, app = budget(), budget()
    call = Caller(process_bytes=process).call()
    call.hold_request(10)
    call.hold_body(10, app)
    call.hold_answer(1000)
    assert (process.pending, app.pending) == (1030, 1030)
    with pytest.raises(Overloaded):
        Caller(process_bytes=process).call().hold_request(1)


def test_body_that_the_app_has_no_room_for_is_the_apps_to_name_and_is_released() -> None:
    process, app = budget(1000), budget(100, "apps.shop.max_pending_bytes")
    first, second = (Caller(process_bytes=process).call() for _ in range(2))
    for call in (first, second):
        call.hold_request(20)
    first.hold_body(20, app)
    with pytest.raises(Overloaded, match=r"as apps\.shop\.max_pending_bytes allows"):
        second.hold_body(20, app)
    second.release_bytes()
    assert (process.pending, app.pending) == (60, 60), "what the first holds"


STEPS = st.tuples(st.integers(0, 3), st.sampled_from(["request", "body", "answer", "release"]), st.integers(0, 120))


@given(st.lists(STEPS, max_size=40))
def test_whatever_the_order_nothing_is_lost(steps: list[tuple[int, str, int]]) -> None:
    process, apps = budget(200), (budget(120), budget(120))
    calls = [Caller(process_bytes=process).call() for _ in range(4)]
    app_of: dict[int, ByteBudget] = {}
    for number, step, size in steps:
        call, others = calls[number], process.pending - calls[number].held_bytes
        try:
            if step == "request" and number not in app_of:
                call.hold_request(size)
            elif step == "body" and number not in app_of:
                call.hold_body(size, apps[number % 2])
                app_of[number] = apps[number % 2]
            elif step == "answer":
                call.hold_answer(size)
            elif step == "release":
                call.release_bytes()
        except Overloaded:
            assert process.pending == others + call.held_bytes
        assert process.pending == sum(each.held_bytes for each in calls)
        for app in apps:
            assert app.pending == sum(calls[at].held_bytes for at, its in app_of.items() if its is app)
        assert min(process.pending, *(app.pending for app in apps)) >= 0
    for call in calls:
        call.release_bytes()
    assert [each.pending for each in (process, *apps)] == [0, 0, 0]
