"""The claim of one call on its request id: its steps in the store, their repetition when the store fails, and its end.

Who may claim, who waits for whom and what is given again is idempotency.py's.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache, partial
from hashlib import blake2b
from itertools import count
from typing import Any, TypeVar

from google.protobuf.message import Message

from sidecar.delivery.call import Withheld
from sidecar.delivery.outcome import encode_failure
from sidecar.delivery.pauses import Pauses
from sidecar.errors import PushError, Sent, StoreUnavailable
from sidecar.stores.store import Record, State, Store, StoreFailure, StoreFull
from sidecar.telemetry.metrics import Metrics

# How soon, and at most how late, a last step that the store did not make is tried again.
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 2.0
# A claim is renewed so many times within its lease and its window, so that one renewal may fail.
RENEWALS = 3
# While a store is away, no more last steps than these are tried again: each that is not heals with its lease, or reads
# as unknown.
MAX_RETRYING = 1000

T = TypeVar("T")

_log = logging.getLogger(__name__)

# No owner is used twice, by any process.
_process = secrets.token_hex(8)
_numbers = count()


class ClaimLost(Withheld):
    """Another call has taken the request id over."""


class Keeper:
    """What the claims of one app share: the store, the leases, and the steps that go on when their calls have gone.

    Times in seconds; `sending_lease_s` covers a vendor call and its record, `window_s` is the store's.
    """

    def __init__(
        self,
        *,
        app: str,
        store: Store,
        lease_s: float,
        sending_lease_s: float,
        window_s: float,
        goes_on_without_store: bool,
        metrics: Metrics,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._app = app
        # By which a store knows whose its records are.
        self.tag = blake2b(app.encode(), digest_size=4).hexdigest()
        self.store = store
        self.lease_s = lease_s
        self.sending_lease_s = sending_lease_s
        # A store of this process alone has no others that a lease would be for.
        held_s = window_s if store.is_immediate else min(lease_s, window_s)
        self.renewal_s = held_s / RENEWALS
        self.goes_on_without_store = goes_on_without_store
        self._metrics = metrics
        # To look a child up by its labels costs as much as to count with it.
        self._found = cache(lambda result: metrics.request_ids.labels(app, result))
        self._pauses = Pauses(sleep)
        self._retrying = 0
        self._is_closed = False
        self._background: set[asyncio.Task[Any]] = set()

    async def aclose(self) -> None:
        """Wait until everything is recorded; what the store did not do is tried once more, and now."""
        self._is_closed = True
        self._pauses.end()
        while self._background:
            await asyncio.wait(self._background)

    def count(self, result: str) -> None:
        """Count a call by what was found."""
        self._found(result).inc()

    def count_failure(self, step: str, kind: str) -> None:
        """Count a step that the store did not make, or did not confirm."""
        self._metrics.store_failures.labels(step, kind).inc()
        _log.warning("request id store failed", extra={"app": self._app, "step": step, "kind": kind})

    def spawn(self, step: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin something that goes on when its call has gone, and that a stop waits for."""
        task = asyncio.create_task(step)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    async def step(self, step: Coroutine[Any, Any, T]) -> T:
        """Make a step of the store, to its end also when its call goes: one that is cut short may be made or not."""
        return await (step if self.store.is_immediate else asyncio.shield(self.spawn(step)))

    def try_again(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Make a step until it says that it was made, for as long as others would wait for it."""
        if self._retrying < MAX_RETRYING:
            self._retrying += 1
            self.spawn(self._try_again(step))

    async def _try_again(self, step: Callable[[], Awaitable[bool]]) -> None:
        wait_s, waited_s = FIRST_RETRY_S, 0.0
        try:
            while True:
                if not self._is_closed:
                    await self._pauses.wait(wait_s)
                is_last = self._is_closed or waited_s + wait_s >= self.sending_lease_s
                if await step() or is_last:
                    return
                waited_s += wait_s
                wait_s = min(LAST_RETRY_S, 2 * wait_s)
        finally:
            self._retrying -= 1

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        if (
            not task.cancelled()
            and (error := task.exception()) is not None
            and not isinstance(error, StoreFailure | StoreFull)
        ):
            _log.error("bug in a step of a request id", exc_info=error, extra={"app": self._app})


class RequestIdClaim:
    """The hold of one call on a key. `ended` tells those who wait in this process, with the record or None.

    `table` holds the claims of this process by their keys; a claim takes itself out at its end.
    """

    __slots__ = (
        "_is_confirmed",
        "_is_lost",
        "_is_tried",
        "_keeper",
        "_renewal",
        "_table",
        "content",
        "ended",
        "is_detached",
        "is_kept",
        "is_ours",
        "key",
        "owner",
    )

    def __init__(self, keeper: Keeper, key: bytes, content: bytes, table: "dict[bytes, RequestIdClaim]") -> None:
        self._keeper = keeper
        self._table = table
        self.key = key
        self.content = content
        self.owner = f"{keeper.tag}/{_process}-{next(_numbers)}"
        self.ended: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()
        # Whether the store said that it is ours; whether it is asked at all.
        self.is_ours = False
        self.is_kept = True
        # Somebody else ends it.
        self.is_detached = False
        # Whether the store confirmed the last step to *sending*; whether it failed to confirm the last step of all.
        self._is_confirmed = True
        self._is_tried = False
        self._is_lost = False
        self._renewal: asyncio.TimerHandle | None = None
        table[key] = self

    async def reserve(self) -> Record | None:
        """Take the id; returns None when it is ours now, else what the store has under it.

        When it is cut short, or the store fails, the id is given back. Raises `StoreFull` and `StoreFailure`.
        """
        keeper = self._keeper
        step = keeper.store.reserve(self.key, owner=self.owner, fingerprint=self.content, lease_s=keeper.lease_s)
        if keeper.store.is_immediate:
            record = await step
        else:
            reserving = keeper.spawn(step)
            try:
                record = await asyncio.shield(reserving)
            except asyncio.CancelledError:
                keeper.spawn(self._give_back(reserving))
                raise
            except StoreFailure:
                # It may have been made all the same.
                keeper.try_again(self._try_release)
                raise
        if record is None:
            self.is_ours = True
            self._renew_later()
        return record

    def check(self) -> None:
        """Raise `ClaimLost` when it is known that another has taken the id over."""
        if self._is_lost:
            raise ClaimLost

    async def begin_sending(self) -> None:
        """Step to *sending*: the last thing before the first byte of an attempt may leave.

        Raises `ClaimLost` or `StoreUnavailable`; then nothing may be sent.
        """
        if not self.is_kept:
            return
        keeper = self._keeper
        try:
            is_ours = await keeper.step(
                keeper.store.begin_sending(self.key, owner=self.owner, lease_s=keeper.sending_lease_s)
            )
        except StoreFailure as failure:
            keeper.count_failure("begin_sending", failure.kind)
            was_confirmed, self._is_confirmed = self._is_confirmed, False
            if keeper.goes_on_without_store:
                if was_confirmed:
                    keeper.count("unprotected")
                return
            keeper.count("store_failed")
            raise StoreUnavailable("the store of request ids does not answer: nothing was sent") from None
        if not is_ours:
            raise ClaimLost
        self._is_confirmed = True

    async def settle(self, outcome: Message | PushError) -> None:
        """Leave what became of the call, for those who wait and in the store, and give the id up.

        A store that fails is asked again in the background, for as long as others would read the record as in flight:
        afterwards it reads as unknown, and never as free.
        """
        await self._leave(_record(outcome, self.content))

    def settle_later(self, outcome: Message | PushError) -> "asyncio.Task[None]":
        """Settle in the background; nobody needs to wait for it but the stop, which does."""
        self.is_detached = True
        record = _record(outcome, self.content)
        if record is None:
            # Already now the id may be used for something else.
            self.is_ours = False
        return self._keeper.spawn(self._leave(record))

    async def _leave(self, record: Record | None) -> None:
        step = self._try_release if record is None else partial(self._try_keep, record)
        if record is not None:
            # Who waits here need not wait for the store.
            self.end(record)
        try:
            if self.is_kept and not await step():
                self._keeper.try_again(step)
        finally:
            self.end(record)

    def end(self, record: Record | None) -> None:
        """Give the id up, and `record` to those who wait for it; None sends them to the store. Once is enough."""
        if self._renewal is not None:
            self._renewal.cancel()
        if not self.ended.done():
            self.ended.set_result(record)
            del self._table[self.key]

    def _renew_later(self) -> None:
        self._renewal = asyncio.get_running_loop().call_later(self._keeper.renewal_s, self.renew)

    def renew(self) -> None:
        """Have the lease renewed, and go on with that: a call may wait for its turn longer than one lease."""
        self._keeper.spawn(self._renew())

    async def _renew(self) -> None:
        keeper = self._keeper
        try:
            is_ours = await keeper.store.renew(self.key, owner=self.owner, lease_s=keeper.lease_s)
        except StoreFailure as failure:
            keeper.count_failure("renew", failure.kind)
            is_ours = True
        if self.ended.done():
            return
        if is_ours:
            self._renew_later()
        else:
            self._is_lost = True

    async def _give_back(self, reserving: "asyncio.Task[Record | None]") -> None:
        await asyncio.wait({reserving})
        # Once: what the store does not do now, the lease does.
        await self._try_release()

    async def _try_release(self) -> bool:
        """Free the id; false when the store failed."""
        try:
            await self._keeper.store.release(self.key, owner=self.owner)
        except StoreFailure as failure:
            self._keeper.count_failure("release", failure.kind)
            return False
        return True

    async def _try_keep(self, record: Record) -> bool:
        """Record the outcome; false when the store failed."""
        store = self._keeper.store
        try:
            if not self._is_confirmed:
                await store.begin_sending(self.key, owner=self.owner, lease_s=self._keeper.sending_lease_s)
            is_kept = await store.settle(self.key, owner=self.owner, state=record.state, answer=record.answer)
        except StoreFailure as failure:
            self._keeper.count_failure("settle", failure.kind)
            self._is_tried = True
            return False
        # The last try may have been made all the same.
        if not is_kept and not self._is_tried:
            self._keeper.count_failure("settle", "not_held")
        return True


def _record(outcome: Message | PushError, content: bytes) -> Record | None:
    """Return what is kept of an outcome; None when nothing was sent, and the id is free again."""
    if isinstance(outcome, Message):
        return Record(State.DONE, content, outcome.SerializeToString())
    if outcome.sent is Sent.MAYBE:
        return Record(State.UNKNOWN, content, encode_failure(outcome))
    return None
