"""The operators' HTTP."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sidecar.config import AdminConfig
from sidecar.server.admin import AdminServer
from sidecar.telemetry.metrics import Metrics


class Ready:
    is_ready = False


@pytest.fixture
def ready() -> Ready:
    return Ready()


@pytest.fixture
async def client(ready: Ready) -> AsyncIterator[aiohttp.ClientSession]:
    server = AdminServer(AdminConfig(listen="127.0.0.1:0"), Metrics("1.2.3"), lambda: ready.is_ready)
    await server.start()
    try:
        async with aiohttp.ClientSession(base_url=f"http://{server.address}") as session:
            yield session
    finally:
        await server.stop()


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with client.get(path) as answer:
        return answer.status, await answer.text()


async def test_alive_whether_ready_or_not(client: aiohttp.ClientSession, ready: Ready) -> None:
    assert await get(client, "/healthz") == (200, '{"status": "alive"}')
    ready.is_ready = True
    assert await get(client, "/healthz") == (200, '{"status": "alive"}')


async def test_ready_only_while_new_calls_are_welcome(client: aiohttp.ClientSession, ready: Ready) -> None:
    assert await get(client, "/readyz") == (503, '{"status": "draining"}')
    ready.is_ready = True
    assert await get(client, "/readyz") == (200, '{"status": "ready"}')


async def test_metrics_are_openmetrics(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        text = await answer.text()
    assert 'push_sidecar_build_info{version="1.2.3"} 1.0' in text
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/debug", "/_sim/requests"])
async def test_nothing_else_is_served(client: aiohttp.ClientSession, path: str) -> None:
    assert (await get(client, path))[0] == 404


async def test_nothing_can_be_changed(client: aiohttp.ClientSession) -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        async with client.post(path, data=b"x") as answer:
            assert answer.status == 405


async def test_stopping_what_was_never_started_is_no_error() -> None:
    await AdminServer(AdminConfig(), Metrics("1"), lambda: True).stop()
