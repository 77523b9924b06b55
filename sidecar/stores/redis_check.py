"""Whether a Redis can ever do what it is for, asked at the start: what cannot heal itself refuses to start.

A Redis that is out of reach, full, loading or a replica for now is only warned of: it is asked again when it is needed.
"""

import logging
import secrets

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError

from sidecar.config import ConfigError
from sidecar.stores.redis_failure import read_failure
from sidecar.stores.store import StoreFailure

# What cannot heal itself, by the kind of the failure: key, and what is wrong.
_REFUSALS = {
    "auth": "redis.password_file: Redis refuses the user or the password",
    "no_permission": "redis.username: this Redis does not let the user do what is needed: SCRIPT LOAD, EVALSHA, TIME, "
    "and on keys that begin with redis.key_prefix PEXPIRE; for idempotency.store also INFO, HMGET, HSET, HDEL, DEL; "
    "for pacing.storage also LINDEX, LLEN, LSET, RPUSH, LPOP, RPOP",
    "eviction_policy": "redis.url: this Redis may drop request ids by itself: set its maxmemory-policy to noeviction",
    "no_policy": "redis.url: the INFO of this Redis names no maxmemory_policy, so it may drop request ids by itself",
    "sentinel": "redis.url: this is a Redis Sentinel, which keeps no data: give the address of a Redis",
    "cluster": "redis.url: this is a node of a Redis Cluster that has a part of the keys only (MOVED): give a Redis "
    "that has all of them",
    "database": "redis.url: this Redis has no database of that number",
    "unknown_command": "redis.url: this Redis knows no scripts (SCRIPT LOAD, EVALSHA)",
    "no_redis": "redis.url: what answers there is no Redis",
}
# A node of a cluster that has not all keys is found out by one of so many: two nodes share them by halves.
_CLUSTER_KEYS = 64
# Names a key, and does nothing to it.
_LOOK = "return KEYS[1]"

_log = logging.getLogger(__name__)


def refuse_what_cannot_heal(failure: StoreFailure) -> None:
    """Warn of a failure at the start that may be over when Redis is needed.

    Raises `ConfigError` for any other.
    """
    if isinstance(failure.__cause__, ConfigError):
        raise failure.__cause__ from None
    if (refusal := _REFUSALS.get(failure.kind)) is not None:
        raise ConfigError(refusal) from None
    if failure.kind in {"connection", "timeout"}:
        _log.warning("redis is out of reach, and is tried again when it is needed", extra={"kind": failure.kind})
    else:
        _log.warning("redis cannot be used yet, and is tried again when it is needed", extra={"kind": failure.kind})


async def check_policy(redis: Redis) -> None:
    """Check that no key is dropped by Redis itself.

    Raises `StoreFailure`.
    """
    try:
        policy = (await redis.info("memory")).get("maxmemory_policy")
        if policy is None:
            raise StoreFailure("sentinel" if await _mode(redis) == "sentinel" else "no_policy")
    except (RedisError, OSError, ConfigError) as error:
        raise read_failure(error) from error
    if policy != "noeviction":
        raise StoreFailure("eviction_policy")


async def check_server(redis: Redis, key_prefix: str) -> None:
    """Check that it is a Redis that takes scripts, and has every key that begins with the prefix.

    Raises `StoreFailure`.
    """
    try:
        mode = await _mode(redis)
        if mode == "sentinel":
            raise StoreFailure(mode)
        # A script that another has loaded would hide that this user may not.
        digest = await redis.script_load(_LOOK)
        async with redis.pipeline(transaction=False) as looks:
            for _ in range(_CLUSTER_KEYS if mode == "cluster" else 1):
                looks.evalsha(digest, 1, f"{key_prefix}check-{secrets.token_hex(8)}")
            await looks.execute()
    except (RedisError, OSError, ConfigError) as error:
        raise read_failure(error) from error


async def _mode(redis: Redis) -> str:
    try:
        return str((await redis.info("server")).get("redis_mode"))
    except NoPermissionError:
        return ""
