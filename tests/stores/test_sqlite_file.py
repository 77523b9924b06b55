"""A file of request ids that is deleted or replaced while it is in use: nothing is forgotten in silence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidecar.stores.sqlite import SqliteStore
from sidecar.stores.store import State, StoreFailure
from tests.support.clock import Clock

from .conftest import WINDOW_S, file_clock

KEY = bytes(16)


def build(path: Path, clock: Clock) -> SqliteStore:
    return SqliteStore(path, window_s=WINDOW_S, max_bytes=10_000_000, clock=file_clock(clock))


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    """Give a store that has an answer under KEY."""
    store = build(tmp_path / "ids.db", clock)
    await store.start()
    await reserve(store)
    assert await store.begin_sending(KEY, owner="one", lease_s=10)
    yield store
    await store.aclose()


async def reserve(store: SqliteStore, owner: str = "one") -> object:
    return await store.reserve(KEY, owner=owner, fingerprint=b"f", lease_s=10)


def delete(directory: Path) -> None:
    for file in directory.iterdir():
        file.unlink()


def replace(directory: Path) -> None:
    delete(directory)
    for name in ("ids.db", "ids.db-wal"):
        (directory / name).touch()


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (delete, "file_gone"),
    "moved": (lambda directory: (directory / "ids.db").rename(directory / "other"), "file_gone"),
    "replaced": (replace, "file_replaced"),
    "log-deleted": (lambda directory: (directory / "ids.db-wal").unlink(), "file_gone"),
}


@pytest.mark.parametrize(("change", "kind"), CHANGES.values(), ids=CHANGES)
async def test_every_step_fails_as_one_of_a_store_that_is_away(
    tmp_path: Path, store: SqliteStore, change: Callable[[Path], None], kind: str
) -> None:
    change(tmp_path)
    before = sorted(file.name for file in tmp_path.iterdir())
    steps = [
        lambda: reserve(store, "two"),
        lambda: store.begin_sending(KEY, owner="one", lease_s=10),
        lambda: store.renew(KEY, owner="one", lease_s=10),
        lambda: store.settle(KEY, owner="one", state=State.DONE, answer=b"a"),
        lambda: store.release(KEY, owner="one"),
    ]
    for step in steps * 2:
        with pytest.raises(StoreFailure) as failure:
            await step()
        assert failure.value.kind == kind
    assert sorted(file.name for file in tmp_path.iterdir()) == before, "no new file is made in its place"


async def test_file_that_comes_back_is_used_again(tmp_path: Path, store: SqliteStore) -> None:
    (tmp_path / "ids.db").rename(tmp_path / "other")
    with pytest.raises(StoreFailure, match=r"^file_gone$"):
        await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    (tmp_path / "other").rename(tmp_path / "ids.db")
    assert await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
    record = await reserve(store, "two")
    assert record is not None


async def test_end_of_a_store_whose_file_was_replaced_leaves_the_new_file_alone(
    tmp_path: Path, clock: Clock, store: SqliteStore
) -> None:
    """SQLite deletes the log of a file that it closes last, by its name."""
    delete(tmp_path)
    other = build(tmp_path / "ids.db", clock)
    await other.start()
    assert await reserve(other, "new") is None
    await store.aclose()
    assert await other.begin_sending(KEY, owner="new", lease_s=10)
    await other.aclose()


async def test_copy_in_its_place_is_not_taken_for_it(tmp_path: Path, store: SqliteStore) -> None:
    content = (tmp_path / "ids.db").read_bytes()
    await asyncio.to_thread((tmp_path / "copy").write_bytes, content)
    (tmp_path / "copy").replace(tmp_path / "ids.db")
    with pytest.raises(StoreFailure, match=r"^file_replaced$"):
        await reserve(store, "two")
