"""A running simulator and a client that trusts it."""

import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from sidecar.simulator import ANDROID_APP_ID, ANDROID_SECRET_KEY, Simulator

Push = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


def basic(app_id: str = ANDROID_APP_ID, secret_key: str = ANDROID_SECRET_KEY) -> str:
    return "Basic " + base64.b64encode(f"{app_id}:{secret_key}".encode()).decode()


@pytest.fixture
def authorization() -> Callable[..., str]:
    return basic


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=sim.ca_file)
    async with aiohttp.ClientSession(
        base_url=sim.base_url,
        headers={"Authorization": basic()},
        connector=aiohttp.TCPConnector(ssl=context, limit=4),
        timeout=aiohttp.ClientTimeout(total=5),
    ) as session:
        yield session


@pytest.fixture
def body() -> Callable[..., dict[str, Any]]:
    """Build a valid Android push to one token, with changes."""

    def build(**changes: Any) -> dict[str, Any]:
        return {
            "audience_type": "token",
            "platform": "android",
            "message_type": "notify",
            "message": {"title": "t", "content": "c"},
            "token_list": ["token1"],
            **changes,
        }

    return build


@pytest.fixture
def push(client: aiohttp.ClientSession, body: Callable[..., dict[str, Any]]) -> Push:
    async def send(headers: dict[str, str] | None = None, **changes: Any) -> tuple[int, dict[str, Any]]:
        async with client.post("/v3/push/app", json=body(**changes), headers=headers) as answer:
            return answer.status, await answer.json()

    return send
