"""The quotas of an app: how many calls of which classes in what time, and who counts them.

The counting is the library `limits`', with a moving window: exact, in this process or in a Redis that replicas share.
Waiting is pacing.py's.
"""

import math
import time
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter

SEPARATOR = "+"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Quota:
    """So many calls of these classes together. `name` is the classes as they are configured, such as `all+tag`."""

    name: str
    classes: frozenset[str]
    limit: RateLimitItem


class LimiterFailure(Exception):  # an outcome
    """The calls could not be counted. `kind` is a short token for logs and metrics."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def read_quotas(given: Mapping[str, str], known_classes: Collection[str]) -> list[Quota]:
    """Read quotas such as `{"all+tag": "30/hour", "single": "5 per 2 seconds"}`.

    Raises `ValueError` whose text begins with the key.
    """
    quotas: dict[frozenset[str], Quota] = {}
    for name, amount in given.items():
        quota = _read_quota(name, amount, known_classes)
        if quota.classes in quotas:
            raise ValueError(f"{name}: is given twice, in another order")
        quotas[quota.classes] = quota
    return list(quotas.values())


def _read_quota(name: str, amount: str, known_classes: Collection[str]) -> Quota:
    classes = [part.strip() for part in name.split(SEPARATOR)]
    if unknown := [part for part in classes if part not in known_classes]:
        known = ", ".join(sorted(set(known_classes)))
        raise ValueError(f"{name}: {unknown[0]!r} is no class of call: they are {known}, joined by +")
    if len(set(classes)) < len(classes):
        raise ValueError(f"{name}: names a class twice")
    try:
        limits = parse_many(amount)
    except ValueError:
        limits = []
    if len(limits) != 1 or limits[0].amount < 1 or limits[0].get_expiry() < 1:
        raise ValueError(f"{name}: must be one limit, such as 30/hour or 5 per 2 seconds")
    return Quota(SEPARATOR.join(sorted(classes)), frozenset(classes), limits[0])


class Limiter:
    """Counts calls against quotas. A `subject` is an opaque name of whose quota it is."""

    def __init__(self, redis: Any = None, key_prefix: str = "") -> None:
        """Count in this process, or in a `redis.asyncio.Redis` under keys that begin with `key_prefix`."""
        self._limiter = MovingWindowRateLimiter(MemoryStorage() if redis is None else _redis_storage(redis, key_prefix))
        # Whether a question takes time, and may be left alone by who asked it.
        self.is_remote = redis is not None

    async def wait_s(self, quota: Quota, subject: str) -> float:
        """Return the seconds until a call may be made, 0 when it may be now; counts nothing.

        Raises `LimiterFailure`.
        """
        reset_at, remaining = await self._ask(self._limiter.get_window_stats(quota.limit, subject, quota.name))
        # At its very end a window has an entry that takes no place any more.
        return 0.0 if remaining > 0 else max(math.ulp(1.0), reset_at - time.time())

    async def left(self, quota: Quota, subject: str) -> int:
        """Return how many calls may be made now; counts nothing.

        Raises `LimiterFailure`.
        """
        return (await self._ask(self._limiter.get_window_stats(quota.limit, subject, quota.name))).remaining

    async def take(self, quota: Quota, subject: str) -> float:
        """Count a call and return 0; or, when there is no place for it, count nothing and return the seconds to wait.

        Raises `LimiterFailure`.
        """
        is_taken = await self._ask(self._limiter.hit(quota.limit, subject, quota.name))
        return 0.0 if is_taken else max(math.ulp(1.0), await self.wait_s(quota, subject))

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        try:
            return await question
        except Exception as error:  # the storage's own; the library has no common type for them
            raise LimiterFailure(type(error).__name__) from error


def _redis_storage(redis: Any, key_prefix: str) -> Storage:
    from limits.aio.storage import RedisStorage  # noqa: PLC0415  # only where it is configured

    return RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=f"{key_prefix}quota",
        connection_pool=redis.connection_pool,
    )
