"""Counts quotas in Redis or Valkey, for all sidecars on it: one script over the lists of all limits, by Redis' clock.

A list has an entry for each call, the oldest first: `time:total:cost`, where `total` is the sum of all costs so far. So
what a window holds is a difference of two entries, however many there are. A list ends with its window.

A clock of Redis that is set back leaves entries in the future. They are counted as made now, so nobody waits longer
than a window for them. One that is set ahead forgets entries early.
"""

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from sidecar.config import ConfigError
from sidecar.stores.quota import MICROSECONDS, Charge, Room
from sidecar.stores.redis_check import check_server, refuse_what_cannot_heal
from sidecar.stores.redis_client import drop_if_demoted
from sidecar.stores.redis_failure import read_failure
from sidecar.stores.store import StoreFailure

if TYPE_CHECKING:
    from redis.asyncio import Redis

# KEYS: a list for each charge. ARGV: 1 to count, 0 to look; then for each charge amount, window, grain and cost; times
# in microseconds. Returns for each charge the places that are left and the time until those of the charge are free.
ASK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function at(key, index)
  local entry = redis.call('LINDEX', key, index)
  if not entry then return nil end
  local counted_at, total, cost = string.match(entry, '^(%d+):(%d+):(%d+)$')
  return tonumber(counted_at), tonumber(total), tonumber(cost)
end

local function entry(total, cost)
  return string.format('%.0f:%.0f:%.0f', now, total, cost)
end

local function keep(key, window)
  redis.call('PEXPIRE', key, math.ceil(window / 1000))
end

local function settle(key, window)
  local ahead, sum = 0, 0
  while true do
    local counted_at, total, cost = at(key, -1)
    if not counted_at or counted_at <= now then break end
    redis.call('RPOP', key)
    if ahead == 0 then sum = total end
    ahead = ahead + cost
  end
  if ahead > 0 then
    redis.call('RPUSH', key, entry(sum, ahead))
    keep(key, window)
  end
  while true do
    local counted_at = at(key, 0)
    if not counted_at or counted_at + window > now then break end
    redis.call('LPOP', key)
  end
end

local function free_at(key, window, missing)
  local _, total, cost = at(key, 0)
  local wanted = total - cost + missing
  local low, high = 0, redis.call('LLEN', key) - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local _, sum = at(key, middle)
    if sum < wanted then low = middle + 1 else high = middle end
  end
  return at(key, low) + window
end

local answer, fits = {}, true
for index, key in ipairs(KEYS) do
  local amount, window = tonumber(ARGV[4 * index - 2]), tonumber(ARGV[4 * index - 1])
  local asked = tonumber(ARGV[4 * index + 1])
  settle(key, window)
  local _, first_total, first_cost = at(key, 0)
  local _, last_total = at(key, -1)
  local used = first_total and last_total - first_total + first_cost or 0
  local missing = used + asked - amount
  local wait = 0
  if missing > 0 then
    wait = free_at(key, window, missing) - now
    fits = false
  end
  answer[2 * index - 1] = math.max(0, amount - used)
  answer[2 * index] = wait
end

if ARGV[1] == '1' and fits then
  for index, key in ipairs(KEYS) do
    local window, grain = tonumber(ARGV[4 * index - 1]), tonumber(ARGV[4 * index])
    local asked = tonumber(ARGV[4 * index + 1])
    local counted_at, total, cost = at(key, -1)
    total = (total or 0) + asked
    if counted_at and grain > 0 and math.floor(counted_at / grain) == math.floor(now / grain) then
      redis.call('LSET', key, -1, entry(total, cost + asked))
    else
      redis.call('RPUSH', key, entry(total, asked))
    end
    keep(key, window)
  end
end
return answer
"""

# The two together run every command of the script above once. The first needs a key that is not there: what it runs
# is allowed or not all the same, and leaves nothing.
CHECK_NOTHING = """
redis.call('TIME')
redis.call('LINDEX', KEYS[1], 0)
redis.call('LLEN', KEYS[1])
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('LPOP', KEYS[1])
redis.call('RPOP', KEYS[1])
"""
# RPUSH stands first: the first write of a script decides whether a Redis that is full refuses it.
CHECK_ENTRY = """
redis.call('RPUSH', KEYS[1], 'check')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('LSET', KEYS[1], 0, 'check')
redis.call('LPOP', KEYS[1])
"""


class RedisCounter:
    """One script, so one round trip, for all limits of a call."""

    is_remote = True

    def __init__(self, redis: "Redis", key_prefix: str) -> None:
        self._redis = redis
        self._key_prefix = f"{key_prefix}counted:"
        self._script = redis.register_script(ASK)

    async def check(self) -> None:
        """Check that this user may run each command on the keys of the counter; leaves nothing for long.

        Raises `ConfigError` for what will not heal itself, and warns of what may.
        """
        key = f"{self._key_prefix}check-{secrets.token_hex(8)}"
        try:
            await check_server(self._redis, self._key_prefix)
            for script in (CHECK_NOTHING, CHECK_ENTRY):
                await self._run(self._redis.register_script(script), [key], [])
        except StoreFailure as failure:
            refuse_what_cannot_heal(failure)

    async def look(self, charges: Sequence[Charge]) -> Sequence[Room]:
        """Return what the limits of the charges have left."""
        return await self._ask(charges, counts=False)

    async def take(self, charges: Sequence[Charge]) -> float:
        """Count all charges and return 0; or count none and return the time until they fit."""
        return max(room.wait_s for room in await self._ask(charges, counts=True))

    async def _ask(self, charges: Sequence[Charge], *, counts: bool) -> list[Room]:
        values = [int(counts)]
        for charge in charges:
            values += [charge.limit.amount, charge.limit.window_us, charge.limit.grain_us, charge.cost]
        found = await self._run(self._script, [self._key_prefix + charge.key for charge in charges], values)
        return [Room(left, wait_us / MICROSECONDS) for left, wait_us in zip(found[::2], found[1::2], strict=True)]

    async def _run(self, script: Any, keys: Sequence[str], values: Sequence[int]) -> Any:
        try:
            return await script(keys=keys, args=values)
        except (RedisError, OSError, ConfigError) as error:
            kind = read_failure(error).kind
            await drop_if_demoted(self._redis, kind)
            raise StoreFailure(kind) from error
