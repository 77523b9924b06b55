"""A rollout: SIGTERM with many calls in flight from Go, Java and Python, and a second process on the same address.

What each caller was told is held against what the vendor received, push by push.
"""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from sidecar.simulator import Quota, Simulator
from tests.interop.cases import android
from tests.interop.languages import LANGUAGES, Programs
from tests.interop.runner import Runner, Seen, running
from tests.support.process import serve_process
from tests.support.running import FREE_PORT, write_config
from tests.support.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

# Of each of the three languages: together more than 64, and all of them in flight when SIGTERM comes.
HELD = 24
BUSY = 8
AFTER = 50
# Longer than all of them need to reach the vendor.
HELD_LATENCY_S = 3
BUSY_LATENCY_S = 0.1
DEADLINE_S = 30.0


@dataclass
class Caller:
    """The pushes of one language, each to a device of its own, and what its caller was told by the device's name."""

    language: str
    runner: Runner
    told: dict[str, Seen] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    during: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    async def push_until(self, is_over: asyncio.Event) -> None:
        """Hold the first pushes, make others meanwhile and until the change-over is over, and some more after it."""
        for _ in range(HELD):
            self._start(self.held, HELD_LATENCY_S)
        for _ in range(BUSY):
            self._start(self.during, BUSY_LATENCY_S)
        while len(self.told) < len(self.held) + len(self.during) + len(self.after):
            seen = await self.runner.outcome()
            assert seen["name"] not in self.told
            self.told[seen["name"]] = seen
            if seen["name"] in self.held:
                continue
            if not is_over.is_set():
                self._start(self.during, BUSY_LATENCY_S)
            elif len(self.after) < AFTER:
                self._start(self.after, BUSY_LATENCY_S)

    def _start(self, names: list[str], latency_s: float) -> None:
        number = len(self.held) + len(self.during) + len(self.after)
        token = f"fault-latency-{latency_s}:sim-{self.language}-{number:06}"
        self.runner.start_push(token, android(token=token), timeout_s=DEADLINE_S)
        names.append(token)

    def count(self, names: list[str], received: Counter[str]) -> Counter[str]:
        """Count what the caller was told of these pushes."""
        return Counter(describe(self.told[name], received[name]) for name in names)


@pytest_asyncio.fixture(loop_scope="module")
async def vendor() -> AsyncIterator[Simulator]:
    async with Simulator(quota=Quota(limit=None)) as simulator:
        yield simulator


@pytest.mark.parametrize("listener", ["tcp", "unix"])
async def test_every_answer_of_a_rollout_is_true(
    build_programs: Callable[[str], Programs],
    vendor: Simulator,
    tmp_path: Path,
    listener: str,
    state: Callable[[str], None],
) -> None:
    programs = {language: build_programs(language) for language in LANGUAGES}
    listen = FREE_PORT if listener == "tcp" else f"unix:{tmp_path / 'push.sock'}"

    def config(listen: str) -> Path:
        return write_config(tmp_path, vendor, app={"max_in_flight": 200}, server={"listen": listen})

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serve_process(config(listen)))
        address = (await first.wait_for("serving"))["grpc"]
        callers = [
            Caller(name, await stack.enter_async_context(running(programs[name].runner, address, HELD + BUSY)))
            for name in LANGUAGES
        ]
        # A virtual machine that starts would otherwise come when the others are done.
        await asyncio.gather(*(caller.runner.push("warm up", android(token="sim-warm-up")) for caller in callers))
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as pushing:
            for caller in callers:
                pushing.create_task(caller.push_until(is_over))
            await until(lambda: held_by(vendor) == HELD * len(LANGUAGES))
            first.send_signal(signal.SIGTERM)
            await first.wait_for("stopping")
            second = await stack.enter_async_context(serve_process(config(address)))
            assert (await second.wait_for("serving"))["grpc"] == address
            assert await first.wait(timeout=30) == 0
            is_over.set()

    received = Counter(json.loads(record.raw)["token_list"][0] for record in vendor.records)
    assert received.total() == vendor.received, "the record holds all"
    assert received == Counter(target for delivery in vendor.deliveries for target in delivery.targets)
    for caller in callers:
        held, during, after = (caller.count(names, received) for names in (caller.held, caller.during, caller.after))
        state(
            f"rollout, {listener} {caller.language}: in flight at SIGTERM {stated(held)}; "
            f"beside them and through the change-over {stated(during)}; after it {stated(after)}"
        )
    for caller in callers:
        for name, seen in caller.told.items():
            check(seen, received[name])
        assert caller.count(caller.held, received) == {"OK": HELD}, "what is in flight ends with its answer"
        assert caller.count(caller.after, received) == {"OK": AFTER}, "the second serves"


def held_by(vendor: Simulator) -> int:
    """Return how many pushes the vendor has read and not yet answered, of those that take long."""
    mark = f"fault-latency-{HELD_LATENCY_S}:"
    return sum(record.is_complete and record.status is None and mark in record.text for record in vendor.records)


def check(seen: Seen, times: int) -> None:
    """Hold what a caller was told against how often the vendor received the push."""
    error = seen["error"]
    assert times <= 1, f"a second push hides behind {seen}"
    if error is None:
        assert times == 1, f"no push: {seen}"
    elif error["reason"]:
        assert error["sent"] == "maybe" or times == 0, f"it was pushed: {seen}"
    else:
        # Made by the caller's own library: it says nothing of the push, and its helper says so.
        assert error["sent"] == "maybe", seen


def describe(seen: Seen, times: int) -> str:
    """Say what a caller was told, and whether it was pushed where that does not follow."""
    error = seen["error"]
    if error is None:
        return "OK"
    if error["reason"]:
        return f"{seen['code']} {error['reason']} sent={error['sent']}"
    return f"{seen['code']} by the library ({'pushed' if times else 'not pushed'})"


def stated(counts: Counter[str]) -> str:
    """Return counts as text."""
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())
