"""A sidecar and its vendor on a loop in a thread of their own, for tests that Hypothesis calls many times over."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from hypothesis import HealthCheck, settings

from sidecar.simulator import Quota, Simulator
from tests.soak.scale import IS_FULL
from tests.support.failures import Failure, failure_of
from tests.support.running import METHOD, Running, build_config, running_sidecar

# Short, it is the same every time; full, it looks elsewhere each time, and a failure prints what repeats it.
settings.register_profile(
    "fuzz", derandomize=not IS_FULL, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)
TIMEOUT_S = 20


@dataclass
class Stage:
    """What the tests see of both."""

    loop: asyncio.AbstractEventLoop
    vendor: Simulator
    running: Running
    channel: grpc.Channel

    @property
    def received(self) -> int:
        """How many requests have reached the vendor."""
        return self.vendor.received

    def push_bytes(self, request: bytes) -> Failure | bytes:
        """Send bytes as a request to `Push`; returns the answer's bytes, or the failure."""
        call = self.channel.unary_unary(f"/{METHOD}", request_serializer=None, response_deserializer=None)
        try:
            answer: bytes = call(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return failure_of(error)
        return answer


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a sidecar with its vendor; its limits are such that nothing of one example is left for the next."""
    directory = tmp_path_factory.mktemp("fuzz")
    ready: list[Stage] = []
    started, ended = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with Simulator(quota=Quota(limit=None)) as vendor:
            app = {"read_timeout_s": 1, "quotas": {}, "retry": {"initial_backoff_s": 0.001, "max_backoff_s": 0.001}}
            config = build_config(directory, vendor, app=app, breaker={"min_calls": 1_000_000})
            async with running_sidecar(config) as running:
                with grpc.insecure_channel(running.sidecar.grpc_address, (("grpc.enable_retries", 0),)) as channel:
                    ready.append(Stage(asyncio.get_running_loop(), vendor, running, channel))
                    started.set()
                    await ended.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(30)
    assert ready, "it did not start"
    yield ready[0]
    ready[0].loop.call_soon_threadsafe(ended.set)
    thread.join()
