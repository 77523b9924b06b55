"""A vendor without a network: the transport as a list of steps, one per attempt, and calls to send through a lane."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import httpx
from opentelemetry.trace import NoOpTracer

from sidecar.delivery.admission import Admission
from sidecar.delivery.breaker import Breaker
from sidecar.delivery.byte_budget import ByteBudget
from sidecar.delivery.call import Call
from sidecar.delivery.deadline import Deadline
from sidecar.delivery.lane import Lane
from sidecar.delivery.outgoing import Outgoing
from sidecar.delivery.pacing import Pacer
from sidecar.delivery.quota import Quota
from sidecar.delivery.reservation import Gates
from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.errors import QuotaExceeded, VendorBusy
from sidecar.stores.quota import QuotaCounter
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import SpanRecorder, Tracers
from sidecar.transport.adapter import HttpxClient
from sidecar.transport.client import Limits
from sidecar.transport.reply import Reply

APP = "shop"
BODY = b"body"
BUSY = b"busy"
TOO_MANY = 429
QUOTA_RETRY_AFTER_S = 7.0
SINGLE = "single"
LIMITS = Limits(connect_timeout_s=60, read_timeout_s=60, total_timeout_s=60)

# What the transport does with a request: asks for the body or not, answers or raises.
Step = Callable[[httpx.Request], Awaitable[httpx.Response]]


class FakeTransport(httpx.AsyncBaseTransport):
    """Takes one step per request, in order; `bodies` are those that were given out."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = iter(steps)
        self.requests = 0
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Take the next step."""
        self.requests += 1
        assert isinstance(request.stream, httpx.AsyncByteStream)
        request.stream = _Noted(request.stream, self.bodies)
        return await next(self._steps)(request)


class _Noted(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, bodies: list[bytes]) -> None:
        self._stream = stream
        self._bodies = bodies

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._bodies.append(chunk)
            yield chunk


async def ask(request: httpx.Request) -> None:
    """Ask for the body, as a transport does that sends it."""
    assert isinstance(request.stream, httpx.AsyncByteStream)
    async for _ in request.stream:
        pass


def answers(body: bytes = b"ok", status: int = 200) -> Step:
    """Send the body and answer."""

    async def step(request: httpx.Request) -> httpx.Response:
        await ask(request)
        return httpx.Response(status, stream=httpx.ByteStream(body))

    return step


def raises(error: BaseException, *, is_asked: bool) -> Step:
    """Raise, after the body was asked for or before."""

    async def step(request: httpx.Request) -> httpx.Response:
        if is_asked:
            await ask(request)
        raise error

    return step


def read(reply: Reply, attempt: int) -> str:
    """Read an answer as a provider does: `busy` is a vendor that could not create the task, 429 its quota."""
    if reply.body == BUSY:
        raise VendorBusy("busy")
    if reply.status == TOO_MANY:
        raise QuotaExceeded("quota", subject=f"app:{APP}", retry_after_s=QUOTA_RETRY_AFTER_S)
    return f"{reply.status} {reply.body.decode()} x{attempt}"


class Countdown(Deadline):
    """A deadline that says the given seconds in turn, the last one for ever."""

    __slots__ = ("_answers",)

    def __init__(self, *remaining_s: float) -> None:
        self._answers = list(remaining_s)

    def remaining_s(self) -> float:
        """Return the next."""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def never() -> Countdown:
    """Return a deadline that no test reaches."""
    return Countdown(1000.0)


@dataclass
class Caller:
    """Makes calls; `commits` counts the early headers that were sent."""

    on_commit: Callable[[], Awaitable[None]] | None = None
    commits: int = 0
    process_bytes: ByteBudget = field(default_factory=lambda: ByteBudget("server.max_pending_bytes", limit=1_000_000))

    def call(self, deadline: Deadline | None = None) -> Call:
        """Start a call."""
        tracers = Tracers(NoOpTracer(), NoOpTracer(), SpanRecorder())
        trace = tracers.start_call("package.Service/Method", {}, is_requested=False)
        return Call(deadline=deadline or never(), trace=trace, commit=self._commit, process_bytes=self.process_bytes)

    async def _commit(self) -> None:
        self.commits += 1
        if self.on_commit is not None:
            await self.on_commit()


@dataclass
class Bench:
    """A lane before a fake transport, and what can be seen from outside."""

    steps: Iterable[Step]
    max_in_flight: int = 4
    max_queue: int = 4
    max_attempts: int = 3
    budget_ratio: float = 0.2
    waits: list[float] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics("test"))
    on_sleep: Callable[[], Awaitable[None]] | None = None
    quotas: Sequence[Quota] = ()
    counter: QuotaCounter = field(default_factory=MemoryCounter)
    max_pause_s: float = 3600.0
    clock: Callable[[], float] = time.monotonic
    pace: Callable[[float], Awaitable[None]] = asyncio.sleep
    breaker: Breaker = field(
        default_factory=lambda: Breaker(failure_ratio=1.0, min_calls=1_000_000, window_s=10.0, open_s=5.0)
    )

    def __post_init__(self) -> None:
        self.gates = Gates().of("account", self.quotas)
        self.pacer = Pacer(
            app=APP,
            gates=self.gates,
            counter=self.counter,
            max_waiting=self.max_queue,
            max_pause_s=self.max_pause_s,
            overload_retry_after_s=1.5,
            metrics=self.metrics,
            clock=self.clock,
            sleep=self.pace,
        )
        self.transport = FakeTransport(self.steps)
        self.admission = Admission(max_in_flight=self.max_in_flight, max_queue=self.max_queue, retry_after_s=1.5)
        self.lane = Lane(
            app=APP,
            path="/push",
            client=HttpxClient(self.transport, "https://vendor.example/push", LIMITS),
            pacer=self.pacer,
            admission=self.admission,
            breaker=self.breaker,
            policy=RetryPolicy(max_attempts=self.max_attempts, initial_backoff_s=0.1, max_backoff_s=2.0),
            budget=RetryBudget(self.budget_ratio),
            metrics=self.metrics,
            sleep=self._sleep,
            random=lambda: 0.5,
            clock=self.clock,
        )

    async def deliver(self, call: Call, *, is_repeatable_when_busy: bool = False, call_class: str = SINGLE) -> str:
        """Deliver a call; returns its answer, with the attempts it took."""
        return await self.lane.deliver(call, Outgoing({}, BODY, call_class, is_repeatable_when_busy), read)

    def sample(self, name: str, **labels: str) -> float:
        """Return a metric's value, 0 when it has none."""
        return self.metrics.registry.get_sample_value(name, {"app": APP, **labels}) or 0.0

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.on_sleep is not None:
            await self.on_sleep()
