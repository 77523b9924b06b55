"""Callers who leave, by the thousand: nothing is lost of the pool, nothing stays behind, and what was said was true."""

import asyncio
import random
from collections import Counter

import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.conftest import StartSidecar
from tests.soak.load import HUNG_UP, NOT_OURS, Ending, check_promises, new_token, push, reasons_of
from tests.soak.resources import MIB, live_objects, open_files, rss_bytes
from tests.soak.scale import TIME_LIMIT_S, scaled, seeded
from tests.support.running import Running
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(TIME_LIMIT_S)

CALLERS = 30
PLACES = 10
AFTERWARDS = 20
# Longer than a vendor's answer takes at times, also on a busy machine, and shorter at others.
LONGEST_PATIENCE_S = 0.2

# What the vendor does, and how often.
VENDOR = {
    "fault-latency-0.005:": 60,
    "fault-latency-0.03:": 15,
    "sim-": 10,
    "fault-close-after-answer:": 10,
    "fault-reset-after-body:": 3,
    "fault-half-body:": 2,
}
APP = {
    "max_in_flight": PLACES,
    # Never spent: each call holds a place of it until it is counted, or gives it back.
    "quotas": {"single": "1000/second"},
    # Unused connections go soon, so that what is left at the end can be counted.
    "keepalive_idle_s": 0.3,
}

ROUNDS = 4
# What may stay behind after many calls: nothing of any call, but caches are filled and memory is fragmented.
OBJECTS = 750
RSS_BYTES = 24 * MIB
# Of these nothing at all may stay behind: what a call holds, and what its connection does.
OF_A_CALL = (
    "sidecar.delivery.attempt.Attempt", "sidecar.delivery.breaker.Permit", "sidecar.delivery.call.Call",
    "sidecar.delivery.reservation.Hold", "sidecar.transport.connect._Opening", "sidecar.transport.exchange.Exchange",
    "sidecar.transport.http1.Connection", "uvloop.loop.SSLProtocol",
)  # fmt: skip
# Of the event loop's timers some belong to gRPC, the admin pages and the simulator.
TIMERS = 20
# grpcio never gives back what it sends with, when the caller leaves just as his error is sent to him.
OBJECTS_PER_UNSENT_ERROR = 7
UNSENT_ERRORS = 0.03  # of the calls


async def churn(stub: PushServiceStub, random: random.Random, calls: int) -> list[Ending]:
    """Make calls by many callers at once, some of whom leave."""
    endings: list[Ending] = []
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            (prefix,) = random.choices(list(VENDOR), list(VENDOR.values()))
            patience_s = random.uniform(0.0005, LONGEST_PATIENCE_S)
            how = random.choice(["waits", "has a deadline", "hangs up"])
            endings.append(
                await push(
                    stub,
                    new_token(prefix),
                    timeout_s=patience_s if how == "has a deadline" else 10.0,
                    hang_up_s=patience_s if how == "hangs up" else None,
                )
            )

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return endings


def pushes(running: Running, reason: str, sent: str) -> float:
    """Return how many pushes the sidecar says it ended so."""
    labels = {"app": "shop", "provider": "xg", "audience": "token", "reason": reason, "sent": sent}
    return running.sidecar.metrics.registry.get_sample_value("push_sidecar_pushes_total", labels) or 0.0


def gauge(running: Running, name: str, **labels: str) -> float | None:
    return running.sidecar.metrics.registry.get_sample_value(name, {"app": "shop", **labels})


async def until_quiet(running: Running, tasks: set[asyncio.Task], files: int) -> None:
    """Wait until nothing is under way: no call, no connection to the vendor, no task that was not there before."""

    def is_quiet() -> bool:
        return (
            gauge(running, "push_sidecar_in_flight") == 0
            and gauge(running, "push_sidecar_queued") == 0
            and not asyncio.all_tasks() - tasks
            and open_files() <= files
        )

    try:
        await until(is_quiet, timeout_s=60)
    except TimeoutError:
        pytest.fail(
            f"left behind: in flight {gauge(running, 'push_sidecar_in_flight')}, "
            f"queued {gauge(running, 'push_sidecar_queued')}, files {open_files()} after {files}, "
            f"tasks {asyncio.all_tasks() - tasks}"
        )


async def test_callers_who_leave_leave_nothing_behind(start_sidecar: StartSidecar, vendor: Simulator) -> None:
    random = seeded("churn")
    running = await start_sidecar(app=APP)
    await running.push()
    own = asyncio.all_tasks()
    # The connection of the first push has gone when no task is left that serves it.
    await until(lambda: len(asyncio.all_tasks()) < len(own))
    tasks, files = asyncio.all_tasks(), open_files()
    vendor.reset()

    told: Counter[str] = Counter()
    for number in range(ROUNDS):
        endings = await churn(running.stub, random, scaled(5_000))
        await until_quiet(running, tasks, files)
        check_promises(endings, vendor.records)
        told += reasons_of(endings)
        del endings
        vendor.reset()
        if number == 0:  # it fills caches, and takes the memory that a load needs
            objects, rss = live_objects(), rss_bytes()

    assert told.total() == ROUNDS * scaled(5_000)
    assert not {reason.partition("/")[0] for reason in told} - {"OK", "DEADLINE", "OUTCOME_UNKNOWN", HUNG_UP, NOT_OURS}
    for sent in ("no", "maybe"):
        # Which of the two a call becomes is decided by whose clock is first, the sidecar's or the caller's library's.
        left = pushes(running, "DEADLINE", sent) + pushes(running, "CANCELLED", sent)
        assert left > 0, f"no caller left with sent={sent}: {told}"

    live = live_objects()
    grown = live - objects
    print(f"grown: {grown.total()} objects, {(rss_bytes() - rss) / MIB:.1f} MiB; {told}")  # noqa: T201  # pytest shows it when the test fails
    assert {name: live[name] for name in OF_A_CALL if live[name]} == {}
    assert grown["uvloop.loop.TimerHandle"] < TIMERS
    assert gauge(running, "http_client_open_connections", http_connection_state="active") == 0
    assert gauge(running, "http_client_open_connections", http_connection_state="idle") == 0
    unsent = grown["grpc._cython.cygrpc.CallbackWrapper"]
    assert grown.total() < OBJECTS + OBJECTS_PER_UNSENT_ERROR * unsent, grown.most_common(10)
    assert unsent < UNSENT_ERRORS * told.total()
    assert rss_bytes() - rss < RSS_BYTES

    afterwards = await asyncio.gather(*(push(running.stub, new_token()) for _ in range(AFTERWARDS)))
    assert reasons_of(afterwards) == {"OK/yes": AFTERWARDS}
    check_promises(afterwards, vendor.records)


async def test_callers_who_leave_and_come_back_with_their_id_push_once(
    start_sidecar: StartSidecar, vendor: Simulator
) -> None:
    random = seeded("churn-with-ids")
    running = await start_sidecar(app=APP)
    answers: list[Ending] = []
    left = iter(range(scaled(5_000)))

    async def caller() -> None:
        for number in left:
            (prefix,) = random.choices(list(VENDOR), list(VENDOR.values()))
            token = new_token(prefix)
            for _ in range(random.choice([0, 1, 1, 2])):
                patience_s = random.uniform(0.0005, LONGEST_PATIENCE_S)
                timeout_s, hang_up_s = random.choice([(patience_s, None), (10.0, patience_s)])
                await push(running.stub, token, timeout_s=timeout_s, hang_up_s=hang_up_s, request_id=f"id-{number}")
            answers.append(await push(running.stub, token, request_id=f"id-{number}"))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    assert {ending.reason for ending in answers} <= {"OK", "OUTCOME_UNKNOWN"}, reasons_of(answers)
    assert sum(ending.reason == "OK" for ending in answers) > 0.8 * len(answers), reasons_of(answers)
    check_promises(answers, vendor.records)
    await until(lambda: gauge(running, "push_sidecar_in_flight") == 0)
