"""The Redis store: what must not be at the start, what may come and go, and who shares it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from sidecar.config import ConfigError, RedisConfig
from sidecar.stores.redis import RedisStore
from sidecar.stores.redis_client import build_redis
from sidecar.stores.store import State, StoreFailure, StoreFull
from tests.support.redis_server import RedisServer, redis_server

from .conftest import PREFIX, WINDOW_S

LEASE_S = 10.0
FINGERPRINT = b"f" * 16
KEY = bytes(16)
PASSWORD = "zqpassword"


@asynccontextmanager
async def connected(server: RedisServer, **config: Any) -> AsyncIterator[tuple[RedisStore, Redis]]:
    client = build_redis(RedisConfig(**{"url": server.url, "timeout_s": 0.5, **config}))
    try:
        yield RedisStore(client, window_s=WINDOW_S, key_prefix=PREFIX), client
    finally:
        await client.aclose()


async def reserve(store: RedisStore, key: bytes = KEY, owner: str = "one") -> object:
    return await store.reserve(key, owner=owner, fingerprint=FINGERPRINT, lease_s=LEASE_S)


async def failure(store: RedisStore) -> str:
    with pytest.raises(StoreFailure) as failed:
        await reserve(store)
    return failed.value.kind


async def test_two_clients_share_what_is_there(redis: RedisServer) -> None:
    async with connected(redis) as (one, client), connected(redis) as (two, _):
        await client.flushall()
        for number in range(20):
            key = number.to_bytes(16, "big")
            found = await asyncio.gather(
                *(reserve(store, key, f"{number}-{index}") for index, store in enumerate([one, two] * 5))
            )
            assert found.count(None) == 1


async def test_keys_have_the_prefix_and_the_window(redis: RedisServer) -> None:
    async with connected(redis) as (store, client):
        await client.flushall()
        await reserve(store)
        (name,) = await client.keys("*")
        assert name == b"test:request:" + b"0" * 32
        assert WINDOW_S * 1000 - 5000 < await client.pttl(name) <= WINDOW_S * 1000
        await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)
        await client.pexpire(name, 1000)
        await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
        assert await client.pttl(name) > 1000, "each step renews the window"


async def test_reservation_that_is_asked_for_again_is_ours(redis: RedisServer) -> None:
    """Its first answer may have been lost."""
    async with connected(redis) as (store, client):
        await client.flushall()
        assert await reserve(store) is None
        assert await reserve(store) is None
        assert await reserve(store, owner="two") is not None


async def test_scripts_that_were_forgotten_are_sent_again(redis: RedisServer) -> None:
    async with connected(redis) as (store, client):
        await client.flushall()
        await reserve(store)
        await client.script_flush()
        assert await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_redis_that_may_drop_keys_refuses_to_start(tmp_path: Path, policy: str) -> None:
    with redis_server(tmp_path, "--maxmemory-policy", policy) as server:
        async with connected(server) as (store, client):
            with pytest.raises(ConfigError, match=r"^redis\.url: .*set its maxmemory-policy to noeviction"):
                await store.start()
            assert await failure(store) == "eviction_policy"
            await client.config_set("maxmemory-policy", "noeviction")
            assert await reserve(store) is None


async def test_redis_that_is_down_at_the_start_is_used_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    async with connected(server) as (store, _):
        with caplog.at_level(logging.WARNING):
            await store.start()
        assert [record.message for record in caplog.records] == [
            "redis is out of reach, and is tried again when it is needed"
        ]
        assert await failure(store) == "connection"
        server.start()
        try:
            assert await reserve(store) is None
        finally:
            server.stop()


async def test_redis_that_comes_back_is_used_again(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server) as (store, _):
            await reserve(store)
            server.stop()
            assert await failure(store) == "connection"
            server.start()
            assert await reserve(store, owner="two") is None, "it keeps nothing on disk here"


async def test_redis_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server, timeout_s=0.05) as (store, client):
            await reserve(store)
            await client.execute_command("CLIENT", "PAUSE", "300", "ALL")
            assert await failure(store) == "timeout"


async def test_full_redis_refuses_new_ids_and_frees_old_ones(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server) as (store, client):
            await reserve(store)
            await client.config_set("maxmemory", "1")
            with pytest.raises(StoreFull) as full:
                await reserve(store, key=b"\x01" * 16)
            assert (full.value.setting, full.value.retry_after_s) == ("the maxmemory of Redis", 1.0)
            with pytest.raises(StoreFailure, match="full"):
                await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)


async def test_password_is_read_again_for_a_new_connection(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    with redis_server(tmp_path, "--requirepass", PASSWORD) as server:
        async with connected(server, password_file=password) as (store, client):
            await store.start()
            assert await reserve(store) is None
            await client.config_set("requirepass", "new")
            password.write_text("new")
            await client.connection_pool.disconnect()
            assert await reserve(store, owner="two") is not None


@pytest.mark.parametrize("password", ["wrong", None])
async def test_wrong_password_refuses_to_start_and_is_not_shown(tmp_path: Path, password: str | None) -> None:
    file = tmp_path / "password"
    file.write_text(password or "x")
    given = {} if password is None else {"password_file": file}
    with redis_server(tmp_path, "--requirepass", PASSWORD) as server:
        async with connected(server, **given) as (store, client):
            with pytest.raises(ConfigError, match=r"^redis\.password_file: ") as refused:
                await store.start()
            shown = f"{refused.value} {await failure(store)} {client!r} {store!r}"
            assert PASSWORD not in shown
            assert "wrong" not in shown


async def test_user_of_the_access_list(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    users = ("--user", "push", "on", f">{PASSWORD}", "~test:*", "+@all", "--user", "default", "off")
    with redis_server(tmp_path, *users) as server:
        async with connected(server, username="push", password_file=password) as (store, _):
            await store.start()
            assert await reserve(store) is None


async def test_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(ConfigError, match=r"^redis\.ca_file: cannot be used: "):
        build_redis(RedisConfig(url="rediss://127.0.0.1:1", ca_file=tmp_path / "ca.pem"))
