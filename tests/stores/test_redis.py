"""The Redis store: what must not be at the start, what may come and go, and who shares it."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoPermissionError, ReadOnlyError, ResponseError

from sidecar.config import ConfigError, RedisConfig
from sidecar.stores.redis import RedisStore
from sidecar.stores.redis_client import MAX_CONNECTIONS, build_redis
from sidecar.stores.redis_failure import read_failure
from sidecar.stores.store import Record, State, StoreFailure, StoreFull
from sidecar.transport.resolve import Resolver
from tests.support.certificates import Authority
from tests.support.garbage import uncollected
from tests.support.redis_server import RedisServer, free_port, redis_server

from .conftest import PREFIX, WINDOW_S

LEASE_S = 10.0
FINGERPRINT = b"f" * 16
KEY = bytes(16)
PASSWORD = "zqpassword"


@asynccontextmanager
async def connected(
    server: RedisServer, resolver: Resolver | None = None, **config: Any
) -> AsyncIterator[tuple[RedisStore, Redis]]:
    client = build_redis(RedisConfig(**{"url": server.url, "timeout_s": 10, **config}), resolver)
    try:
        yield RedisStore(client, window_s=WINDOW_S, key_prefix=PREFIX), client
    finally:
        await client.aclose()


async def reserve(store: RedisStore, key: bytes = KEY, owner: str = "one") -> Record | None:
    return await store.reserve(key, owner=owner, fingerprint=FINGERPRINT, lease_s=LEASE_S)


async def failure(store: RedisStore) -> str:
    with pytest.raises(StoreFailure) as failed:
        await reserve(store, b"free" * 4)  # one that is there needs no write
    return failed.value.kind


async def test_two_clients_share_what_is_there(redis: RedisServer) -> None:
    async with connected(redis) as (one, client), connected(redis) as (two, _):
        await client.flushall()
        for number in range(5):
            key = number.to_bytes(16, "big")
            found = await asyncio.gather(
                *(reserve(store, key, f"{number}-{index}") for index, store in enumerate([one, two] * 25))
            )
            assert found.count(None) == 1


async def test_keys_have_the_prefix_and_the_window(redis: RedisServer) -> None:
    async with connected(redis) as (store, client):
        await client.flushall()
        await reserve(store)
        (name,) = await client.keys("*")
        assert name == b"test:request:" + b"0" * 32
        assert WINDOW_S * 1000 - 5000 < await client.pttl(name) <= WINDOW_S * 1000
        await client.pexpire(name, 1000)
        await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)
        assert await client.pttl(name) > 1000, "each step renews the window"
        await client.pexpire(name, 1000)
        await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")
        assert await client.pttl(name) > 1000, "each step renews the window"


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


async def test_redis_that_comes_back_is_checked_again(tmp_path: Path) -> None:
    """Another one may answer at its address now."""
    first = RedisServer(tmp_path)
    second = RedisServer(tmp_path, "--maxmemory-policy", "allkeys-lru")
    second.port = first.port
    try:
        first.start()
        async with connected(first) as (store, _):
            await reserve(store)
            first.stop()
            assert await failure(store) == "connection"
            second.start()
            assert await failure(store) == "eviction_policy"
    finally:
        first.stop()
        second.stop()


async def test_connections_that_ended_while_they_were_idle_are_made_anew(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server) as (store, client):
            await asyncio.gather(*(reserve(store, bytes([number]) * 16) for number in range(10)))
            await client.client_kill_filter(_type="normal", skipme=False)
            await asyncio.sleep(0.05)  # the ends arrive, with nothing to tell of it
            found = await asyncio.gather(*(reserve(store, bytes([number]) * 16, "two") for number in range(10)))
            assert [record.state for record in found if record is not None] == [State.RESERVED] * 10


async def test_server_that_became_a_replica_is_left_and_what_comes_next_is_checked(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server) as (store, client):
            await reserve(store)
            before = await client.client_id()
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")
            assert await failure(store) == "read_only"
            assert await client.client_id() != before
            await client.execute_command("REPLICAOF", "NO", "ONE")
            await client.config_set("maxmemory-policy", "allkeys-lru")
            assert await failure(store) == "eviction_policy"
            assert await store.begin_sending(KEY, owner="one", lease_s=LEASE_S), "what is there makes its steps"
            await client.config_set("maxmemory-policy", "noeviction")
            assert await reserve(store, b"\x01" * 16) is None


async def test_step_that_was_cancelled_leaves_no_answer_to_another(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server, timeout_s=5.0) as (store, client):
            await reserve(store)
            for _ in range(3):
                await client.execute_command("CLIENT", "PAUSE", "50", "ALL")
                tasks = [asyncio.create_task(reserve(store, owner="two")) for _ in range(5)]
                await asyncio.sleep(0.01)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                found = await asyncio.gather(*(store.release(bytes([number]) * 16, owner="x") for number in range(9)))
                assert found == [False] * 9


async def test_burst_waits_for_few_connections(redis: RedisServer) -> None:
    async with connected(redis, timeout_s=5.0) as (store, client):
        await client.flushall()
        others = len(await client.client_list())
        found = await asyncio.gather(*(reserve(store, number.to_bytes(16, "big")) for number in range(500)))
        assert found == [None] * 500
        assert len(await client.client_list()) - others < MAX_CONNECTIONS


async def test_wait_for_a_connection_is_given_up_in_time(redis: RedisServer) -> None:
    async with connected(redis, timeout_s=0.05) as (store, client):
        held = [await client.connection_pool.get_connection() for _ in range(MAX_CONNECTIONS)]
        async with asyncio.timeout(5):
            assert await failure(store) == "timeout"
        for connection in held:
            await client.connection_pool.release(connection)


async def test_record_whose_window_is_over_is_gone(redis: RedisServer) -> None:
    async with connected(redis) as (_, client):
        await client.flushall()
        store = RedisStore(client, window_s=0.05, key_prefix=PREFIX)
        await reserve(store)
        await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)
        async with asyncio.timeout(5):
            while await reserve(store, owner="two") is not None:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
        assert not await store.settle(KEY, owner="one", state=State.DONE, answer=b"a")


async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with redis_server(tmp_path, "--unixsocket", str(path)) as server:
        async with connected(server, url=f"unix://{path}") as (store, _):
            await store.start()
            assert await reserve(store) is None


async def test_tls_trusts_the_ca_file_and_nobody_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    leaf = ours.leaf("127.0.0.1")
    port = free_port()
    files = ("--tls-cert-file", str(leaf.cert_file), "--tls-key-file", str(leaf.key_file))
    tls = ("--tls-port", str(port), *files, "--tls-auth-clients", "no")
    with redis_server(tmp_path, *tls, "--tls-ca-cert-file", str(ours.ca_file)) as server:
        async with connected(server, url=f"rediss://127.0.0.1:{port}", ca_file=ours.ca_file) as (store, _):
            await store.start()
            assert await reserve(store) is None
            assert caplog.records == []
        for host, ca_file in (("127.0.0.1", theirs.ca_file), ("127.0.0.1", None), ("localhost", ours.ca_file)):
            async with connected(server, url=f"rediss://{host}:{port}", ca_file=ca_file) as (store, _):
                assert await failure(store) == "connection"


class Names:
    """Name servers: `redis.example` is this machine, at an address where nobody listens and at one of Redis."""

    def __init__(self) -> None:
        self.is_answering = threading.Event()
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, _port: object, **_options: object) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host != "redis.example":
            self.is_answering.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ("127.0.0.9", "127.0.0.1")]


@pytest.fixture
def names() -> Iterator[Names]:
    fake = Names()
    yield fake
    fake.is_answering.set()


async def test_redis_by_name_is_reached_while_other_names_hang(tmp_path: Path, names: Names) -> None:
    resolver = Resolver(getaddrinfo=names.getaddrinfo)
    others = [asyncio.ensure_future(resolver.lookup(f"{number}.example", 443, 60)) for number in range(4)]
    with redis_server(tmp_path) as server:
        async with connected(server, resolver, url=f"redis://redis.example:{server.port}/0") as (store, client):
            assert await reserve(store) is None
            assert "host=redis.example" in repr(client)
    assert "redis.example" in names.asked
    assert [other.done() for other in others] == [False] * 4
    names.is_answering.set()
    await asyncio.gather(*others)


async def test_redis_whose_own_name_hangs_is_given_up_in_time(tmp_path: Path, names: Names) -> None:
    resolver = Resolver(getaddrinfo=names.getaddrinfo)
    with redis_server(tmp_path) as server:
        async with connected(server, resolver, url="redis://silent.example:1", timeout_s=0.05) as (store, _):
            async with asyncio.timeout(5):
                assert await failure(store) in {"timeout", "connection"}


@pytest.mark.parametrize(("certified", "is_reached"), [("redis.example", True), ("127.0.0.1", False)])
async def test_certificate_is_checked_against_the_name_and_not_its_address(
    tmp_path: Path, names: Names, certified: str, *, is_reached: bool
) -> None:
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    leaf, port = authority.leaf(certified), free_port()
    files = ("--tls-cert-file", str(leaf.cert_file), "--tls-key-file", str(leaf.key_file))
    tls = ("--tls-port", str(port), *files, "--tls-auth-clients", "no", "--tls-ca-cert-file", str(authority.ca_file))
    resolver = Resolver(getaddrinfo=names.getaddrinfo)
    with redis_server(tmp_path, *tls) as server:
        url = f"rediss://redis.example:{port}"
        async with connected(server, resolver, url=url, ca_file=authority.ca_file) as (store, _):
            if is_reached:
                assert await reserve(store) is None
            else:
                assert await failure(store) == "connection"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ResponseError("Error running script (call to f_9f87): @user_script:9: @user_script: 9: "
                       "-OOM command not allowed when used memory > 'maxmemory'."), "full"),
        (ResponseError("Error running script (call to f_9f87): @user_script:9: @user_script: 9: "
                       "-READONLY You can't write against a read only replica."), "read_only"),
        (ReadOnlyError("You can't write against a read only replica."), "read_only"),
        (ResponseError("anything"), "response"),
        (ResponseError("unknown command 'EVALSHA'"), "unknown_command"),
        (ResponseError("Error running script: -NOPERM this user has no permissions"), "no_permission"),
        (NoPermissionError("this user has no permissions to run the 'evalsha' command"), "no_permission"),
        (MovedError("3999 127.0.0.1:6381"), "cluster"),
        (RedisConnectionError("Error 111 connecting to 127.0.0.1:1"), "connection"),
        (RuntimeError("anything"), "other"),
    ],
    ids=["redis-6-full", "redis-6-replica", "redis-7-replica", "response", "command",
         "redis-6-permission", "redis-7-permission", "moved", "connection", "other"],
)  # fmt: skip
def test_failure_has_a_kind_and_no_text(error: Exception, kind: str) -> None:
    failed = read_failure(error)
    assert (failed.kind, str(failed)) == (kind, kind)


async def test_redis_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server, timeout_s=0.3) as (store, client):
            await reserve(store)
            await client.execute_command("CLIENT", "PAUSE", "20000", "ALL")
            assert await failure(store) == "timeout"


async def test_step_that_failed_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server, timeout_s=0.3) as (store, client):
            await reserve(store)
            await client.execute_command("CLIENT", "PAUSE", "20000", "ALL")
            with uncollected() as found:
                for _ in range(3):
                    with pytest.raises(StoreFailure):
                        await reserve(store)
            assert found == {}


async def test_step_without_an_answer_is_not_repeated(tmp_path: Path) -> None:
    """It may have been made. A second try would come when the pause is over."""
    with redis_server(tmp_path) as server:
        async with connected(server, timeout_s=0.3) as (store, client):
            await reserve(store)
            await client.execute_command("CLIENT", "PAUSE", "550", "ALL")
            with pytest.raises(StoreFailure, match=r"^timeout$"):
                await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)


async def test_redis_that_takes_no_connection_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as stack:
        port = deaf.getsockname()[1]
        for _ in range(3):  # more than it queues
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        client = build_redis(RedisConfig(url=f"redis://127.0.0.1:{port}", timeout_s=0.05))
        async with asyncio.timeout(5):
            assert await failure(RedisStore(client, window_s=WINDOW_S, key_prefix=PREFIX)) == "timeout"
        await client.aclose()


async def test_full_redis_refuses_new_ids_and_lets_the_others_make_their_steps(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with connected(server) as (store, client):
            await reserve(store)
            assert await reserve(store, b"\x02" * 16) is None
            await client.config_set("maxmemory", "1")
            with pytest.raises(StoreFull) as full:
                await reserve(store, key=b"\x01" * 16)
            assert (full.value.setting, full.value.retry_after_s) == ("the maxmemory of Redis", 1.0)
            assert await store.begin_sending(KEY, owner="one", lease_s=LEASE_S)
            assert await store.settle(KEY, owner="one", state=State.DONE, answer=b"a" * 1000)
            assert await store.release(b"\x02" * 16, owner="one")
            assert await reserve(store, owner="two") == Record(State.DONE, FINGERPRINT, b"a" * 1000)


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


async def test_password_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", PASSWORD) as server:
        async with connected(server, password_file=tmp_path / "none") as (store, _):
            with pytest.raises(ConfigError, match=r"^redis\.password_file: cannot read .*No such file"):
                await store.start()
            assert await failure(store) == "auth"


async def test_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(ConfigError, match=r"^redis\.ca_file: cannot be used: "):
        build_redis(RedisConfig(url="rediss://127.0.0.1:1", ca_file=tmp_path / "ca.pem"))
