"""Asks the counter of quotas for one app, and lets its calls go on while the counter fails.

The vendor's own refusal still protects what is not counted. A counter that has failed is asked seldom, in the
background, and by nobody who would have to wait for it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from sidecar.delivery.reservation import Hold, Question
from sidecar.stores.quota import QuotaCounter
from sidecar.stores.store import StoreFailure
from sidecar.telemetry.metrics import Metrics

LOG_INTERVAL_S = 60.0
# While the counter fails it is asked so seldom.
RETRY_INTERVAL_S = 1.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Limiter:
    """What is known of the counter from one app's questions. Times in seconds."""

    def __init__(
        self, *, app: str, counter: QuotaCounter, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._counter = counter
        self._metrics = metrics
        self._clock = clock
        self._logged_at = -LOG_INTERVAL_S
        # Whether the last answer of the counter was a failure; and what it is being asked.
        self._is_failing = False
        self._asks_again_at = 0.0
        self._asking: set[asyncio.Task[Any]] = set()

    async def look(self, hold: Hold) -> float:
        """Return how long a call has to wait for its places, 0 when they are free or the counter fails."""
        while True:
            question = Question(hold)
            rooms = await self._ask(partial(self._counter.look, question.charges), hold)
            if rooms is None:
                hold.lacks = None
                return 0.0
            wait_s, hold.lacks = question.read(rooms)
            if wait_s > 0 or not question.is_outdated(rooms):
                return wait_s

    async def take(self, hold: Hold) -> float:
        """Count a call and return 0; or, without room for it, count nothing and return the time to wait."""
        if self._is_failing:
            hold.give_back()
        else:
            hold.begin_counting()
        return await self._ask(partial(self._take, hold), hold) or 0.0

    async def aclose(self) -> None:
        """Wait for the answers that nobody waits for any more."""
        while self._asking:
            await asyncio.wait(self._asking)

    async def _take(self, hold: Hold) -> float:
        is_counted = False
        try:
            wait_s = await self._counter.take(hold.charges())
            is_counted = wait_s == 0
        finally:
            hold.end_counting(is_counted=is_counted)
        return wait_s

    async def _ask(self, ask: Callable[[], Awaitable[T]], hold: Hold) -> T | None:
        """Return the counter's answer, or None while it fails."""
        if self._is_failing:
            self._metrics.limiter_failures.labels(self._app, "skipped").inc()
            if self._clock() >= self._asks_again_at:
                self._asks_again_at = self._clock() + RETRY_INTERVAL_S
                self._begin(self._learn(partial(self._counter.look, hold.charges())))
            return None
        if not self._counter.is_remote:
            return await self._learn(ask)
        # To its end also when the call goes: what it learns is for all, and a connection that is cut off may be lost.
        return await asyncio.shield(self._begin(self._learn(ask)))

    def _begin(self, asking: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return task

    async def _learn(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Ask the counter, and remember whether it can be asked."""
        try:
            answer = await ask()
        except StoreFailure as failure:
            self._is_failing = True
            self._asks_again_at = self._clock() + RETRY_INTERVAL_S
            self._note(failure)
            return None
        self._is_failing = False
        return answer

    def _note(self, failure: StoreFailure) -> None:
        """Note that calls are not counted."""
        self._metrics.limiter_failures.labels(self._app, failure.kind).inc()
        now = self._clock()
        if now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning("quotas are not counted", extra={"app": self._app, "kind": failure.kind})
