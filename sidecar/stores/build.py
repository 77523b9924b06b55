"""Builds what the configuration chooses: the store of request ids, the counter of quotas, and the Redis of both."""

from typing import TYPE_CHECKING

from sidecar.config import Config, ConfigError, IdempotencyConfig
from sidecar.stores.memory import MemoryStore
from sidecar.stores.quota import QuotaCounter
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.stores.store import Store
from sidecar.transport.resolve import Resolver

if TYPE_CHECKING:
    from redis.asyncio import Redis

# Of several apps, one leaves the others as much as it may have.
DEFAULT_APP_SHARE = 0.5


def build_redis_of(config: Config, resolver: Resolver | None = None) -> "Redis | None":
    """Build the connection, or return None where nothing uses it; `resolver` looks its host up.

    Raises `ConfigError` when the library is missing, or a file of it cannot be used.
    """
    users = {"idempotency.store": config.idempotency.store, "pacing.storage": config.pacing.storage}
    key = next((key for key, choice in users.items() if choice == "redis"), None)
    if key is None:
        return None
    try:
        from sidecar.stores.redis_client import build_redis  # noqa: PLC0415  # an extra
    except ImportError:
        raise ConfigError(f"{key}: redis needs a library: pip install 'push-sidecar[redis]'") from None
    return build_redis(config.redis, resolver)


async def check_counter(redis: "Redis", key_prefix: str) -> None:
    """Check that a Redis can count quotas; one that is out of reach is only warned of.

    Raises `ConfigError` for what will not heal itself.
    """
    from sidecar.stores.quota_redis import RedisCounter  # noqa: PLC0415  # an extra

    await RedisCounter(redis, key_prefix).check()


def build_store(idempotency: IdempotencyConfig, redis: "Redis | None", key_prefix: str, apps: int = 1) -> Store:
    """Build the store for a number of apps; it is made ready by its `start`."""
    if idempotency.store == "redis":
        from sidecar.stores.redis import RedisStore  # noqa: PLC0415  # an extra

        assert redis is not None  # noqa: S101  # `build_redis_of` of the same configuration
        return RedisStore(redis, window_s=idempotency.window_s, key_prefix=key_prefix)
    window_s, max_bytes = idempotency.window_s, idempotency.max_bytes
    share = idempotency.max_app_share or (1.0 if apps == 1 else DEFAULT_APP_SHARE)
    max_app_bytes = int(share * max_bytes)
    if idempotency.store == "sqlite":
        from sidecar.stores.sqlite import SqliteStore  # noqa: PLC0415  # for who uses it only

        assert idempotency.sqlite_file is not None  # noqa: S101  # config.py sees to it
        return SqliteStore(idempotency.sqlite_file, window_s=window_s, max_bytes=max_bytes, max_app_bytes=max_app_bytes)
    return MemoryStore(window_s=window_s, max_bytes=max_bytes, max_app_bytes=max_app_bytes)


def build_counter(config: Config, redis: "Redis | None") -> QuotaCounter:
    """Build the counter of quotas."""
    if config.pacing.storage == "redis":
        from sidecar.stores.quota_redis import RedisCounter  # noqa: PLC0415  # an extra

        assert redis is not None  # noqa: S101  # `build_redis_of` of the same configuration
        return RedisCounter(redis, config.redis.key_prefix)
    return MemoryCounter()
