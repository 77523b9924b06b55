"""The vendor alone, without HTTP: from a body to its answer."""

import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.simulator import ANDROID_APP_ID, ANDROID_SECRET_KEY, IOS_APP_ID, IOS_SECRET_KEY
from sidecar.simulator.exchange import Reply, Request, parse_json
from sidecar.simulator.xg.vendor import XgVendor
from tests.support.clock import Clock

KEYS = {"android": (ANDROID_APP_ID, ANDROID_SECRET_KEY), "ios": (IOS_APP_ID, IOS_SECRET_KEY)}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vendor(clock: Clock) -> XgVendor:
    return XgVendor(clock)


@pytest.fixture
def post(vendor: XgVendor, clock: Clock) -> Callable[..., Reply]:
    """Send raw bytes or a body; the app is that of the body's platform unless it is named."""
    numbers = itertools.count(1)

    def send(
        body: Any,
        *,
        app: str = "",
        method: str = "POST",
        path: str = "/v3/push/app",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        platform = body.get("platform") if isinstance(body, dict) else "android"
        app_id, key = KEYS[app or ("ios" if platform == "ios" else "android")]
        credentials = base64.b64encode(f"{app_id}:{key}".encode()).decode()
        sent = {
            "authorization": f"Basic {credentials}",
            "content-type": "application/json",
            **(headers or {}),
        }
        return vendor.answer(Request(next(numbers), clock.now, method, path, sent, parse_json(raw)))

    return send


@pytest.fixture
def ask(post: Callable[..., Reply]) -> Callable[..., dict[str, Any]]:
    """Send a body and return the JSON of an HTTP 200 answer."""

    def send(body: Any, **rest: Any) -> dict[str, Any]:
        reply = post(body, **rest)
        assert reply.status == 200, reply.reason
        assert isinstance(reply.json, dict)
        return reply.json

    return send


@pytest.fixture
def android() -> Callable[..., dict[str, Any]]:
    """Build a valid Android notification to one token; `message` and the rest can be changed."""

    def build(message: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        return {
            "audience_type": "token",
            "token_list": ["token1"],
            "platform": "android",
            "message_type": "notify",
            "message": {"title": "t", "content": "c", **(message or {})},
            **changes,
        }

    return build


@pytest.fixture
def ios() -> Callable[..., dict[str, Any]]:
    """Build a valid iOS notification to one token; `aps` and the rest can be changed."""

    def build(aps: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        return {
            "audience_type": "token",
            "token_list": ["token1"],
            "platform": "ios",
            "environment": "product",
            "message_type": "notify",
            "message": {"title": "t", "ios": {"aps": {"alert": {}, **(aps or {})}}},
            **changes,
        }

    return build
