"""One app's flood of request ids takes its share of the store's room, and leaves the others' theirs."""

import contextlib
from collections.abc import AsyncIterator, Callable
from hashlib import blake2b
from pathlib import Path

import pytest

from sidecar.config import IdempotencyConfig
from sidecar.delivery.claim import Keeper
from sidecar.stores.build import build_store
from sidecar.stores.memory import RECORD_BYTES, MemoryStore
from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.sqlite_share import COUNT_INTERVAL_S, ROW_BYTES
from sidecar.stores.store import State, Store, StoreFull, app_of
from sidecar.telemetry.metrics import Metrics
from tests.support.clock import Clock

from .conftest import WINDOW_S, file_clock

MAX_BYTES = 200_000
SHARE = "idempotency.max_app_share"
Bounded = MemoryStore | SqliteStore


def at_once(count: Callable[[], None]) -> None:
    """Make a count before the step that asked for it goes on."""
    count()


def key(app: str, number: int) -> bytes:
    return blake2b(f"{app} {number}".encode(), digest_size=16).digest()


@pytest.fixture(params=["memory", "sqlite"])
async def bounded(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Bounded]:
    """Give each store that has a bound of its own, of which an app may have half."""
    room = {"window_s": WINDOW_S, "max_bytes": MAX_BYTES, "max_app_bytes": MAX_BYTES // 2}
    built: Bounded = (
        MemoryStore(**room, clock=clock)
        if request.param == "memory"
        else SqliteStore(tmp_path / "ids.db", **room, clock=file_clock(clock), count_in=at_once)
    )
    await built.start()
    yield built
    await built.aclose()


async def push(store: Store, app: str, number: int, answer: bytes = b"") -> None:
    """Leave a record, or raise `StoreFull`."""
    owner = f"{app}/0123456789abcdef-{number}"
    assert await store.reserve(key(app, number), owner=owner, fingerprint=b"f" * 16, lease_s=10) is None
    assert await store.begin_sending(key(app, number), owner=owner, lease_s=10)
    assert await store.settle(key(app, number), owner=owner, state=State.DONE, answer=answer)


async def flood(store: Store, app: str, first: int = 0, answer: bytes = b"") -> tuple[int, StoreFull]:
    """Push until there is no room; returns the number that had none, and the refusal."""
    number = first
    while True:
        try:
            await push(store, app, number, answer)
        except StoreFull as full:
            return number, full
        number += 1


async def test_flood_of_one_app_leaves_room_for_the_others(bounded: Bounded, clock: Clock) -> None:
    await push(bounded, "quiet", 0)
    clock.now += 100
    flooded, full = await flood(bounded, "loud")
    assert (full.setting, full.retry_after_s) == (SHARE, WINDOW_S)
    for number in range(1, flooded // 2):
        await push(bounded, "quiet", number)
    record = await bounded.reserve(key("loud", 0), owner="loud/x", fingerprint=b"x", lease_s=10)
    assert record is not None, "nothing is dropped within its window"
    with pytest.raises(StoreFull, match=SHARE):
        await push(bounded, "loud", flooded)


async def test_share_is_free_again_when_the_windows_are_over(bounded: Bounded, clock: Clock) -> None:
    flooded, _ = await flood(bounded, "loud")
    clock.now += WINDOW_S
    again, _ = await flood(bounded, "loud", first=flooded)
    assert 0.8 * flooded < again - flooded < 1.25 * flooded


async def test_answers_count_for_the_share(bounded: Bounded, clock: Clock) -> None:
    number = 0
    with contextlib.suppress(StoreFull):
        while True:
            await push(bounded, "loud", number, answer=bytes(2000))
            clock.now += COUNT_INTERVAL_S
            number += 1
    assert 30 < number < 55, "records of about 2.2 to 2.4 kB in 100 kB"


async def test_released_ids_are_not_counted(bounded: Bounded, clock: Clock) -> None:
    flooded, _ = await flood(bounded, "loud")
    for number in range(2 * flooded):
        clock.now += 0.001
        owner = f"quiet/{number}"
        assert await bounded.reserve(key("quiet", number), owner=owner, fingerprint=b"f" * 16, lease_s=10) is None
        assert await bounded.release(key("quiet", number), owner=owner)


async def test_refusal_looks_at_a_bounded_number_of_records_of_others(clock: Clock) -> None:
    store = MemoryStore(window_s=WINDOW_S, max_bytes=10_000_000, max_app_bytes=1_000_000, clock=clock)
    for number in range(1500):
        await push(store, "quiet", number)
        clock.now += 0.1
    _, full = await flood(store, "loud")
    assert full.retry_after_s == pytest.approx(WINDOW_S - 50.1), "the earliest that it can be, as far as was looked"


async def test_records_of_a_former_release_are_nobodys_share(tmp_path: Path, clock: Clock) -> None:
    store = SqliteStore(
        tmp_path / "ids.db", window_s=WINDOW_S, max_bytes=MAX_BYTES, max_app_bytes=50_000, clock=file_clock(clock),
        count_in=at_once,
    )  # fmt: skip
    await store.start()
    for number in range(500):
        owner = f"0123456789abcdef-{number}"
        assert await store.reserve(key("", number), owner=owner, fingerprint=b"f" * 16, lease_s=10) is None
    await push(store, "quiet", 0)
    await store.aclose()


async def test_share_counts_what_other_processes_wrote(tmp_path: Path, clock: Clock) -> None:
    stores = [
        SqliteStore(
            tmp_path / "ids.db",
            window_s=WINDOW_S,
            max_bytes=MAX_BYTES,
            max_app_bytes=100_000,
            clock=file_clock(clock),
            count_in=at_once,
        )
        for _ in range(2)
    ]
    for store in stores:
        await store.start()
    flooded, _ = await flood(stores[0], "loud")
    with pytest.raises(StoreFull, match=SHARE):
        await push(stores[1], "loud", flooded)
    for store in stores:
        await store.aclose()


async def test_row_takes_what_it_is_charged_for(tmp_path: Path, clock: Clock) -> None:
    store = SqliteStore(tmp_path / "ids.db", window_s=WINDOW_S, max_bytes=10_000_000, clock=file_clock(clock))
    await store.start()
    for number in range(3000):
        await push(store, "a1b2c3d4", number, answer=bytes(60))
    await store.aclose()
    assert 0.7 < (tmp_path / "ids.db").stat().st_size / 3000 / (ROW_BYTES + 60) < 1.2


def test_owner_tells_whose_record_it_is() -> None:
    assert app_of("a1b2c3d4/0123456789abcdef-7") == "a1b2c3d4"
    assert app_of("0123456789abcdef-7") == ""


def test_apps_have_tags_of_their_own_that_outlive_a_process() -> None:
    def tag(app: str) -> str:
        return Keeper(
            app=app, store=MemoryStore(window_s=60, max_bytes=100_000), lease_s=1.0, sending_lease_s=1.0,
            window_s=60.0, goes_on_without_store=False, metrics=Metrics("test"),
        ).tag  # fmt: skip

    assert tag("shop") == blake2b(b"shop", digest_size=4).hexdigest()
    assert tag("shop") != tag("shop-2")


@pytest.mark.parametrize(
    ("apps", "share", "refused_at"),
    [(1, None, None), (2, None, 0.5), (2, 1.0, None), (1, 0.25, 0.25), (5, 0.25, 0.25)],
)
@pytest.mark.parametrize("name", ["memory", "sqlite"])
async def test_share_is_the_configured_one(
    tmp_path: Path, name: str, apps: int, share: float | None, refused_at: float | None
) -> None:
    config = IdempotencyConfig(store=name, sqlite_file=tmp_path / "ids.db", max_bytes=MAX_BYTES, max_app_share=share)
    store = build_store(config, None, "prefix:", apps)
    await store.start()
    written, full = await flood(store, "loud", answer=bytes(1000))
    await store.aclose()
    assert full.setting == ("idempotency.max_bytes" if refused_at is None else SHARE)
    record_bytes = 1000 + (RECORD_BYTES + 16 if name == "memory" else ROW_BYTES)
    assert 0.65 * (refused_at or 1.0) < written * record_bytes / MAX_BYTES < 1.1 * (refused_at or 1.0)
