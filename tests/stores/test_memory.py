"""The memory store: its bound, its windows, and what a record costs."""

import gc
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.stores.memory import RECORD_BYTES, MemoryStore
from sidecar.stores.store import State, StoreFull
from tests.support.clock import Clock

from .conftest import WINDOW_S

LEASE_S = 10.0
FINGERPRINT = b"f" * 16
ANSWER = b"a" * 60


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


async def fill(store: MemoryStore, number: int, *, answer: bytes = ANSWER) -> None:
    owner = f"owner-{number}"
    assert await store.reserve(key(number), owner=owner, fingerprint=key(number), lease_s=LEASE_S) is None
    assert await store.begin_sending(key(number), owner=owner, lease_s=LEASE_S)
    assert await store.settle(key(number), owner=owner, state=State.DONE, answer=answer)


def room_for(records: int) -> int:
    return records * (RECORD_BYTES + len(FINGERPRINT) + len(ANSWER))


async def test_full_store_refuses_new_ids_and_says_how_long(clock: Clock) -> None:
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(3), clock=clock)
    for number in range(3):
        await fill(store, number)
        clock.now += 100
    with pytest.raises(StoreFull) as full:
        await store.reserve(key(9), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S)
    assert (full.value.setting, full.value.retry_after_s) == ("idempotency.max_bytes", WINDOW_S - 300)
    record = await store.reserve(key(0), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S)
    assert record is not None, "what it has is still there"
    assert record.answer == ANSWER
    clock.now += WINDOW_S - 300
    assert await store.reserve(key(9), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S) is None


async def test_a_record_that_made_a_step_ends_after_those_that_made_none(clock: Clock) -> None:
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(2), clock=clock)
    for number in range(2):
        await store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S)
    clock.now += 100
    assert await store.begin_sending(key(0), owner="one", lease_s=LEASE_S)
    with pytest.raises(StoreFull) as full:
        await store.reserve(key(9), owner="x", fingerprint=FINGERPRINT + ANSWER * 4, lease_s=LEASE_S)
    assert full.value.retry_after_s == WINDOW_S - 100
    clock.now += WINDOW_S - 100
    assert await store.reserve(key(9), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S) is None
    assert await store.reserve(key(0), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S) is not None


async def test_records_whose_window_is_over_are_free_and_make_room_although_there_are_many(clock: Clock) -> None:
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(100), clock=clock)
    for number in range(100):
        await fill(store, number)
    clock.now += WINDOW_S
    for number in reversed(range(100)):
        await fill(store, number)
    with pytest.raises(StoreFull):
        await store.reserve(key(200), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S)


async def test_many_windows_that_end_at_once_hold_nobody_up(clock: Clock) -> None:
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(50_000), clock=clock)
    for number in range(50_000):
        await store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S)
    clock.now += WINDOW_S
    longest_s = 0.0
    gc.disable()  # its pauses are no work of the store
    try:
        for number in range(1000):
            started_s = time.thread_time()
            await fill(store, 100_000 + number)
            longest_s = max(longest_s, time.thread_time() - started_s)
    finally:
        gc.enable()
    assert longest_s < 0.01, "it takes 0.00005 s, and all of them at once 0.05 s"


async def test_answer_is_kept_although_there_is_no_room_for_it(clock: Clock) -> None:
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(1), clock=clock)
    await fill(store, 0, answer=b"a" * 100_000)
    record = await store.reserve(key(0), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S)
    assert record is not None
    assert len(record.answer) == 100_000


@pytest.mark.parametrize(
    ("records", "is_held", "least"), [(10_000, False, 0.7), (22_000, True, 0.95)], ids=["cheapest", "dearest"]
)
async def test_a_record_costs_what_it_is_charged_for(
    clock: Clock, records: int, least: float, *, is_held: bool
) -> None:
    """The dearest have an owner, in a table that has just grown."""
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(2 * records), clock=clock)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(records):
            owner, fingerprint = f"0123456789abcdef-{number}", number.to_bytes(16, "little")
            await store.reserve(key(number), owner=owner, fingerprint=fingerprint, lease_s=LEASE_S)
            if not is_held:
                await store.begin_sending(key(number), owner=owner, lease_s=LEASE_S)
                await store.settle(key(number), owner=owner, state=State.DONE, answer=bytes(60))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    charged = RECORD_BYTES + len(FINGERPRINT) + (0 if is_held else 60)
    assert least * charged < (after - before) / records < charged


async def test_records_whose_window_is_over_leave_memory_some_at_a_time(clock: Clock) -> None:
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(3000), clock=clock)

    async def come_and_go() -> int:
        await store.reserve(bytes(16), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S)
        await store.release(bytes(16), owner="one")
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        for number in range(1, 2001):
            await store.reserve(key(number), owner="one", fingerprint=FINGERPRINT, lease_s=LEASE_S)
        held_bytes = await come_and_go()
        clock.now += WINDOW_S
        assert await come_and_go() > 0.9 * held_bytes, "not all in one call"
        for _ in range(200):
            left_bytes = await come_and_go()
        assert left_bytes < 0.5 * held_bytes, "but for the table, which does not shrink"
    finally:
        tracemalloc.stop()


Step = tuple[str, int, str, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "begin_sending", "settle", "release"]),
        st.integers(0, 3),
        st.sampled_from(["one", "two"]),
        st.sampled_from([0.0, 1.0, 5.0, 15.0, WINDOW_S]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps)
async def test_what_is_charged_is_what_is_there(taken: list[Step]) -> None:
    """Whatever is done, the room comes back: a full window later everything fits again."""
    clock = Clock()
    store = MemoryStore(window_s=WINDOW_S, max_bytes=room_for(4), clock=clock)
    for step, number, owner, wait_s in taken:
        clock.now += wait_s
        if step == "reserve":
            await store.reserve(key(number), owner=owner, fingerprint=FINGERPRINT, lease_s=LEASE_S)
        elif step == "begin_sending":
            await store.begin_sending(key(number), owner=owner, lease_s=LEASE_S)
        elif step == "settle":
            await store.settle(key(number), owner=owner, state=State.DONE, answer=ANSWER)
        else:
            await store.release(key(number), owner=owner)
    clock.now += WINDOW_S
    for number in range(4):
        await fill(store, 100 + number)
    with pytest.raises(StoreFull):
        await store.reserve(key(200), owner="x", fingerprint=FINGERPRINT, lease_s=LEASE_S)
