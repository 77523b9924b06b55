"""Which store a configuration leads to, and what is missing for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.config import Config, ConfigError, IdempotencyConfig, PacingConfig, RedisConfig
from sidecar.stores.build import build_redis_of, build_store
from sidecar.stores.store import StoreFull
from tests.support.process import ROOT
from tests.support.redis_server import RedisServer

REDIS = RedisConfig(url="redis://127.0.0.1:1/0")


def config(**sections: object) -> Config:
    return Config(**{"apps": {}, "redis": REDIS, **sections})


@pytest.mark.parametrize(
    ("idempotency", "name"),
    [
        (IdempotencyConfig(), "MemoryStore"),
        (IdempotencyConfig(store="sqlite", sqlite_file=Path("ids.db")), "SqliteStore"),
        (IdempotencyConfig(store="redis"), "RedisStore"),
    ],
    ids=["memory", "sqlite", "redis"],
)
async def test_store_is_the_one_that_is_chosen(idempotency: IdempotencyConfig, name: str) -> None:
    store = build_store(idempotency, build_redis_of(config(idempotency=idempotency)), "prefix:")
    assert type(store).__name__ == name
    await store.aclose()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_store_has_the_configured_room_and_window(tmp_path: Path, store: str) -> None:
    chosen = IdempotencyConfig(store=store, sqlite_file=tmp_path / "ids.db", max_bytes=2**16, window_s=60, lease_s=1)
    built = build_store(chosen, None, "prefix:")
    await built.start()
    taken: list[bytes] = []

    async def take_all() -> None:
        while True:
            key = len(taken).to_bytes(16, "big")
            await built.reserve(key, owner="one", fingerprint=b"f" * 16, lease_s=1)
            taken.append(key)

    with pytest.raises(StoreFull) as full:
        await take_all()
    await built.aclose()
    assert 50 < len(taken) < 1000
    assert 50 < full.value.retry_after_s <= 60


async def test_store_in_redis_has_the_configured_window(redis: RedisServer) -> None:
    chosen = config(idempotency=IdempotencyConfig(store="redis", window_s=60), redis=RedisConfig(url=redis.url))
    client = build_redis_of(chosen)
    assert client is not None
    store = build_store(chosen.idempotency, client, "configured:")
    await store.reserve(bytes(16), owner="one", fingerprint=b"f", lease_s=1)
    assert 50_000 < await client.pttl("configured:request:" + "0" * 32) <= 60_000
    await client.aclose()


async def test_connection_is_built_for_who_uses_it_only() -> None:
    assert build_redis_of(config()) is None
    assert build_redis_of(config(pacing=PacingConfig(storage="redis"))) is not None


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"idempotency": IdempotencyConfig(store="redis")}, "idempotency.store"),
        ({"pacing": PacingConfig(storage="redis")}, "pacing.storage"),
    ],
    ids=["store", "pacing"],
)
def test_library_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, sections: dict[str, object], key: str
) -> None:
    monkeypatch.setitem(sys.modules, "sidecar.stores.redis_client", None)
    with pytest.raises(ConfigError, match=rf"^{key}: redis needs a library: pip install 'push-sidecar\[redis\]'$"):
        build_redis_of(config(**sections))


def test_default_store_loads_neither_database() -> None:
    program = (
        "import sys\n"
        "from sidecar.config import IdempotencyConfig\n"
        "from sidecar.stores.build import build_store\n"
        "build_store(IdempotencyConfig(), None, 'p')\n"
        "print(sorted({'sidecar.stores.sqlite', 'redis'} & sys.modules.keys()))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True).strip() == "[]"
