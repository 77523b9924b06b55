"""Request ids in Redis or Valkey, shared by all sidecars on it. Each step is one script over one key, by its clock.

What Redis itself may lose is lost: the last writes before the fail-over to a replica, or before a crash without
`appendfsync always`. It must never drop keys by itself: `maxmemory-policy noeviction` is checked before the first use.
"""

import secrets
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sidecar.config import ConfigError
from sidecar.stores.redis_check import check_policy, check_server, refuse_what_cannot_heal
from sidecar.stores.redis_client import drop_if_demoted
from sidecar.stores.redis_failure import read_failure
from sidecar.stores.store import Record, State, StoreFailure, StoreFull

SETTING = "the maxmemory of Redis"
# Nothing tells when Redis will have room again.
FULL_RETRY_AFTER_S = 1.0

# KEYS: the record. ARGV: owner, fingerprint, lease in ms, window in ms. Returns nothing when it is taken.
#
# A script's first write decides whether a Redis that is full lets it write: HSET is refused, PEXPIRE and those after it
# are not. So new ids are refused, and those that are there make their steps.
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', KEYS[1], 'state', 'fingerprint', 'answer', 'lease')
local state = record[1]
if state and (state ~= 'reserved' or tonumber(record[4]) > now) then
  return {state, record[2], record[3] or '', tonumber(record[4] or '0') - now}
end
redis.call('HSET', KEYS[1], 'state', 'reserved', 'owner', ARGV[1], 'fingerprint', ARGV[2], 'lease', now + ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return false
"""

# ARGV: owner, lease in ms, window in ms.
_BEGIN_SENDING = """
local record = redis.call('HMGET', KEYS[1], 'state', 'owner')
if record[2] ~= ARGV[1] or (record[1] ~= 'reserved' and record[1] ~= 'sending') then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], 'state', 'sending', 'lease', now + ARGV[2])
return 1
"""

# ARGV: owner, lease in ms, window in ms.
_RENEW = """
local record = redis.call('HMGET', KEYS[1], 'state', 'owner', 'lease')
if record[2] ~= ARGV[1] or (record[1] ~= 'reserved' and record[1] ~= 'sending') then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], 'lease', math.max(tonumber(record[3]), now + ARGV[2]))
return 1
"""

# ARGV: owner, state, answer, window in ms.
_SETTLE = """
local record = redis.call('HMGET', KEYS[1], 'state', 'owner')
if record[2] ~= ARGV[1] or record[1] ~= 'sending' then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'answer', ARGV[3])
redis.call('HDEL', KEYS[1], 'owner', 'lease')
return 1
"""

# ARGV: owner.
_RELEASE = """
local record = redis.call('HMGET', KEYS[1], 'state', 'owner')
if record[2] ~= ARGV[1] or (record[1] ~= 'reserved' and record[1] ~= 'sending') then return 0 end
return redis.call('DEL', KEYS[1])
"""

# The records of the round at the start are gone after this, in ms.
_ROUND_MS = 1000


class RedisStore:
    """A hash a record, which Redis forgets when its window is over."""

    is_immediate = False

    def __init__(self, redis: "Redis", *, window_s: float, key_prefix: str) -> None:
        self._redis = redis
        self._window_ms = round(window_s * 1000)
        self._key_prefix = f"{key_prefix}request:"
        self._is_checked = False
        self._reserve = redis.register_script(_RESERVE)
        self._begin_sending = redis.register_script(_BEGIN_SENDING)
        self._renew = redis.register_script(_RENEW)
        self._settle = redis.register_script(_SETTLE)
        self._release = redis.register_script(_RELEASE)

    async def start(self) -> None:
        """Check what will not heal itself; a Redis that is out of reach is checked when it is first used.

        Raises `ConfigError` naming the key and what is wrong.
        """
        try:
            await self._check()
            await check_server(self._redis, self._key_prefix)
            await self._make_round()
        except StoreFailure as failure:
            refuse_what_cannot_heal(failure)

    async def _make_round(self) -> None:
        """Make every step once, with records of nobody: each command and the keys must be allowed."""
        settled, released = (f"check-{secrets.token_hex(8)}".encode() for _ in range(2))
        for key in (settled, released):
            await self._run(self._reserve, key, "check", b"", _ROUND_MS, _ROUND_MS)
            await self._run(self._begin_sending, key, "check", _ROUND_MS, _ROUND_MS)
            await self._run(self._renew, key, "check", _ROUND_MS, _ROUND_MS)
        await self._run(self._settle, settled, "check", State.DONE.value, b"", _ROUND_MS)
        await self._run(self._release, released, "check")

    async def reserve(self, key: bytes, *, owner: str, fingerprint: bytes, lease_s: float) -> Record | None:
        """Take a key that is free, or whose RESERVED record's lease is over; otherwise return its record."""
        if not self._is_checked:
            await self._check()
        try:
            found = await self._run(self._reserve, key, owner, fingerprint, round(lease_s * 1000), self._window_ms)
        except StoreFailure as failure:
            if failure.kind == "full":
                raise StoreFull(SETTING, FULL_RETRY_AFTER_S) from None
            raise
        if found is None:
            return None
        state = State(found[0].decode())
        is_held = state in {State.RESERVED, State.SENDING}
        return Record(state, found[1], found[2], found[3] / 1000 if is_held else 0.0)

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Step from RESERVED or SENDING to SENDING with a new lease; false when the owner does not hold the key."""
        return bool(await self._run(self._begin_sending, key, owner, round(lease_s * 1000), self._window_ms))

    async def renew(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        """Give a RESERVED or SENDING record at least this lease; false when the owner does not hold the key."""
        return bool(await self._run(self._renew, key, owner, round(lease_s * 1000), self._window_ms))

    async def settle(self, key: bytes, *, owner: str, state: State, answer: bytes) -> bool:
        """Step from SENDING to DONE or UNKNOWN; false when the owner does not hold the key."""
        return bool(await self._run(self._settle, key, owner, state.value, answer, self._window_ms))

    async def release(self, key: bytes, *, owner: str) -> bool:
        """Forget a RESERVED or SENDING record; false when the owner does not hold the key."""
        return bool(await self._run(self._release, key, owner))

    async def aclose(self) -> None:
        """Nothing: the connection is closed by who built it."""

    async def _run(self, script: Any, key: bytes, *values: object) -> Any:
        try:
            return await script(keys=[self._key_prefix + key.hex()], args=values)
        except (RedisError, OSError, ConfigError) as error:
            kind = read_failure(error).kind
            await drop_if_demoted(self._redis, kind)
            if kind in {"read_only", "connection"}:
                # What answers next may be another one.
                self._is_checked = False
            raise StoreFailure(kind) from error

    async def _check(self) -> None:
        await check_policy(self._redis)
        self._is_checked = True
