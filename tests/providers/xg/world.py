"""A provider before a vendor that is a function: requests are kept, replies are scripted, no byte leaves."""

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from opentelemetry.trace import INVALID_SPAN, NoOpTracer

from sidecar.config import Secret
from sidecar.delivery.admission import Admission
from sidecar.delivery.breaker import Breaker
from sidecar.delivery.byte_budget import ByteBudget
from sidecar.delivery.call import Call
from sidecar.delivery.claim import Keeper
from sidecar.delivery.deadline import Deadline
from sidecar.delivery.idempotency import Idempotency
from sidecar.delivery.lane import Lane
from sidecar.delivery.pacing import Pacer
from sidecar.delivery.retry import RetryBudget, RetryPolicy
from sidecar.providers.xg.codes import CodeClass
from sidecar.providers.xg.credentials import Credentials
from sidecar.providers.xg.service import App, XgProvider
from sidecar.stores.memory import MemoryStore
from sidecar.stores.quota_memory import MemoryCounter
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tracing import CallTrace
from sidecar.transport.adapter import HttpxClient
from sidecar.transport.client import Limits

ACCEPTED = b'{"ret_code": 0, "push_id": "5"}'


@dataclass
class FakeVendor(httpx.AsyncBaseTransport):
    """Answers with `replies` in turn, (status, body) each, and then with ACCEPTED."""

    replies: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        self.bodies.append(b"".join([chunk async for chunk in request.stream]))
        self.requests.append(request)
        status, body = self.replies.pop(0) if self.replies else (200, ACCEPTED)
        return httpx.Response(status, content=body)


def new_call() -> Call:
    async def commit() -> None:
        pass

    return Call(
        deadline=Deadline(5.0, 0.05),
        trace=CallTrace(NoOpTracer(), INVALID_SPAN),
        commit=commit,
        process_bytes=ByteBudget("server.max_pending_bytes", limit=10_000_000),
    )


@dataclass
class World:
    """A provider, the vendor of each of its apps, and the waits between attempts."""

    provider: XgProvider
    vendors: dict[str, FakeVendor]
    waits: list[float]

    @property
    def calls(self) -> dict[str, int]:
        """How many vendor calls each app made, those with none left out."""
        return {name: len(vendor.bodies) for name, vendor in self.vendors.items() if vendor.bodies}


Build = Callable[..., World]


def build_world(
    *,
    default_environment: str = "product",
    code_classes: dict[int, CodeClass] | None = None,
    **platforms: str,
) -> World:
    """Build a world of apps, `name=platform` each."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    metrics = Metrics("0")
    vendors = {name: FakeVendor() for name in platforms}
    store = MemoryStore(window_s=3600.0, max_bytes=1_000_000)

    def lane(name: str) -> Lane:
        return Lane(
            app=name,
            path="/v3/push/app",
            client=HttpxClient(vendors[name], f"https://{name}.test/v3/push/app", Limits(1, 1, 2)),
            pacer=Pacer(
                app=name,
                gates=(),
                counter=MemoryCounter(),
                max_waiting=0,
                max_pause_s=3600.0,
                overload_retry_after_s=1.0,
                metrics=metrics,
            ),
            admission=Admission(max_in_flight=2, max_queue=0, retry_after_s=1.0),
            breaker=Breaker(failure_ratio=1.0, min_calls=1_000_000, window_s=10.0, open_s=5.0),
            policy=RetryPolicy(max_attempts=3, initial_backoff_s=0.1, max_backoff_s=1.0),
            budget=RetryBudget(1.0),
            metrics=metrics,
            sleep=sleep,
            random=lambda: 0.5,
        )

    def request_ids(name: str) -> Idempotency:
        keeper = Keeper(
            app=name,
            store=store,
            lease_s=10.0,
            sending_lease_s=4.0,
            window_s=3600.0,
            goes_on_without_store=False,
            metrics=metrics,
        )
        return Idempotency(app=name, keeper=keeper, max_waiting=10, retry_after_s=1.0)

    apps = {
        name: App(
            name=name,
            platform=platform,
            default_environment=default_environment,
            credentials=Credentials(name, Secret("key"), {}),
            secrets=(),
            code_classes=code_classes or {},
            quota_retry_after_s=60.0,
            lane=lane(name),
            request_ids=request_ids(name),
            pending_bytes=ByteBudget(f"apps.{name}.max_pending_bytes", limit=10_000_000),
        )
        for name, platform in platforms.items()
    }
    return World(XgProvider(apps), vendors, waits)
