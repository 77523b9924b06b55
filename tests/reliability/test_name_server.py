"""Name servers that are silent, before a whole sidecar: who waits for them, and who does not.

The names are the test's own: the lookup is put in place of the system's, everything else is real.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import Sidecar
from sidecar.simulator import Simulator
from sidecar.transport.resolve import Resolver
from tests.support.failures import failure_of
from tests.support.redis_server import redis_server
from tests.support.running import android, build_config
from tests.support.waiting import until

# Far from what a call takes that waits for nothing, and from what a lookup takes that is given up.
SOON_S = 5.0
CONNECT_TIMEOUT_S = 2.0


class NameServer:
    """Says 127.0.0.1 for every name, or nothing for those that are silent."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self._is_back = threading.Event()

    def getaddrinfo(self, host: str, _port: object, **_options: object) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host in self.silent:
            self._is_back.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    def end(self) -> None:
        self._is_back.set()


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.end()


def address_of(vendor: Simulator, host: str) -> str:
    return f"https://{host}:{vendor.port}"


async def test_two_apps_whose_names_hang_delay_neither_a_third_nor_redis_nor_the_stop(
    vendor: Simulator, tmp_path: Path, names: NameServer
) -> None:
    names.silent = {"android.example", "ios.example"}
    hanging = {"connect_timeout_s": CONNECT_TIMEOUT_S, "retry": {"max_attempts": 1}}
    with redis_server(tmp_path) as redis:
        config = build_config(
            tmp_path,
            vendor,
            app={"base_url": address_of(vendor, "localhost")},
            apps={
                "first": {"base_url": address_of(vendor, "android.example"), **hanging},
                "second": {"base_url": address_of(vendor, "ios.example"), **hanging},
            },
            idempotency={"store": "redis"},
            redis={"url": f"redis://redis.example:{redis.port}/0"},
        )
        async with (
            Sidecar(config, {}, resolver=Resolver(getaddrinfo=names.getaddrinfo)) as sidecar,
            grpc.aio.insecure_channel(sidecar.grpc_address) as channel,
        ):
            push = PushServiceStub(channel).Push
            waiting = [push(android(app=name), timeout=30) for name in ("first", "second") for _ in range(10)]
            await until(lambda: {"android.example", "ios.example"} <= set(names.asked))

            started = time.monotonic()
            assert (await push(android(app="shop", request_id="one"), timeout=SOON_S)).attempts == 1
            assert (await push(android(app="shop", request_id="one"), timeout=SOON_S)).replayed
            assert time.monotonic() - started < CONNECT_TIMEOUT_S
            assert {"localhost", "redis.example"} <= set(names.asked)

            causes = set()
            for call in waiting:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                failure = failure_of(caught.value)
                causes.add((failure.reason, failure.sent, failure.message))
            assert causes == {("NOT_SENT", "no", "nothing was sent to the vendor (dns)")}
            assert names.asked.count("android.example") == names.asked.count("ios.example") == 1

            started = time.monotonic()
        assert time.monotonic() - started < SOON_S, "the lookups still hang"


async def test_vendor_is_reached_at_its_last_address_while_its_name_hangs(
    vendor: Simulator, tmp_path: Path, names: NameServer
) -> None:
    clock = [1000.0]
    resolver = Resolver(getaddrinfo=names.getaddrinfo, now=lambda: clock[0])
    # Each push needs a connection of its own, and so an address.
    app = {"base_url": address_of(vendor, "localhost"), "keepalive_idle_s": 0.001}
    async with (
        Sidecar(build_config(tmp_path, vendor, app=app), {}, resolver=resolver) as sidecar,
        grpc.aio.insecure_channel(sidecar.grpc_address) as channel,
    ):
        push = PushServiceStub(channel).Push
        assert (await push(android(), timeout=SOON_S)).attempts == 1
        names.silent = {"localhost"}
        clock[0] += 3000
        for _ in range(3):
            await asyncio.sleep(0.01)
            assert (await push(android(), timeout=SOON_S)).attempts == 1
        assert names.asked == ["localhost"] * 2
        clock[0] += 1000
        await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await push(android(), timeout=0.5)
        assert failure_of(caught.value).sent == "no"
