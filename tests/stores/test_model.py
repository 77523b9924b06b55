"""Memory and SQLite against a model of a few lines: any order of steps, owners and waits leads both to the same."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.stores.memory import MemoryStore
from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.store import Record, State, Store
from tests.support.clock import Clock

from .conftest import WINDOW_S, file_clock

LEASE_S = 10.0
Step = tuple[str, int, str, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "begin_sending", "renew", "settle", "release"]),
        st.integers(0, 2),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from([0.0, 1.0, 9.0, LEASE_S, WINDOW_S - 1, WINDOW_S]),
    ),
    max_size=30,
)


class Model:
    """What store.py says, over one dictionary."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.records: dict[int, list] = {}  # state, owner, lease until, window until

    def step(self, step: str, number: int, owner: str) -> object:
        now = self.clock.now
        state, holder, lease, window = self.records.get(number, (None, "", 0.0, 0.0))
        if window <= now:
            state = None
        is_held = state in {State.RESERVED, State.SENDING} and holder == owner
        if step == "reserve":
            if state is None or (state is State.RESERVED and lease <= now):
                self.records[number] = [State.RESERVED, owner, now + LEASE_S, now + WINDOW_S]
                return None
            return (state, lease - now if state in {State.RESERVED, State.SENDING} else 0.0)
        if not is_held or (step == "settle" and state is not State.SENDING):
            return False
        if step == "begin_sending":
            self.records[number] = [State.SENDING, owner, now + LEASE_S, now + WINDOW_S]
        elif step == "renew":
            self.records[number] = [state, owner, max(lease, now + LEASE_S), now + WINDOW_S]
        elif step == "settle":
            self.records[number] = [State.DONE, "", 0.0, now + WINDOW_S]
        else:
            del self.records[number]
        return True


async def take(store: Store, step: str, number: int, owner: str) -> object:
    key = bytes([number]) * 16
    if step == "reserve":
        record: Record | None = await store.reserve(key, owner=owner, fingerprint=b"f", lease_s=LEASE_S)
        return None if record is None else (record.state, record.lease_left_s)
    if step == "begin_sending":
        return await store.begin_sending(key, owner=owner, lease_s=LEASE_S)
    if step == "renew":
        return await store.renew(key, owner=owner, lease_s=LEASE_S)
    if step == "settle":
        return await store.settle(key, owner=owner, state=State.DONE, answer=b"a")
    return await store.release(key, owner=owner)


async def check(store: Store, clock: Clock, taken: list[Step]) -> None:
    await store.start()
    model = Model(clock)
    for step, number, owner, wait_s in taken:
        clock.now += wait_s
        assert await take(store, step, number, owner) == model.step(step, number, owner), (step, number, owner)
    await store.aclose()


@settings(max_examples=150, deadline=None)
@given(STEPS)
async def test_memory_is_the_model(taken: list[Step]) -> None:
    clock = Clock()
    await check(MemoryStore(window_s=WINDOW_S, max_bytes=1_000_000, clock=clock), clock, taken)


@settings(max_examples=60, deadline=None)
@given(STEPS)
async def test_sqlite_is_the_model(taken: list[Step]) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ids.db"
        store = SqliteStore(path, window_s=WINDOW_S, max_bytes=10_000_000, clock=file_clock(clock))
        await check(store, clock, taken)
