"""Which store a configuration leads to, and what is missing for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.config import Config, ConfigError, IdempotencyConfig, PacingConfig, RedisConfig
from sidecar.stores.build import build_redis_of, build_store
from tests.support.process import ROOT

REDIS = RedisConfig(url="redis://127.0.0.1:1/0")


def config(**sections: object) -> Config:
    return Config(apps={}, redis=REDIS, **sections)


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
