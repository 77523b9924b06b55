"""A whole sidecar in this process: its configuration from a real file, and a channel to it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from pushsidecar.xg.v1 import AndroidNotification, PushRequest, PushResponse
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import Sidecar
from sidecar.config import Config, load
from sidecar.simulator import Simulator
from tests.support.failures import Failure, failure_of

Metadata = Sequence[tuple[str, str]]
FREE_PORT = "127.0.0.1:0"
METHOD = "pushsidecar.xg.v1.PushService/Push"


def android(token: str = "sim-1", **fields: Any) -> PushRequest:  # noqa: S107  # a device
    """Build a small valid push to one Android device; `fields` of the request win."""
    if not {"all", "tag", "token_list", "account", "account_list"} & fields.keys():
        fields["token"] = token
    return PushRequest(**{"android_notification": AndroidNotification(title="title", content="content"), **fields})


def write_config(
    directory: Path, simulator: Simulator, *, app: dict[str, Any] | None = None, **sections: dict[str, Any]
) -> Path:
    """Write the file for one Android app `shop` on the simulator, ports free; `app` and `sections` are merged in.

    A section `apps` adds apps; one without an address of its own gets the simulator's.
    """
    secret = directory / "secret"
    secret.write_text(simulator.android.secret_key + "\n")
    common = {
        "platform": "android",
        "base_url": simulator.base_url,
        "ca_file": str(simulator.ca_file),
        "app_id": simulator.android.app_id,
        "secret_key_file": str(secret),
    }
    tree: dict[str, Any] = {
        # Wide (it is a tenth of the time at most): the sidecar's own answer is the first on a busy machine, too.
        "server": {"listen": FREE_PORT, "deadline_margin_s": 0.5},
        "health": {"listen": FREE_PORT},
        "admin": {"listen": FREE_PORT},
        "apps": {"shop": {**common, **(app or {})}},
    }
    for name, section in sections.items():
        tree.setdefault(name, {})
        for key, value in section.items():
            tree[name][key] = {**common, **value} if name == "apps" else value
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def build_config(directory: Path, simulator: Simulator, **changes: Any) -> Config:
    """Write the file as `write_config` does, and load it with an empty environment."""
    return load(write_config(directory, simulator, **changes), {})


@dataclass(frozen=True)
class Running:
    """A sidecar that serves, and a caller of it without retries of its own."""

    sidecar: Sidecar
    channel: grpc.aio.Channel
    stub: PushServiceStub

    async def push(
        self, request: PushRequest | None = None, *, timeout_s: float | None = 10, metadata: Metadata = ()
    ) -> PushResponse:
        """Make one push; raises `AioRpcError`."""
        response = await self.stub.Push(request or android(), timeout=timeout_s, metadata=metadata)
        assert isinstance(response, PushResponse)
        return response

    async def trailers(
        self, request: PushRequest | None = None, *, timeout_s: float = 10, metadata: Metadata = ()
    ) -> dict[str, str | bytes]:
        """Make a push, whatever becomes of it, and return what came after the answer."""
        call = self.stub.Push(request or android(), timeout=timeout_s, metadata=metadata)
        await call.code()
        return dict(list(await call.trailing_metadata() or ()))

    async def fail(
        self, request: PushRequest | None = None, *, timeout_s: float | None = 10, metadata: Metadata = ()
    ) -> Failure:
        """Make a push that must fail."""
        try:
            response = await self.push(request, timeout_s=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return failure_of(error)
        raise AssertionError(f"the push did not fail: {response}")


@asynccontextmanager
async def running_sidecar(config: Config, environment: dict[str, str] | None = None) -> AsyncIterator[Running]:
    """Serve inside the block."""
    options = (("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0))
    async with (
        Sidecar(config, environment or {}) as sidecar,
        grpc.aio.insecure_channel(sidecar.grpc_address, options) as channel,
    ):
        yield Running(sidecar, channel, PushServiceStub(channel))
