"""What is done right before the first byte of a push with a request id, in which order, and what cuts it short."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from pushsidecar.xg.v1 import PushResponse
from sidecar.delivery.call import Call
from sidecar.delivery.claim import Keeper
from sidecar.delivery.idempotency import Idempotency
from sidecar.delivery.quota import read_quotas
from sidecar.errors import NotSent, QuotaExceeded, Sent
from sidecar.stores.memory import MemoryStore
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.telemetry.metrics import Metrics
from tests.support.clock import Clock
from tests.support.fake_vendor import APP, BODY, Bench, Caller, Countdown, Step, answers, ask
from tests.support.raw_server import turns

CONTENT = b"c" * 16


class Store(MemoryStore):
    """A memory store that notes which steps to *sending* began and which were cut short; `go` lets them be made."""

    is_immediate = False

    def __init__(self) -> None:
        super().__init__(window_s=3600, max_bytes=1_000_000, clock=Clock())
        self.go = asyncio.Event()
        self.go.set()
        self.begun: list[str] = []
        self.made: list[bool] = []

    async def begin_sending(self, key: bytes, *, owner: str, lease_s: float) -> bool:
        self.begun.append(owner)
        await self.go.wait()
        self.made.append(await super().begin_sending(key, owner=owner, lease_s=lease_s))
        return self.made[-1]


class World:
    """A lane, and the request ids of its calls."""

    def __init__(self) -> None:
        self.store = Store()
        keeper = Keeper(
            app=APP, store=self.store, lease_s=10.0, sending_lease_s=17.0, window_s=3600.0,
            goes_on_without_store=False, metrics=Metrics("test"),
        )  # fmt: skip
        self.ids = Idempotency(app=APP, keeper=keeper, max_waiting=10, retry_after_s=1.5)

    async def push(self, bench: Bench, request_id: str, call: Call) -> PushResponse:
        """Make a push with a request id through the lane; its `push_id` is what the vendor answered."""

        async def deliver() -> PushResponse:
            return PushResponse(push_id=await bench.deliver(call))

        return await self.ids.once(call, request_id, CONTENT, PushResponse, deliver)


def loses_the_connection(world: World, then: asyncio.Event) -> Step:
    """Lose the connection while the step to *sending* is made; `then` is set after that."""

    async def step(request: httpx.Request) -> httpx.Response:
        asking = asyncio.create_task(ask(request))
        while not world.store.begun:
            await turns(1)
        asking.cancel()
        await asyncio.wait({asking})
        asyncio.get_running_loop().call_later(0, then.set)
        raise httpx.ReadError("gone")

    return step


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.store.go.set()
    world.ids.close()
    await world.ids.aclose()


async def test_call_that_lost_the_race_for_the_quota_has_not_stepped_to_sending(world: World) -> None:
    """Else it would wait for the quota as one that may have gone out, and its sidecar's death would make that so."""
    waiting: list[asyncio.Event] = []

    async def waits_before_the_body(request: httpx.Request) -> httpx.Response:
        waiting.append(go := asyncio.Event())
        await go.wait()
        return await answers()(request)

    # As two sidecars do that share a counter: one process would let the second through after the first alone.
    counter = MemoryCounter()
    quotas = read_quotas({"single": "1/hour"}, ["single"])
    benches = [Bench([waits_before_the_body], quotas=quotas, counter=counter) for _ in range(2)]
    callers = [Caller(), Caller()]
    calls = [
        asyncio.create_task(world.push(bench, f"order-{number}", caller.call(Countdown(60.0))))
        for number, (bench, caller) in enumerate(zip(benches, callers, strict=True))
    ]
    while len(waiting) < len(calls):  # both are let through: nothing is counted yet
        await turns(1)
    for go in waiting:
        go.set()
    first, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, PushResponse)
    assert isinstance(second, QuotaExceeded)
    assert (len(world.store.begun), [caller.commits for caller in callers]) == (1, [1, 0])
    assert [bench.transport.bodies for bench in benches] == [[BODY], []]


async def test_step_to_sending_that_was_begun_is_made_to_its_end_when_the_connection_is_lost(world: World) -> None:
    """A store that is cut short in a step does not know what it did, and one over a network loses its connection."""
    world.store.go.clear()

    bench, call = Bench([loses_the_connection(world, world.store.go), answers()], max_attempts=1), Caller().call()
    with pytest.raises(NotSent):
        await world.push(bench, "order-1", call)
    assert (bench.transport.bodies, world.store.made) == ([], [True])
    again = Caller().call()
    await world.push(bench, "order-1", again)
    assert not again.replayed


async def test_caller_that_leaves_when_the_connection_was_lost_at_the_last_moment_leaves_its_id_free(
    world: World,
) -> None:
    """All was ready, and nothing was sent: an id that stayed *sending* would be a *maybe* for its window."""
    lost = asyncio.Event()

    async def on_commit() -> None:
        await lost.wait()
        asyncio.get_running_loop().call_soon(pushing.cancel)

    bench, call = Bench([loses_the_connection(world, lost), answers()], max_attempts=1), Caller(on_commit).call()
    pushing = asyncio.create_task(world.push(bench, "order-1", call))
    await asyncio.wait({pushing})
    assert (pushing.cancelled(), call.sent, bench.transport.bodies) == (True, Sent.NO, [])
    await turns()
    again = Caller().call()
    await world.push(bench, "order-1", again)
    assert (again.replayed, bench.transport.bodies) == (False, [BODY])


async def test_connection_that_has_ended_as_it_is_made_costs_nothing_of_the_quota() -> None:
    async def ends_as_it_is_made(request: httpx.Request) -> httpx.Response:
        asking = asyncio.create_task(ask(request))
        await turns(1)
        asking.cancel()
        raise httpx.ReadError("gone")

    bench = Bench([ends_as_it_is_made, answers()], quotas=read_quotas({"single": "1/hour"}, ["single"]))
    assert await bench.deliver(Caller().call(Countdown(60.0))) == "200 ok x2"
