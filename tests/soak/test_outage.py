"""A vendor that is away: what it sees of the calls meanwhile, and that pushes flow again when it is back."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import aiohttp
import httpx
import pytest

from sidecar.delivery.breaker import Breaker, State
from sidecar.errors import NotSent
from sidecar.simulator import Simulator
from tests.conftest import StartSidecar
from tests.soak.load import check_promises, new_token, push, reasons_of
from tests.support.fake_vendor import APP, Bench, Caller, Step, answers, raises
from tests.support.running import Running
from tests.support.waiting import until

OUTAGE_S = 60
RATE_PER_S = 20
CALLS = OUTAGE_S * RATE_PER_S
BUDGET_RATIO, BUDGET_CAP = 0.2, 10


class World:
    """A lane before a vendor that is away from the 1st second to the 61st of a simulated clock."""

    def __init__(self, *, min_calls: int) -> None:
        self.now = 0.0
        self.breaker = Breaker(
            failure_ratio=0.5, min_calls=min_calls, window_s=10.0, open_s=5.0, clock=lambda: self.now
        )
        self.seen_in_outage = 0
        self.bench = Bench(self._steps(), budget_ratio=BUDGET_RATIO, breaker=self.breaker, max_in_flight=64)
        self.ends: list[str] = []

    def _steps(self):
        away, here = raises(httpx.ConnectError("refused"), is_asked=False), answers()

        def step(request: httpx.Request) -> Awaitable[httpx.Response]:
            if self.is_away:
                self.seen_in_outage += 1
            chosen: Step = away if self.is_away else here
            return chosen(request)

        while True:
            yield step

    @property
    def is_away(self) -> bool:
        return 1 <= self.now < 1 + OUTAGE_S

    async def run(self, seconds: int) -> None:
        """Make calls at the rate, each to its end, for so many simulated seconds."""
        for _ in range(seconds * RATE_PER_S):
            try:
                await self.bench.deliver(Caller().call())
            except NotSent as error:
                self.ends.append(error.cause)
            else:
                self.ends.append("OK")
            self.now += 1 / RATE_PER_S


async def test_without_the_breaker_retries_stay_within_the_budget() -> None:
    world = World(min_calls=1_000_000)
    await world.run(OUTAGE_S + 10)
    assert world.ends.count("connect") == pytest.approx(CALLS, abs=1)
    assert CALLS < world.seen_in_outage <= CALLS * (1 + BUDGET_RATIO) + BUDGET_CAP
    assert world.ends[-RATE_PER_S * 5 :] == ["OK"] * RATE_PER_S * 5


async def test_with_the_breaker_the_vendor_sees_a_trickle_and_pushes_flow_again() -> None:
    world = World(min_calls=20)
    await world.run(OUTAGE_S + 1)
    assert world.breaker.state is State.OPEN
    assert world.seen_in_outage < 40, f"of {CALLS} calls"
    assert world.ends.count("breaker_open") > 0.95 * CALLS
    assert world.bench.sample("push_sidecar_breaker_refusals_total") == world.ends.count("breaker_open")
    # The longest time that it stays open is 8 times its first.
    await world.run(41)
    assert world.breaker.state is State.CLOSED
    assert world.ends[-RATE_PER_S:] == ["OK"] * RATE_PER_S
    assert APP in str(world.bench.metrics.exposition())


async def test_real_outage_fails_fast_with_the_time_to_wait_and_ends(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    running = await start_sidecar(
        app={"retry": {"initial_backoff_s": 0.01, "max_backoff_s": 0.01}},
        breaker={"min_calls": 5, "open_s": 0.3},
    )
    before = [await push(running.stub, new_token()) for _ in range(5)]
    await vendor.refuse_connections()
    during = await asyncio.gather(*(push(running.stub, new_token()) for _ in range(200)))
    assert reasons_of(during) == {"NOT_SENT/no": 200}
    fast = [ending for ending in during if ending.retry_after_s is not None]
    assert len(fast) > 50
    assert all(0 < (ending.retry_after_s or 0) <= 1.0 for ending in fast)
    status = running.sidecar.metrics.registry.get_sample_value
    host = f"127.0.0.1:{vendor.port}"
    assert status("push_sidecar_breaker_state", {"app": "shop", "host": host}) in {1, 2}
    shown = (await status_page(running))["apps"]["shop"]["breaker"]
    assert (shown["host"], shown["state"]) in {(host, "open"), (host, "half_open")}
    await vendor.accept_connections()

    async def flows() -> bool:
        return (await push(running.stub, new_token())).reason == "OK"

    async with asyncio.timeout(30):
        while not await flows():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.05)
    await until(lambda: status("push_sidecar_breaker_state", {"app": "shop", "host": host}) == 0)
    after = await asyncio.gather(*(push(running.stub, new_token()) for _ in range(20)))
    assert reasons_of(after) == {"OK/yes": 20}
    check_promises([*before, *during, *after], vendor.records)


async def status_page(running: Running) -> dict[str, Any]:
    """Return what `/statusz` shows."""
    address = running.sidecar.admin_address
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/statusz") as answer:
        shown: dict[str, Any] = await answer.json()
        return shown


@pytest.mark.parametrize("token", ["fault-http-503:x", "fault-http-400:x", "fault-ret-10101:x", "fault-garbage:x"])
async def test_what_the_vendor_answers_never_opens_the_breaker(start_sidecar: StartSidecar, token: str) -> None:
    running = await start_sidecar(breaker={"min_calls": 2, "failure_ratio": 0.1})
    ends = [await push(running.stub, token) for _ in range(10)]
    assert {end.retry_after_s for end in ends} == {None}
    assert (await push(running.stub, new_token())).reason == "OK"


async def test_silence_opens_the_breaker_too(start_sidecar: StartSidecar) -> None:
    running = await start_sidecar(app={"read_timeout_s": 0.05}, breaker={"min_calls": 4, "open_s": 60})
    ends = [await push(running.stub, f"fault-hang:{number}") for number in range(4)]
    assert reasons_of(ends) == {"OUTCOME_UNKNOWN/maybe": 4}
    refused = await push(running.stub, new_token())
    assert (refused.reason, refused.sent) == ("NOT_SENT", "no")
    assert 55 < (refused.retry_after_s or 0) <= 60
