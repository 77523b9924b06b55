"""What every store does: each arrow of the picture in `sidecar/stores/store.py`, and none that is not there."""

import asyncio

import pytest

from sidecar.stores.redis import RedisStore
from sidecar.stores.store import Record, State, Store
from tests.support.clock import Clock

from .conftest import WINDOW_S

KEY = bytes(range(16))
OTHER_KEY = bytes(range(1, 17))
FINGERPRINT = b"\x00\xff fingerprint"
LEASE_S = 0.05  # by Redis's own clock, where the test has to wait for its end
LONG_S = 600.0


async def reserve(
    store: Store, owner: str = "one", *, key: bytes = KEY, fingerprint: bytes = FINGERPRINT, lease_s: float = LONG_S
) -> Record | None:
    return await store.reserve(key, owner=owner, fingerprint=fingerprint, lease_s=lease_s)


async def look(store: Store, key: bytes = KEY) -> Record:
    """Look at a record as one who comes with the same id: it must be there."""
    record = await reserve(store, "looks", key=key)
    assert record is not None
    return record


async def lease_over(store: Store, clock: Clock) -> None:
    """Let a lease of LEASE_S end."""
    if isinstance(store, RedisStore):
        while (await look(store)).lease_left_s > 0:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(LEASE_S / 5)
    else:
        clock.now += LEASE_S


async def test_free_key_is_taken_once(store: Store) -> None:
    assert await reserve(store) is None
    record = await look(store)
    assert (record.state, record.fingerprint, record.answer) == (State.RESERVED, FINGERPRINT, b"")
    assert LONG_S - 5 < record.lease_left_s <= LONG_S


async def test_other_key_is_another_record(store: Store) -> None:
    await reserve(store)
    assert await reserve(store, key=OTHER_KEY) is None


async def test_sending_can_be_seen_with_its_own_lease(store: Store) -> None:
    await reserve(store, lease_s=LONG_S)
    assert await store.begin_sending(KEY, owner="one", lease_s=2 * LONG_S)
    record = await look(store)
    assert (record.state, record.fingerprint) == (State.SENDING, FINGERPRINT)
    assert 2 * LONG_S - 5 < record.lease_left_s <= 2 * LONG_S


async def test_sending_may_be_begun_again_by_its_owner(store: Store) -> None:
    await reserve(store)
    assert await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    assert await store.begin_sending(KEY, owner="one", lease_s=3 * LONG_S)
    assert (await look(store)).lease_left_s > 2 * LONG_S


@pytest.mark.parametrize("is_sending", [False, True])
async def test_renewed_lease_counts_from_now_and_is_never_shortened(store: Store, *, is_sending: bool) -> None:
    await reserve(store, lease_s=LEASE_S)
    if is_sending:
        await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)
    assert await store.renew(KEY, owner="one", lease_s=LONG_S)
    assert await store.renew(KEY, owner="one", lease_s=LEASE_S)
    record = await look(store)
    assert record.state is (State.SENDING if is_sending else State.RESERVED)
    assert LONG_S - 5 < record.lease_left_s <= LONG_S


@pytest.mark.parametrize("state", [State.DONE, State.UNKNOWN])
@pytest.mark.parametrize("answer", [b"", b"\x00\xff\n'\"", bytes(range(256)) * 400], ids=["empty", "odd", "100kB"])
async def test_answer_is_kept_as_it_is(store: Store, state: State, answer: bytes) -> None:
    await reserve(store)
    await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    assert await store.settle(KEY, owner="one", state=state, answer=answer)
    for _ in range(2):
        assert await look(store) == Record(state, FINGERPRINT, answer, 0.0)


async def test_settled_record_has_no_owner_any_more(store: Store) -> None:
    await reserve(store)
    await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    assert not await store.settle(KEY, owner="one", state=State.UNKNOWN, answer=b"b")
    assert not await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    assert not await store.renew(KEY, owner="one", lease_s=LONG_S)
    assert not await store.release(KEY, owner="one")
    assert (await look(store)).answer == b"a"


async def test_reserved_cannot_be_settled(store: Store) -> None:
    """No answer comes without a first byte."""
    await reserve(store)
    assert not await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    assert (await look(store)).state is State.RESERVED


@pytest.mark.parametrize("is_sending", [False, True])
async def test_released_key_is_free(store: Store, *, is_sending: bool) -> None:
    await reserve(store)
    if is_sending:
        await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    assert await store.release(KEY, owner="one")
    assert not await store.release(KEY, owner="one")
    assert await reserve(store, "two", fingerprint=b"other") is None
    assert (await look(store)).fingerprint == b"other"


@pytest.mark.parametrize("is_sending", [False, True])
async def test_another_owner_can_do_nothing(store: Store, *, is_sending: bool) -> None:
    await reserve(store)
    if is_sending:
        await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    before = (await look(store)).state
    assert not await store.begin_sending(KEY, owner="two", lease_s=LONG_S)
    assert not await store.renew(KEY, owner="two", lease_s=LONG_S)
    assert not await store.settle(KEY, owner="two", state=State.DONE, answer=b"a")
    assert not await store.release(KEY, owner="two")
    assert (await look(store)).state is before


async def test_unknown_key_has_no_steps(store: Store) -> None:
    assert not await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    assert not await store.renew(KEY, owner="one", lease_s=LONG_S)
    assert not await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    assert not await store.release(KEY, owner="one")
    assert await reserve(store) is None


async def test_reserved_is_taken_over_when_its_lease_is_over_and_the_old_owner_can_do_nothing(
    store: Store, clock: Clock
) -> None:
    await reserve(store, lease_s=LEASE_S)
    if isinstance(store, RedisStore):
        while await reserve(store, "two", fingerprint=b"new") is not None:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(LEASE_S / 5)
    else:
        assert await reserve(store, "two", fingerprint=b"new") is not None
        await lease_over(store, clock)
        assert await reserve(store, "two", fingerprint=b"new") is None
    assert not await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    assert not await store.renew(KEY, owner="one", lease_s=LONG_S)
    assert not await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    assert not await store.release(KEY, owner="one")
    record = await look(store)
    assert (record.state, record.fingerprint) == (State.RESERVED, b"new")
    assert await store.begin_sending(KEY, owner="two", lease_s=LONG_S)


async def test_sending_is_never_taken_over_and_its_owner_may_still_settle(store: Store, clock: Clock) -> None:
    await reserve(store)
    await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)
    await lease_over(store, clock)
    record = await look(store)
    assert record.state is State.SENDING
    assert record.lease_left_s <= 0
    assert await store.settle(KEY, owner="one", state=State.DONE, answer=b"late")
    assert (await look(store)).answer == b"late"


async def test_reserved_whose_lease_is_over_is_still_its_owners_until_it_is_taken(store: Store) -> None:
    await reserve(store, lease_s=0.0)
    assert await store.begin_sending(KEY, owner="one", lease_s=LONG_S)


async def test_sending_whose_lease_is_over_may_be_released_by_its_owner_alone(store: Store) -> None:
    await reserve(store)
    await store.begin_sending(KEY, owner="one", lease_s=0.0)
    assert not await store.release(KEY, owner="two")
    assert await reserve(store, "two") is not None
    assert await store.release(KEY, owner="one")
    assert await reserve(store, "two") is None


async def test_own_record_that_is_sending_is_not_reserved_again(store: Store) -> None:
    await reserve(store)
    await store.begin_sending(KEY, owner="one", lease_s=0.0)
    record = await reserve(store, "one")
    assert record is not None
    assert record.state is State.SENDING


# Redis ends the windows by itself: test_redis.py.
@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_window_counts_from_the_last_step(store: Store, clock: Clock) -> None:
    await reserve(store, lease_s=2 * WINDOW_S)
    clock.now += WINDOW_S - 1
    assert await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    clock.now += WINDOW_S - 1
    assert await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    clock.now += WINDOW_S - 1
    assert (await look(store)).answer == b"a"
    clock.now += 1
    assert await reserve(store, "two") is None


@pytest.mark.parametrize("is_sending", [False, True])
@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_owner_whose_window_is_over_holds_nothing(store: Store, clock: Clock, *, is_sending: bool) -> None:
    await reserve(store)
    if is_sending:
        await store.begin_sending(KEY, owner="one", lease_s=2 * WINDOW_S)
    clock.now += WINDOW_S
    assert not await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    assert not await store.renew(KEY, owner="one", lease_s=LONG_S)
    assert not await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    assert not await store.release(KEY, owner="one")
    assert await reserve(store, "two") is None


async def test_of_many_at_once_exactly_one_takes_it(store: Store) -> None:
    found = await asyncio.gather(*(reserve(store, f"owner-{number}") for number in range(50)))
    assert [record for record in found if record is None] == [None]
    assert {record.state for record in found if record is not None} == {State.RESERVED}


async def test_steps_that_race_for_one_record_are_one_after_another(store: Store) -> None:
    await reserve(store)
    await store.begin_sending(KEY, owner="one", lease_s=LONG_S)
    ended = await asyncio.gather(
        *(store.settle(KEY, owner="one", state=State.DONE, answer=b"%d" % number) for number in range(20)),
        *(store.release(KEY, owner="one") for _ in range(5)),
    )
    assert ended.count(True) == 1
