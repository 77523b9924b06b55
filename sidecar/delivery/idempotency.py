"""The request ids of one app: a call with an id is made at most once, and repetitions of it get its answer.

A call claims its id in the store (*reserved*), steps to *sending* right before the first byte of every attempt, and
leaves what became of it (*done*, *unknown*), or frees the id when provably nothing was sent. Who comes with the id of
a call in flight waits for it: in this process for its end, elsewhere by looking again.

The steps of a claim are claim.py's; how records are kept is the stores'; what an answer holds is outcome.py's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TypeVar

from google.protobuf.message import Message

from sidecar.delivery.call import Call, Withheld
from sidecar.delivery.claim import ClaimLost, Keeper, RequestIdClaim
from sidecar.delivery.outcome import replay
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
from sidecar.stores.store import Record, State, StoreFailure, StoreFull
from sidecar.telemetry import names
from sidecar.tracebacks import drop_tracebacks

# How soon, and at most how late, a call that is in flight elsewhere is looked at again.
FIRST_LOOK_S = 0.01
LAST_LOOK_S = 0.25
# So long an answer waits for its record, so that one who has it can rely on it also when this process is killed.
RECORD_WAIT_S = 0.1

M = TypeVar("M", bound=Message)


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


class Idempotency:
    """The request ids of one app. Times in seconds."""

    def __init__(
        self,
        *,
        app: str,
        keeper: Keeper,
        max_waiting: int,
        retry_after_s: float,
    ) -> None:
        self._app = app
        self._keeper = keeper
        self._max_waiting = max_waiting
        self._retry_after_s = retry_after_s
        self._claims: dict[bytes, RequestIdClaim] = {}
        self._waiting = 0
        self._stopping = asyncio.Event()

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
        # Callers with names have ids of their own; without, the key is that of an earlier release.
        key = blake2b(f"{self._app}\0{request_id}".encode(), digest_size=16, key=call.caller.encode()).digest()
        while True:
            if (other := self._claims.get(key)) is not None:
                record = await self._wait_for(other, call, content)
                if record is None:
                    continue
                return self._replay(call, record, response_type)
            claim = RequestIdClaim(self._keeper, key, content, self._claims)
            try:
                record = await self._take(call, claim)
                if record is None:
                    return await self._deliver(call, claim, deliver)
                claim.end(record)
                return self._replay(call, record, response_type)
            except ClaimLost as lost:
                self._count("lost")
                drop_tracebacks(lost)
            finally:
                if not claim.is_detached:
                    claim.end(None)

    def close(self) -> None:
        """Let nobody wait any longer for a call that another process has in flight."""
        self._stopping.set()

    async def aclose(self) -> None:
        """Wait until everything is recorded."""
        await self._keeper.aclose()

    async def _take(self, call: Call, claim: RequestIdClaim) -> Record | None:
        """Reserve the id, waiting for who has it in flight elsewhere; returns None when it is ours, else the answer."""
        record = await self._reserve(call, claim)
        if record is None:
            self._count("new")
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

    async def _reserve(self, call: Call, claim: RequestIdClaim) -> Record | None:
        try:
            async with asyncio.timeout(call.deadline.remaining_s()):
                return await claim.reserve()
        except TimeoutError:
            raise DeadlineExceeded("the deadline came before the request id was reserved", sent=call.sent) from None
        except StoreFull as full:
            self._count("full")
            raise Overloaded(
                f"no room for another request id: {full.setting} is used up", retry_after_s=full.retry_after_s
            ) from None
        except StoreFailure as failure:
            self._keeper.count_failure("reserve", failure.kind)
            if call.sent is Sent.MAYBE:
                raise OutcomeUnknown(
                    "an earlier call with this request id was in flight when the store failed: "
                    "the push may have gone out",
                    cause="store_failed",
                ) from None
            if self._keeper.goes_on_without_store:
                self._count("unprotected")
                claim.is_kept = False
                drop_tracebacks(failure)
                return None
            self._count("store_failed")
            raise StoreUnavailable("the store of request ids does not answer: nothing was sent") from None

    async def _deliver(self, call: Call, claim: RequestIdClaim, deliver: Callable[[], Awaitable[M]]) -> M:
        """Deliver, and leave what became of it, unless the vendor call goes on without its caller."""
        call.claim, call.sent = claim, Sent.NO
        try:
            response = await deliver()
        except Withheld:
            raise
        except asyncio.CancelledError:
            claim.is_detached = True
            if call.sent is Sent.NO:
                claim.settle_later(CallCancelled(sent=Sent.NO))
            raise
        except DeadlineExceeded as error:
            claim.is_detached = error.sent is Sent.MAYBE
            if not claim.is_detached:
                await self._settle(call, claim, error)
            raise
        except PushError as error:
            await self._settle(call, claim, error)
            raise
        except Exception as error:
            await self._settle(call, claim, SidecarBug(type(error).__name__, sent=call.sent))
            raise
        await self._settle(call, claim, response)
        return response

    async def _settle(self, call: Call, claim: RequestIdClaim, outcome: Message | PushError) -> None:
        """Record what became of the call; of an answer, a moment is waited for that, if the deadline allows."""
        if self._keeper.store.is_immediate:
            await claim.settle(outcome)
            return
        settling = claim.settle_later(outcome)
        if isinstance(outcome, Message) or outcome.sent is Sent.MAYBE:
            await asyncio.wait({settling}, timeout=max(0.0, min(RECORD_WAIT_S, call.deadline.remaining_s())))

    async def _wait_for(self, other: RequestIdClaim, call: Call, content: bytes) -> Record | None:
        """Wait for the end of a call of this process; returns its record, or None when it left none."""
        if other.is_ours:
            self._check_content(other.content, content)
        with self._one_more_waiting(call):
            await asyncio.wait({other.ended}, timeout=max(0.0, call.deadline.remaining_s()))
            if not other.ended.done():
                raise _still_in_flight()
        record = other.ended.result()
        if record is not None:
            self._check_content(record.fingerprint, content)
        return record

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
        self._count("waited")
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
            self._count("reused")
            raise RequestIdReused("request_id: was used for a push with other content; a new push takes a new id")

    def _replay(self, call: Call, record: Record, response_type: type[M]) -> M:
        self._count("replayed")
        call.replayed = True
        return replay(record, response_type)

    def _count(self, result: str) -> None:
        self._keeper.count(result)


def _is_answer(record: Record) -> bool:
    """Whether a record answers a repetition: it is settled, or its owner will not settle it in time."""
    is_settled = record.state in {State.DONE, State.UNKNOWN}
    return is_settled or (record.state is State.SENDING and record.lease_left_s <= 0)


def _still_in_flight() -> DeadlineExceeded:
    return DeadlineExceeded(
        "the deadline came while an earlier call with this request id was in flight: the push may have gone out",
        sent=Sent.MAYBE,
    )
