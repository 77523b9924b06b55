"""The request ids of one app: a call with an id is made at most once, and repetitions of it get its answer.

A call claims its id in the store (*reserved*), steps to *sending* right before the first byte of every attempt, and
leaves what became of it (*done*, *unknown*), or frees the id when provably nothing was sent. Who comes with the id of
a call in flight waits for it: in this process for its end, elsewhere by looking again.

How records are kept is the stores'; what a record's answer holds is outcome.py's.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from itertools import count
from typing import Any, TypeVar

from google.protobuf.message import Message

from sidecar.delivery.call import Call, Withheld
from sidecar.delivery.outcome import encode_failure, replay
from sidecar.errors import (
    CallCancelled,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    PushError,
    RequestIdReused,
    Sent,
    SidecarBug,
    StoreUnavailable,
)
from sidecar.stores.store import Record, State, Store, StoreFailure, StoreFull
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics

# How soon, and at most how late, a call that is in flight elsewhere is looked at again.
FIRST_LOOK_S = 0.01
LAST_LOOK_S = 0.25

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)

# No owner is used twice, by any process.
_process = secrets.token_hex(8)
_numbers = count()


def fingerprint(request: Message, *, without: Iterable[str]) -> bytes:
    """Return a digest of a request's content, the fields named `without` left out.

    Of content, not of bytes: the order of fields and of map entries on the wire, and unknown fields, do not count.
    """
    content = type(request)()
    content.CopyFrom(request)
    for name in without:
        content.ClearField(name)
    content.DiscardUnknownFields()
    return blake2b(content.SerializeToString(deterministic=True), digest_size=16).digest()


class ClaimLost(Withheld):
    """Another call has taken the request id over."""


class Idempotency:
    """The request ids of one app. Times in seconds; `sending_lease_s` covers a vendor call and its record."""

    def __init__(
        self,
        *,
        app: str,
        store: Store,
        lease_s: float,
        sending_lease_s: float,
        goes_on_without_store: bool,
        max_waiting: int,
        retry_after_s: float,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self.store = store
        self._lease_s = lease_s
        self.sending_lease_s = sending_lease_s
        self.goes_on_without_store = goes_on_without_store
        self._max_waiting = max_waiting
        self._retry_after_s = retry_after_s
        self._metrics = metrics
        # To look a child up by its labels costs as much as to count with it.
        self._found = cache(lambda result: metrics.request_ids.labels(app, result))
        self._claims: dict[bytes, _Claim] = {}
        self._waiting = 0
        self._stopping = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    async def once(
        self,
        call: Call,
        request_id: str,
        content: bytes,
        response_type: type[M],
        deliver: Callable[[], Awaitable[M]],
    ) -> M:
        """Return what `deliver` returns, or what became of an earlier call with this id (then `call.replayed`).

        `content` is the request's `fingerprint`. `deliver` uses `call.claim`, and has it settled when the vendor's
        answer comes after its caller has gone.

        Raises what `deliver` raises, now or earlier, and `RequestIdReused`, `StoreUnavailable`, `Overloaded`,
        `DeadlineExceeded`, `OutcomeUnknown`.
        """
        key = blake2b(f"{self._app}\0{request_id}".encode(), digest_size=16).digest()
        while True:
            if (other := self._claims.get(key)) is not None:
                record = await self._wait_for(other, call, content)
                if record is None:
                    continue
                return self._replay(call, record, response_type)
            claim = _Claim(self, key, content)
            self._claims[key] = claim
            try:
                record = await self._take(call, claim)
                if record is None:
                    return await self._deliver(call, claim, deliver)
                self.end(claim, record)
                return self._replay(call, record, response_type)
            except ClaimLost:
                self.count("lost")
            finally:
                if not claim.is_detached:
                    self.end(claim, None)

    def close(self) -> None:
        """Let nobody wait any longer for a call that another process has in flight."""
        self._stopping.set()

    async def aclose(self) -> None:
        """Wait until everything is recorded."""
        while self._background:
            await asyncio.wait(self._background)

    def end(self, claim: "_Claim", record: Record | None) -> None:
        """Give a claim up, and `record` to those who wait for it; None sends them to the store. Once is enough."""
        if not claim.ended.done():
            claim.ended.set_result(record)
            del self._claims[claim.key]

    def count(self, result: str) -> None:
        """Count a call by what was found."""
        self._found(result).inc()

    def count_failure(self, step: str, kind: str) -> None:
        """Count a step that the store did not make, or did not confirm."""
        self._metrics.store_failures.labels(step, kind).inc()
        _log.warning("request id store failed", extra={"app": self._app, "step": step, "kind": kind})

    async def _take(self, call: Call, claim: "_Claim") -> Record | None:
        """Reserve the id, waiting for who has it in flight elsewhere; returns None when it is ours, else the answer."""
        record = await self._reserve(call, claim)
        if record is None:
            self.count("new")
            return None
        self._check_content(record.fingerprint, claim.content)
        if _is_answer(record):
            return record
        look_s = FIRST_LOOK_S
        with self._one_more_waiting(call):
            while record is not None and not _is_answer(record):
                await self._pause(call, min(look_s, max(FIRST_LOOK_S, record.lease_left_s)))
                look_s = min(LAST_LOOK_S, 2 * look_s)
                record = await self._reserve(call, claim)
                if record is not None:
                    self._check_content(record.fingerprint, claim.content)
        return record

    async def _reserve(self, call: Call, claim: "_Claim") -> Record | None:
        try:
            async with asyncio.timeout(call.deadline.remaining_s()):
                return await self.store.reserve(
                    claim.key, owner=claim.owner, fingerprint=claim.content, lease_s=self._lease_s
                )
        except TimeoutError:
            self._spawn(claim.release())
            raise DeadlineExceeded("the deadline came before the request id was reserved", sent=call.sent) from None
        except asyncio.CancelledError:
            self._spawn(claim.release())
            raise
        except StoreFull as full:
            self.count("full")
            raise Overloaded(
                f"no room for another request id: {full.setting} is used up", retry_after_s=full.retry_after_s
            ) from None
        except StoreFailure as failure:
            self.count_failure("reserve", failure.kind)
            if call.sent is Sent.MAYBE:
                raise OutcomeUnknown(
                    "an earlier call with this request id was in flight when the store failed: "
                    "the push may have gone out",
                    cause="store_failed",
                ) from None
            if self.goes_on_without_store:
                self.count("unprotected")
                claim.is_kept = False
                return None
            self.count("store_failed")
            raise StoreUnavailable("the store of request ids does not answer: nothing was sent") from None

    async def _deliver(self, call: Call, claim: "_Claim", deliver: Callable[[], Awaitable[M]]) -> M:
        """Deliver, and leave what became of it, unless the vendor call goes on without its caller."""
        call.claim, call.sent = claim, Sent.NO
        try:
            response = await deliver()
        except Withheld:
            raise
        except asyncio.CancelledError:
            if call.sent is Sent.NO:
                self._spawn(claim.settle(CallCancelled(sent=Sent.NO)))
            claim.is_detached = True
            raise
        except DeadlineExceeded as error:
            claim.is_detached = error.sent is Sent.MAYBE
            if not claim.is_detached:
                await self._settle(claim, error)
            raise
        except PushError as error:
            await self._settle(claim, error)
            raise
        except Exception as error:
            await self._settle(claim, SidecarBug(type(error).__name__, sent=call.sent))
            raise
        await self._settle(claim, response)
        return response

    async def _settle(self, claim: "_Claim", outcome: Message | PushError) -> None:
        try:
            await claim.settle(outcome)
        except asyncio.CancelledError:
            claim.is_detached = True
            self._spawn(claim.settle(outcome))
            raise

    async def _wait_for(self, other: "_Claim", call: Call, content: bytes) -> Record | None:
        """Wait for the end of a call of this process; returns its record, or None when it left none."""
        self._check_content(other.content, content)
        with self._one_more_waiting(call):
            await asyncio.wait({other.ended}, timeout=max(0.0, call.deadline.remaining_s()))
            if not other.ended.done():
                raise _still_in_flight()
        return other.ended.result()

    async def _pause(self, call: Call, seconds: float) -> None:
        remaining_s = call.deadline.remaining_s()
        if remaining_s <= 0:
            raise _still_in_flight()
        try:
            async with asyncio.timeout(min(seconds, remaining_s)):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise OutcomeUnknown(
            "the sidecar is stopping while another one has a call with this request id in flight: "
            "the push may have gone out",
            cause="shutting_down",
        )

    @contextmanager
    def _one_more_waiting(self, call: Call) -> Iterator[None]:
        """Count a call that waits for another with its id: whether that one sends is not known meanwhile."""
        if self._waiting >= self._max_waiting:
            raise Overloaded(
                f"{self._waiting} calls wait for earlier ones with their request ids, as many as configured",
                retry_after_s=self._retry_after_s,
                sent=Sent.MAYBE,
            )
        self.count("waited")
        call.sent = Sent.MAYBE
        self._waiting += 1
        started_ns = time.time_ns()
        try:
            yield
        finally:
            self._waiting -= 1
            call.trace.add_wait(names.SPAN_REQUEST_ID_WAIT, started_ns)
        call.sent = Sent.NO

    def _check_content(self, theirs: bytes, ours: bytes) -> None:
        if theirs != ours:
            self.count("reused")
            raise RequestIdReused("request_id: was used for a push with other content; a new push takes a new id")

    def _replay(self, call: Call, record: Record, response_type: type[M]) -> M:
        self.count("replayed")
        call.replayed = True
        return replay(record, response_type)

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(step)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class _Claim:
    """The hold of one call on a key. `ended` tells those who wait in this process; `is_kept`: the store has it."""

    __slots__ = ("_ids", "content", "ended", "is_detached", "is_kept", "key", "owner")

    def __init__(self, ids: Idempotency, key: bytes, content: bytes) -> None:
        self._ids = ids
        self.key = key
        self.content = content
        self.owner = f"{_process}-{next(_numbers)}"
        self.ended: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()
        self.is_kept = True
        # Somebody else ends it.
        self.is_detached = False

    async def begin_sending(self) -> None:
        """Step to *sending*: the last thing before the first byte of an attempt may leave.

        Raises `ClaimLost` or `StoreUnavailable`; then nothing may be sent.
        """
        if not self.is_kept:
            return
        try:
            is_ours = await self._ids.store.begin_sending(self.key, owner=self.owner, lease_s=self._ids.sending_lease_s)
        except StoreFailure as failure:
            self._ids.count_failure("begin_sending", failure.kind)
            if self._ids.goes_on_without_store:
                self._ids.count("unprotected")
                self.is_kept = False
                return
            self._ids.count("store_failed")
            raise StoreUnavailable("the store of request ids does not answer: nothing was sent") from None
        if not is_ours:
            raise ClaimLost

    async def settle(self, outcome: Message | PushError) -> None:
        """Leave what became of the call, for those who wait and in the store, and give the id up.

        When it is cut short it has to be called again. A store that fails is counted: the record then reads as unknown
        when its lease is over, and never as free.
        """
        if isinstance(outcome, Message):
            record = Record(State.DONE, self.content, outcome.SerializeToString())
        elif outcome.sent is Sent.MAYBE:
            record = Record(State.UNKNOWN, self.content, encode_failure(outcome))
        else:
            await self.release()
            self._ids.end(self, None)
            return
        if self.is_kept:
            await self._keep(record)
        self._ids.end(self, record)

    async def release(self) -> None:
        """Free the id: provably nothing was sent."""
        if not self.is_kept:
            return
        try:
            await self._ids.store.release(self.key, owner=self.owner)
        except StoreFailure as failure:
            self._ids.count_failure("release", failure.kind)

    async def _keep(self, record: Record) -> None:
        try:
            is_kept = await self._ids.store.settle(self.key, owner=self.owner, state=record.state, answer=record.answer)
        except StoreFailure as failure:
            self._ids.count_failure("settle", failure.kind)
        else:
            if not is_kept:
                self._ids.count_failure("settle", "not_held")


def _is_answer(record: Record) -> bool:
    """Whether a record answers a repetition: it is settled, or its owner will not settle it in time."""
    is_settled = record.state in {State.DONE, State.UNKNOWN}
    return is_settled or (record.state is State.SENDING and record.lease_left_s <= 0)


def _still_in_flight() -> DeadlineExceeded:
    return DeadlineExceeded(
        "the deadline came while an earlier call with this request id was in flight: the push may have gone out",
        sent=Sent.MAYBE,
    )
