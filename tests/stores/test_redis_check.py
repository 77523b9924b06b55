"""A Redis that can never keep request ids refuses to start and says why; one that only cannot now does not."""

import asyncio
import contextlib
import logging
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from sidecar.config import Config, ConfigError, IdempotencyConfig, PacingConfig, RedisConfig
from sidecar.delivery.build import Delivery
from sidecar.stores import quota_redis
from sidecar.stores.quota import Charge, Limit
from sidecar.stores.quota_redis import RedisCounter
from sidecar.stores.redis import RedisStore
from sidecar.stores.redis_client import build_redis
from sidecar.telemetry.metrics import Metrics
from tests.support.redis_server import RedisServer, free_port, redis_server
from tests.support.toolchains import find_tool
from tests.support.waiting import until

PREFIX = "test:"
PASSWORD = "zqpassword"


@asynccontextmanager
async def store_of(**config: Any) -> AsyncIterator[tuple[RedisStore, Redis]]:
    client = build_redis(RedisConfig(**{"timeout_s": 5.0, **config}))
    try:
        yield RedisStore(client, window_s=3600.0, key_prefix=PREFIX), client
    finally:
        await client.aclose()


async def refusal(**config: Any) -> str:
    async with store_of(**config) as (store, _):
        with pytest.raises(ConfigError) as refused:
            await store.start()
    return str(refused.value)


async def test_round_at_the_start_leaves_nothing_for_long(redis: RedisServer) -> None:
    async with store_of(url=redis.url) as (store, client):
        await client.flushall()
        await store.start()
        left = await client.keys("*")
        assert len(left) <= 1
        assert [name for name in left if await client.pttl(name) > 1000] == []


async def test_database_that_is_not_there_refuses_to_start(redis: RedisServer) -> None:
    url = redis.url.removesuffix("/0") + "/99"
    assert await refusal(url=url) == "redis.url: this Redis has no database of that number"


@contextmanager
def with_user(directory: Path, *rules: str) -> Iterator[dict[str, Any]]:
    """Run a Redis with one user; gives the configuration for it."""
    password = directory / "password"
    password.write_text(PASSWORD)
    users = ("--user", "push", "on", f">{PASSWORD}", *rules, "--user", "default", "off")
    with redis_server(directory, *users) as server:
        yield {"url": server.url, "username": "push", "password_file": password}


@pytest.mark.parametrize(
    "rules",
    [
        ("~test:*", "+@all", "-info"), ("~test:*", "+@all", "-@scripting"), ("~test:*", "+@all", "-script|load"),
        ("~other:*", "+@all"), ("%R~test:*", "+@all"), ("~test:*", "+@all", "-time"), ("~test:*", "+@all", "-hset"),
        ("~test:*", "+@all", "-hdel"), ("~test:*", "+@all", "-pexpire"), ("~test:*", "+@all", "-del"),
        ("~test:*", "+@all", "-hmget"),
    ],
    ids=" ".join,
)  # fmt: skip
async def test_user_that_may_not_do_what_is_needed_refuses_to_start(tmp_path: Path, rules: tuple[str, ...]) -> None:
    with with_user(tmp_path, *rules) as config:
        said = await refusal(**config)
    assert said.startswith("redis.username: this Redis does not let the user do what is needed: ")
    assert PASSWORD not in said


async def test_user_that_may_do_what_the_refusal_names_and_no_more_is_enough(tmp_path: Path) -> None:
    needed = ("+info", "+script|load", "+evalsha", "+hmget", "+hset", "+hdel", "+pexpire", "+del", "+time")
    with with_user(tmp_path, "~test:*", "-@all", *needed) as config:
        async with store_of(**config) as (store, _):
            await store.start()
            assert await store.reserve(bytes(16), owner="one", fingerprint=b"f", lease_s=10.0) is None


async def start(stores: tuple[str, ...], **redis: Any) -> None:
    """Start what uses Redis: `stores` are `request ids`, `quotas` or both."""
    config = Config(
        apps={},
        idempotency=IdempotencyConfig(store="redis" if "request ids" in stores else "memory"),
        pacing=PacingConfig(storage="redis" if "quotas" in stores else "memory"),
        redis=RedisConfig(**{"timeout_s": 5.0, "key_prefix": PREFIX, **redis}),
    )
    delivery = Delivery(config, Metrics("test"))
    try:
        await delivery.start()
    finally:
        await delivery.aclose()


@pytest.mark.parametrize("stores", [("quotas",), ("request ids", "quotas")], ids=" and ".join)
@pytest.mark.parametrize(
    "rules",
    [
        ("~test:*", "+@all", "-@list"), ("~test:*", "+@all", "-lindex"), ("~test:*", "+@all", "-llen"),
        ("~test:*", "+@all", "-lset"), ("~test:*", "+@all", "-rpush"), ("~test:*", "+@all", "-lpop"),
        ("~test:*", "+@all", "-rpop"), ("~test:*", "+@all", "-pexpire"), ("~test:*", "+@all", "-time"),
        ("~test:request:*", "~test:quota*", "+@all"), ("%R~test:counted:*", "~test:request:*", "+@all"),
    ],
    ids=" ".join,
)  # fmt: skip
async def test_user_that_may_not_count_quotas_refuses_to_start(
    tmp_path: Path, rules: tuple[str, ...], stores: tuple[str, ...]
) -> None:
    with with_user(tmp_path, *rules) as config, pytest.raises(ConfigError) as refused:
        await start(stores, **config)
    said = str(refused.value)
    assert said.startswith("redis.username: this Redis does not let the user do what is needed: ")
    assert said.endswith("for pacing.storage also LINDEX, LLEN, LSET, RPUSH, LPOP, RPOP")


async def test_user_that_may_do_what_the_refusal_names_for_quotas_can_count(tmp_path: Path) -> None:
    needed = ("+script|load", "+evalsha", "+time", "+pexpire", "+lindex", "+llen", "+lset", "+rpush", "+lpop", "+rpop")
    with with_user(tmp_path, "~test:*", "-@all", *needed) as config:
        await start(("quotas",), **config)
        async with store_of(**config) as (_, client):
            counter = RedisCounter(client, PREFIX)
            assert await counter.take([Charge("key", Limit(1, 60), 1)]) == 0
            assert 0 < await counter.take([Charge("key", Limit(1, 60), 1)]) <= 60


def test_check_of_the_counter_runs_every_command_of_its_script() -> None:
    checked = commands_of(quota_redis.CHECK_NOTHING) | commands_of(quota_redis.CHECK_ENTRY)
    assert checked == commands_of(quota_redis.ASK)
    assert "LINDEX" in checked


def commands_of(script: str) -> set[str]:
    return set(re.findall(r"redis\.call\('(\w+)'", script))


async def test_check_of_the_counter_leaves_nothing(redis: RedisServer) -> None:
    async with store_of(url=redis.url) as (_, client):
        await client.flushall()
        await start(("quotas",), url=redis.url)
        assert await client.keys("*") == []


async def test_redis_that_cannot_count_for_now_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as server, caplog.at_level(logging.WARNING):
        async with store_of(url=server.url) as (_, client):
            await client.config_set("maxmemory", "1")
            await start(("quotas",), url=server.url)
            await client.config_set("maxmemory", "0")
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")
            await start(("quotas",), url=server.url)
    await start(("quotas",), url=server.url)
    assert [record.kind for record in caplog.records] == ["full", "read_only", "connection"]


@contextmanager
def cluster_node(directory: Path) -> Iterator[RedisServer]:
    directory.mkdir()
    with redis_server(directory, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        yield server


async def take_slots(server: RedisServer, first: int, last: int) -> None:
    async with store_of(url=server.url) as (_, client):
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)


async def wait_for_slots(server: RedisServer) -> None:
    """Wait until a node knows whose each slot is."""
    async with store_of(url=server.url) as (_, client), asyncio.timeout(20):
        while (await client.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.05)


async def test_cluster_of_one_node_has_every_key(tmp_path: Path) -> None:
    with cluster_node(tmp_path / "one") as server:
        await take_slots(server, 0, 16383)
        await wait_for_slots(server)
        async with store_of(url=server.url) as (store, _):
            await store.start()


async def test_node_of_a_cluster_that_has_half_of_the_keys_refuses_to_start(tmp_path: Path) -> None:
    with cluster_node(tmp_path / "one") as one, cluster_node(tmp_path / "two") as two:
        await take_slots(one, 0, 8191)
        await take_slots(two, 8192, 16383)
        async with store_of(url=one.url) as (_, client):
            _, bus = (await client.config_get("cluster-port")).popitem()
        async with store_of(url=two.url) as (_, client):
            await client.execute_command("CLUSTER", "MEET", "127.0.0.1", one.port, bus)
        for server in (one, two):
            await wait_for_slots(server)
            said = await refusal(url=server.url)
            assert said.startswith("redis.url: this is a node of a Redis Cluster that has a part of the keys only")


async def test_cluster_that_is_not_whole_yet_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with cluster_node(tmp_path / "one") as server, caplog.at_level(logging.WARNING):
        async with store_of(url=server.url) as (store, _):
            await store.start()
    assert [(record.message, record.kind) for record in caplog.records] == [
        ("redis cannot be used yet, and is tried again when it is needed", "cluster_down")
    ]


async def test_other_database_of_a_cluster_refuses_to_start(tmp_path: Path) -> None:
    with cluster_node(tmp_path / "one") as server:
        said = await refusal(url=server.url.removesuffix("/0") + "/1")
    assert said == "redis.url: this Redis has no database of that number"


async def test_sentinel_refuses_to_start(tmp_path: Path) -> None:
    config, port = tmp_path / "sentinel.conf", free_port()
    config.write_text(f"port {port}\nbind 127.0.0.1\n")
    program = [find_tool("redis-server"), str(config), "--sentinel"]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL) as sentinel:  # noqa: ASYNC220  # it begins at once
        try:
            await until(lambda: is_listening(port))
            said = await refusal(url=f"redis://127.0.0.1:{port}/0")
        finally:
            sentinel.kill()
    assert said.startswith("redis.url: this is a Redis Sentinel")


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def answering(to_info: bytes, to_others: bytes) -> AsyncIterator[str]:
    """Serve something that says one thing to INFO and another to every other command; gives its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while sent := await reader.read(4096):
                for command in re.split(rb"\*\d+\r\n", sent)[1:]:
                    writer.write(to_info if command.startswith(b"$4\r\nINFO") else to_others)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"],
    ids=["http", "ssh"],
)
async def test_what_is_no_redis_refuses_to_start(answer: bytes) -> None:
    async with answering(answer, answer) as url:
        assert await refusal(url=url) == "redis.url: what answers there is no Redis"


async def test_info_without_a_policy_refuses_to_start() -> None:
    info = b"# Memory\r\nused_memory:1\r\n"
    async with answering(b"$%d\r\n%s\r\n" % (len(info), info), b"+PONG\r\n") as url:
        said = await refusal(url=url)
    assert said.startswith("redis.url: the INFO of this Redis names no maxmemory_policy")


async def test_redis_that_cannot_for_now_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as server:
        async with store_of(url=server.url) as (store, client):
            with caplog.at_level(logging.WARNING):
                await client.config_set("maxmemory", "1")
                await store.start()
                await client.config_set("maxmemory", "0")
                await client.execute_command("REPLICAOF", "127.0.0.1", "1")
                await store.start()
    assert [record.kind for record in caplog.records] == ["full", "read_only"]


async def test_redis_that_only_counts_quotas_is_checked_but_for_its_policy(tmp_path: Path, redis: RedisServer) -> None:
    config = Config(apps={}, pacing=PacingConfig(storage="redis"), redis=RedisConfig(url=redis.url + "99"))
    delivery = Delivery(config, Metrics("test"))
    with pytest.raises(ConfigError, match=r"^redis\.url: this Redis has no database of that number"):
        await delivery.start()
    await delivery.aclose()
    with redis_server(tmp_path, "--maxmemory-policy", "allkeys-lru") as server:
        config = Config(apps={}, pacing=PacingConfig(storage="redis"), redis=RedisConfig(url=server.url))
        delivery = Delivery(config, Metrics("test"))
        await delivery.start()
        await delivery.aclose()
