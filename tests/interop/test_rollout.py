"""A rollout: SIGTERM with many calls in flight from Go, Java and Python, and a second process on the same address.

What each caller was told is held against what the vendor received, push by push.
"""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from sidecar.simulator import Fault, Kind, Quota, Simulator
from tests.interop.cases import android
from tests.interop.languages import LANGUAGES, Programs
from tests.interop.runner import Runner, Seen, running
from tests.support.process import serve_process
from tests.support.running import FREE_PORT, write_config
from tests.support.waiting import until_metric

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

# Of each of the three languages: together at least 64.
IN_FLIGHT = 22
PUSHES = 200
# So long that all of them are in flight at once, and several rounds of them fall into the change-over.
LATENCY_S = 0.25
DEADLINE_S = 20.0


@pytest_asyncio.fixture(loop_scope="module")
async def slow_vendor() -> AsyncIterator[Simulator]:
    async with Simulator(quota=Quota(limit=None)) as simulator:
        simulator.script(Fault(kind=Kind.SLOW, latency_s=LATENCY_S, times=None))
        yield simulator


async def push_all(runner: Runner, language: str) -> list[Seen]:
    """Make a language's pushes, each to a device of its own; returns what its caller saw."""
    for number in range(PUSHES):
        token = f"sim-{language}-{number}"
        runner.start_push(token, android(token=token), timeout_s=DEADLINE_S)
    return [await runner.outcome() for _ in range(PUSHES)]


@pytest.mark.parametrize("listener", ["tcp", "unix"])
async def test_every_answer_of_a_rollout_is_true(
    build_programs: Callable[[str], Programs],
    slow_vendor: Simulator,
    tmp_path: Path,
    listener: str,
    record_property: Callable[[str, object], None],
) -> None:
    programs = {language: build_programs(language) for language in LANGUAGES}
    listen = FREE_PORT if listener == "tcp" else f"unix:{tmp_path / 'push.sock'}"

    def config(listen: str) -> Path:
        return write_config(tmp_path, slow_vendor, app={"max_in_flight": 200}, server={"listen": listen})

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serve_process(config(listen)))
        serving = await first.wait_for("serving")
        runners = [
            await stack.enter_async_context(running(programs[name].runner, serving["grpc"], IN_FLIGHT))
            for name in LANGUAGES
        ]
        # A virtual machine that starts would otherwise come when the others are done.
        await asyncio.gather(*(runner.push("warm up", android(token="sim-warm-up")) for runner in runners))
        pushing = [
            asyncio.create_task(push_all(runner, language)) for runner, language in zip(runners, LANGUAGES, strict=True)
        ]
        full = f'push_sidecar_in_flight{{app="shop"}} {float(IN_FLIGHT * len(LANGUAGES))}'
        await until_metric(serving["admin"], full, timeout_s=30)
        first.send_signal(signal.SIGTERM)
        await first.wait_for("stopping")
        second = await stack.enter_async_context(serve_process(config(serving["grpc"])))
        assert await first.wait(timeout=30) == 0
        seen = dict(zip(LANGUAGES, await asyncio.gather(*pushing), strict=True))
        assert second.pid != first.pid

    received = Counter(json.loads(record.raw)["token_list"][0] for record in slow_vendor.records)
    assert received.total() == slow_vendor.received, "the record holds all"
    for language, ends in seen.items():
        told = check(ends, received)
        record_property(f"rollout {listener} {language}", dict(told))
        print(f"rollout {listener} {language}: {dict(told)}")  # noqa: T201  # stated, as pytest shows it with -rP
        assert told["OK"] > 0.9 * PUSHES, told


def check(ends: Sequence[Seen], received: Counter[str]) -> Counter[str]:
    """Hold what the callers of a language were told against what the vendor received; returns how often what was."""
    told: Counter[str] = Counter()
    for end in ends:
        times = received[end["name"]]
        assert times <= 1, f"a second push hides behind {end}"
        error = end["error"]
        if error is None:
            assert times == 1, f"no push: {end}"
            told["OK"] += 1
        elif error["reason"]:
            assert error["sent"] == "maybe" or times == 0, f"it was pushed: {end}"
            told[f"{end['code']} {error['reason']} sent={error['sent']}"] += 1
        else:
            # Made by the caller's own library: it says nothing of the push, and its helper says so.
            assert error["sent"] == "maybe"
            told[f"{end['code']} by the library, {'pushed' if times else 'not pushed'}"] += 1
    assert told.total() == PUSHES
    return told
