"""Places in flight: in order, bounded, and none ever lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.delivery.admission import Admission
from sidecar.errors import DeadlineExceeded, Overloaded, Sent, ShuttingDown
from tests.support.fake_vendor import Countdown, never
from tests.support.raw_server import turns


def build(max_in_flight: int = 1, max_queue: int = 2) -> Admission:
    return Admission(max_in_flight=max_in_flight, max_queue=max_queue, retry_after_s=1.5)


async def waiting(admission: Admission, deadline: Countdown | None = None) -> "asyncio.Task[None]":
    """Start a call that has to wait."""
    queued = admission.queued
    task = asyncio.create_task(admission.enter(deadline or never()))
    await asyncio.sleep(0)
    assert admission.queued == queued + 1
    return task


async def test_free_place_is_taken_at_once() -> None:
    admission = build(max_in_flight=2)
    await admission.enter(never())
    assert (admission.in_flight, admission.is_full, admission.would_queue) == (1, False, False)
    await admission.enter(never())
    assert (admission.in_flight, admission.is_full, admission.would_queue) == (2, True, True)
    admission.leave()
    admission.leave()
    assert admission.in_flight == 0


async def test_places_are_given_in_the_order_of_arrival() -> None:
    admission = build(max_queue=3)
    await admission.enter(never())
    tasks = [await waiting(admission) for _ in range(3)]
    for index, task in enumerate(tasks):
        admission.leave()
        await turns()
        assert [t.done() for t in tasks] == [True] * (index + 1) + [False] * (2 - index)
        await task
        assert admission.in_flight == 1
    admission.leave()
    assert (admission.in_flight, admission.queued) == (0, 0)


async def test_newcomer_does_not_overtake_who_was_just_given_a_place() -> None:
    admission = build(max_queue=1)
    await admission.enter(never())
    first = await waiting(admission)
    admission.leave()  # given to `first`, which has not run yet
    second = await waiting(admission)
    await first
    assert not second.done()
    admission.leave()
    await second
    admission.leave()
    assert admission.in_flight == 0


async def test_call_beyond_the_queue_is_turned_away_at_once() -> None:
    admission = build(max_queue=2)
    await admission.enter(never())
    tasks = [await waiting(admission) for _ in range(2)]
    assert not admission.would_queue
    with pytest.raises(Overloaded) as overloaded:
        await admission.enter(never())
    assert overloaded.value.retry_after_s == 1.5
    assert overloaded.value.sent is Sent.NO
    assert (admission.in_flight, admission.queued) == (1, 2)
    admission.close()
    await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), ShuttingDown) for task in tasks)


async def test_without_a_queue_a_full_house_turns_away() -> None:
    admission = build(max_queue=0)
    await admission.enter(never())
    with pytest.raises(Overloaded):
        await admission.enter(never())
    admission.leave()
    await admission.enter(never())


async def test_too_late_is_told_at_the_door() -> None:
    admission = build()
    with pytest.raises(DeadlineExceeded) as late:
        await admission.enter(Countdown(0.0))
    assert late.value.sent is Sent.NO
    assert admission.in_flight == 0


async def test_deadline_ends_the_wait() -> None:
    admission = build()
    await admission.enter(never())
    task = asyncio.create_task(admission.enter(Countdown(10.0, 0.0)))
    await asyncio.wait({task})
    error = task.exception()
    assert isinstance(error, DeadlineExceeded)
    assert error.sent is Sent.NO
    assert (admission.in_flight, admission.queued) == (1, 0)


async def test_deadline_at_the_hand_over_loses_no_place() -> None:
    admission = build()
    await admission.enter(never())
    late = await waiting(admission, Countdown(10.0, 0.0))
    patient = await waiting(admission)
    admission.leave()  # to `late`, whose time is up in this very turn
    await asyncio.wait({late})
    assert isinstance(late.exception(), DeadlineExceeded)
    await patient
    assert (admission.in_flight, admission.queued) == (1, 0)
    admission.leave()
    assert admission.in_flight == 0


async def test_cancelled_while_queued_leaves_the_queue() -> None:
    admission = build()
    await admission.enter(never())
    first, second = await waiting(admission), await waiting(admission)
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    assert (admission.in_flight, admission.queued) == (1, 1)
    admission.leave()
    await second
    assert (admission.in_flight, admission.queued) == (1, 0)


async def test_cancelled_at_the_hand_over_passes_the_place_on() -> None:
    admission = build()
    await admission.enter(never())
    first, second = await waiting(admission), await waiting(admission)
    admission.leave()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    await second
    assert (admission.in_flight, admission.queued) == (1, 0)
    admission.leave()
    assert admission.in_flight == 0


async def test_place_given_in_the_turn_of_a_cancellation_goes_to_the_next() -> None:
    admission = build()
    await admission.enter(never())
    first, second = await waiting(admission), await waiting(admission)
    first.cancel()
    admission.leave()  # `first` is still in the queue, but will never come
    await asyncio.wait({first})
    await second
    assert (admission.in_flight, admission.queued) == (1, 0)


async def test_close_refuses_who_waits_and_who_comes() -> None:
    admission = build()
    await admission.enter(never())
    task = await waiting(admission)
    admission.close()
    assert not admission.would_queue
    await asyncio.wait({task})
    assert isinstance(task.exception(), ShuttingDown)
    with pytest.raises(ShuttingDown):
        await admission.enter(never())
    assert (admission.in_flight, admission.queued) == (1, 0)
    admission.leave()
    assert admission.in_flight == 0


async def test_cancelled_in_the_turn_of_the_close_is_cancelled() -> None:
    admission = build()
    await admission.enter(never())
    task = await waiting(admission)
    admission.close()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (admission.in_flight, admission.queued) == (1, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "late", "leave", "cancel", "turn"]), st.integers(0, 9)), max_size=60
)


@given(steps=STEPS, max_in_flight=st.integers(1, 3), max_queue=st.integers(0, 3))
def test_no_place_is_lost_or_given_twice(steps: list[tuple[str, int]], max_in_flight: int, max_queue: int) -> None:
    asyncio.run(_run(steps, max_in_flight, max_queue))


async def _run(steps: list[tuple[str, int]], max_in_flight: int, max_queue: int) -> None:
    admission = build(max_in_flight, max_queue)
    tasks: list[asyncio.Task[None]] = []
    held = 0

    def entered() -> int:
        return sum(task.done() and not task.cancelled() and task.exception() is None for task in tasks)

    for step, number in steps:
        if step in {"enter", "late"}:
            deadline = never() if step == "enter" else Countdown(10.0, 0.0)
            tasks.append(asyncio.create_task(admission.enter(deadline)))
        elif step == "leave" and entered() > held:
            held += 1
            admission.leave()
        elif step == "cancel" and tasks:
            tasks[number % len(tasks)].cancel()
        elif step == "turn":
            await turns(number)
        assert admission.in_flight <= max_in_flight
        assert admission.queued <= max_queue
    await turns()
    assert admission.in_flight == entered() - held
    admission.close()
    if tasks:
        await asyncio.wait(tasks)
    assert admission.in_flight == entered() - held
    assert admission.queued == 0
