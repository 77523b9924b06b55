"""Stores that outlive a sidecar, a gate before the vendor, and callers of sidecars that are processes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from pushsidecar.xg.v1 import PushResponse
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.support.failures import Failure, failure_of
from tests.support.process import ServeProcess, serve_process
from tests.support.raw_server import RawConnection, RawServer, serving
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running import android, write_config
from tests.support.waiting import until_metric

LEASE_S = 1.0
TOTAL_TIMEOUT_S = 1.5


@dataclass(frozen=True)
class Kept:
    """A store that outlives a process: its configuration, and its Redis, if it is one."""

    sections: dict[str, Any]
    redis: RedisServer | None = None


@pytest.fixture(params=["sqlite", "redis"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    """Give each such store in turn."""
    common = {"lease_s": LEASE_S}
    if request.param == "sqlite":
        yield Kept({"idempotency": {"store": "sqlite", "sqlite_file": str(tmp_path / "ids.db"), **common}})
        return
    with redis_server(tmp_path) as server:
        yield Kept({"idempotency": {"store": "redis", **common}, "redis": {"url": server.url}}, server)


class Gate:
    """TCP before the vendor. While it is shut, a connection is taken and no byte goes through: TLS gets nowhere."""

    def __init__(self, server: RawServer, opened: asyncio.Event) -> None:
        self._server = server
        self._opened = opened
        self.url = f"https://127.0.0.1:{server.port}"

    def open(self) -> None:
        """Let everything through, what has waited too."""
        self._opened.set()

    async def reached(self) -> None:
        """Wait until somebody stands before it."""
        await self._server.wait_open(at_least=1)


@asynccontextmanager
async def gate_before(vendor: Simulator, *, only_first: bool = False) -> AsyncIterator[Gate]:
    """Put a gate before the vendor that is shut for everybody, or for the first connection alone."""
    opened = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        if connection.index == 0 or not only_first:
            await opened.wait()
        await connection.tunnel_to(vendor.port)

    async with serving(script) as server:
        yield Gate(server, opened)


@dataclass(frozen=True)
class Served:
    """A sidecar that is a process, and a caller of it without retries of its own."""

    process: ServeProcess
    stub: PushServiceStub
    admin: str

    async def push(self, token: str, request_id: str, timeout_s: float = 10) -> PushResponse:
        """Make a push."""
        return await self.stub.Push(android(token, request_id=request_id), timeout=timeout_s)

    async def fail(self, token: str, request_id: str) -> Failure:
        """Make a push that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self.push(token, request_id)
        return failure_of(error.value)

    async def counted(self, result: str) -> None:
        """Wait until it has counted one call with a request id for which this was found."""
        await until_metric(self.admin, f'push_sidecar_request_ids_total{{app="shop",result="{result}"}} 1.0')

    async def answered(self) -> None:
        """Wait until it has read one answer of the vendor."""
        series = 'http_client_request_duration_seconds_count{app="shop",http_response_status_code="200"}'
        await until_metric(self.admin, f"{series} 1.0")


@asynccontextmanager
async def served(directory: Path, vendor: Simulator, kept: Kept, **app: Any) -> AsyncIterator[Served]:
    """Run a sidecar on the store inside the block, unless it is killed before its end."""
    config = write_config(directory, vendor, app={"total_timeout_s": TOTAL_TIMEOUT_S, **app}, **kept.sections)
    async with serve_process(config) as process:
        serving_at = await process.wait_for("serving")
        async with grpc.aio.insecure_channel(serving_at["grpc"], (("grpc.enable_retries", 0),)) as channel:
            yield Served(process, PushServiceStub(channel), serving_at["admin"])


def pushes(vendor: Simulator, token: str) -> int:
    """Return how many pushes to a token the vendor acted on."""
    return sum(token in delivery.targets for delivery in vendor.deliveries)
