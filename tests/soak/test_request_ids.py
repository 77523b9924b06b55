"""Two processes on one store that is slow and fails, before a vendor that does so, too: no push goes out twice."""

import asyncio
import gc
from collections import Counter
from random import Random
from typing import Any

import httpx
import pytest

from pushsidecar.xg.v1 import PushResponse
from sidecar.delivery.admission import Admission
from sidecar.delivery.breaker import Breaker
from sidecar.delivery.call import Call
from sidecar.delivery.claim import Keeper
from sidecar.delivery.deadline import Deadline
from sidecar.delivery.idempotency import Idempotency
from sidecar.delivery.lane import Lane
from sidecar.delivery.outgoing import Outgoing
from sidecar.delivery.pacing import Pacer
from sidecar.delivery.quota import read_quotas
from sidecar.delivery.reservation import Gates
from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.errors import PushError, Sent, VendorBusy
from sidecar.stores.memory import MemoryStore
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.stores.store import StoreFailure
from sidecar.telemetry.metrics import Metrics
from sidecar.transport.adapter import HttpxClient
from sidecar.transport.client import Limits
from sidecar.transport.reply import Reply
from tests.soak.scale import TIME_LIMIT_S, scaled, seeded
from tests.support.fake_vendor import APP, BUSY, SINGLE, Caller, ask

pytestmark = pytest.mark.timeout(TIME_LIMIT_S)

IDS = 400
AT_ONCE = 20
SHORT_S = 0.005
CONTENT = b"c" * 16
ID_HEADER, CALL_HEADER = "x-id", "x-call"


class ShakyStore(MemoryStore):
    """A shared store that takes its time, and fails before a step or after it."""

    is_immediate = False

    def __init__(self, random: Random, failing: float, *, renews: bool) -> None:
        super().__init__(window_s=3600, max_bytes=10**9)
        self._random = random
        self._failing = failing
        # Without, leases end under way, and others take the ids over.
        self._renews = renews

    async def _shake(self, step: Any, *given: Any, **rest: Any) -> Any:
        await asyncio.sleep(self._random.random() * 0.01)
        fate = self._random.random()
        if fate < self._failing:
            raise StoreFailure("timeout")
        result = await step(*given, **rest)
        if fate < 2 * self._failing:
            raise StoreFailure("timeout")
        await asyncio.sleep(self._random.choice([0, self._random.random() * 0.01]))
        return result

    async def reserve(self, *given: Any, **rest: Any) -> Any:
        return await self._shake(super().reserve, *given, **rest)

    async def begin_sending(self, *given: Any, **rest: Any) -> Any:
        return await self._shake(super().begin_sending, *given, **rest)

    async def renew(self, *given: Any, **rest: Any) -> Any:
        if not self._renews:
            raise StoreFailure("timeout")
        return await self._shake(super().renew, *given, **rest)

    async def settle(self, *given: Any, **rest: Any) -> Any:
        return await self._shake(super().settle, *given, **rest)

    async def release(self, *given: Any, **rest: Any) -> Any:
        return await self._shake(super().release, *given, **rest)


class ShakyVendor(httpx.AsyncBaseTransport):
    """A vendor that cannot be reached, is busy, or loses its answer; `acted` counts the pushes by id, and by call."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.acted: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self._random.random() * 0.01)
        if self._random.random() < 0.2:
            raise httpx.ConnectError("refused")
        writer = asyncio.create_task(ask(request))
        if self._random.random() < 0.1:  # the connection is lost while the sidecar makes itself ready to send
            await asyncio.sleep(self._random.random() * 0.01)
            if not request.stream.was_asked:  # type: ignore[attr-defined]
                writer.cancel()
                raise httpx.ReadError("lost")
        try:
            await writer
        except asyncio.CancelledError:
            writer.cancel()
            raise
        fate = self._random.random()
        if fate < 0.2:
            return httpx.Response(200, stream=httpx.ByteStream(BUSY))
        self.acted.update([request.headers[ID_HEADER], request.headers[CALL_HEADER]])
        await asyncio.sleep(self._random.random() * 0.05)
        if fate < 0.3:
            raise httpx.ReadError("lost")
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))


class Process:
    """The delivery of one sidecar."""

    def __init__(self, store: ShakyStore, vendor: ShakyVendor, lease_s: float, quotas: dict[str, str]) -> None:
        metrics = Metrics("test")
        keeper = Keeper(
            app=APP, store=store, lease_s=lease_s, sending_lease_s=1.0, window_s=3600.0,
            goes_on_without_store=False, metrics=metrics,
        )  # fmt: skip
        self.ids = Idempotency(app=APP, keeper=keeper, max_waiting=1000, retry_after_s=1.0)
        self.admission = Admission(max_in_flight=20, max_queue=200, retry_after_s=1.0)
        self.gates = Gates().of("account", read_quotas(quotas, [SINGLE]))
        self.lane = Lane(
            app=APP,
            path="/push",
            client=HttpxClient(vendor, "https://vendor.example/push", Limits(0.5, 0.5, 0.8)),
            pacer=Pacer(
                app=APP, gates=self.gates, counter=MemoryCounter(), max_waiting=100, max_pause_s=3600.0,
                overload_retry_after_s=1.0, metrics=metrics,
            ),
            admission=self.admission,
            breaker=Breaker(failure_ratio=1.0, min_calls=1_000_000, window_s=10.0, open_s=1.0),
            policy=RetryPolicy(max_attempts=3, initial_backoff_s=0.005, max_backoff_s=0.02),
            budget=RetryBudget(1.0),
            metrics=metrics,
        )  # fmt: skip

    async def push(self, call: Call, request_id: str, name: str) -> None:
        outgoing = Outgoing({ID_HEADER: request_id, CALL_HEADER: name}, b"body", SINGLE, is_repeatable_when_busy=True)
        await self.ids.once(call, request_id, CONTENT, PushResponse, lambda: self.lane.deliver(call, outgoing, read))

    async def stop(self) -> None:
        self.lane.close()
        self.ids.close()
        await self.lane.aclose()
        await self.ids.aclose()
        assert self.admission.in_flight == 0
        assert [gate.held for gate in self.gates] == [0] * len(self.gates)


def read(reply: Reply, _attempt: int) -> PushResponse:
    if reply.body == BUSY:
        raise VendorBusy("busy")
    return PushResponse(push_id="1")


class Callers:
    """Callers of both processes who have little time, hang up, and come with the same ids."""

    def __init__(self, random: Random, processes: list[Process], vendor: ShakyVendor) -> None:
        self._random = random
        self._processes = processes
        self._vendor = vendor
        self.told: Counter[str] = Counter()
        self.told_no: list[str] = []

    async def burst(self, request_id: str) -> None:
        """Make up to six calls with an id, some of which are hung up."""
        random, calls = self._random, []
        for number in range(random.randint(1, 6)):
            calls.append(asyncio.create_task(self._call(request_id, f"{request_id}/{number}")))
            if random.random() < 0.3:
                asyncio.get_running_loop().call_later(random.random() * 0.08, calls[-1].cancel)
            await asyncio.sleep(random.choice([0, random.random() * 0.03]))
        await asyncio.wait(calls)
        for made in calls:
            assert made.cancelled() or made.exception() is None, made

    async def _call(self, request_id: str, name: str) -> None:
        limit_s = self._random.choice([0.02, 0.05, 0.2, 3.0])
        call = Caller(on_commit=self._commit).call(Deadline(limit_s, 0.001))
        try:
            await self._random.choice(self._processes).push(call, request_id, name)
        except PushError as error:
            self._note(f"{error.reason} {error.sent}", error.sent, name)
        except asyncio.CancelledError:
            self._note(f"hung up {call.sent}", call.sent, name)
        else:
            self.told["replayed" if call.replayed else "OK"] += 1
            assert self._vendor.acted[request_id] == 1, "an answer to a push that was not made"

    def _note(self, told: str, sent: Sent, name: str) -> None:
        self.told[told] += 1
        if sent is Sent.NO:
            self.told_no.append(name)

    async def _commit(self) -> None:
        await asyncio.sleep(self._random.choice([0, self._random.random() * 0.01]))
        if self._random.random() < 0.05:
            raise RuntimeError("the caller has gone")


@pytest.mark.parametrize(
    ("failing", "quotas", "lease_s"),
    [(0.0, {}, 10.0), (0.05, {}, 10.0), (0.02, {SINGLE: "60/second"}, 0.06), (0.0, {}, SHORT_S)],
    ids=["slow-store", "failing-store", "failing-store-and-quota", "leases-that-end"],
)
async def test_no_id_is_pushed_twice_and_no_word_is_false(
    failing: float, quotas: dict[str, str], lease_s: float
) -> None:
    random = seeded(f"request ids {failing} {lease_s}")
    vendor, before = ShakyVendor(random), asyncio.all_tasks()
    store = ShakyStore(random, failing, renews=lease_s > SHORT_S)
    processes = [Process(store, vendor, lease_s, quotas) for _ in range(2)]
    callers = Callers(random, processes, vendor)
    names = [f"id-{number}" for number in range(scaled(IDS))]
    for start in range(0, len(names), AT_ONCE):
        await asyncio.gather(*(callers.burst(name) for name in names[start : start + AT_ONCE]))
    for process in processes:
        await process.stop()
    left = asyncio.all_tasks() - before
    gc.collect()  # thousands of tasks that were cut off, whose ends would else come anywhere

    assert {name: times for name in names if (times := vendor.acted[name]) > 1} == {}, callers.told
    assert [name for name in callers.told_no if vendor.acted[name]] == [], callers.told
    assert left <= {asyncio.current_task()}
    assert callers.told["OK"] > 0, callers.told
    assert callers.told["replayed"] > 0, callers.told
