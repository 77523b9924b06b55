"""Builds the connection to Redis or Valkey that request ids and quotas share; it connects when it is first used."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from sidecar.config import ConfigError, RedisConfig, read_secret_file
from sidecar.key_log import check_key_log
from sidecar.transport.resolve import Address, Resolver

# A connection that was idle for so long is asked whether it still is one, in seconds.
HEALTH_CHECK_INTERVAL_S = 15
# More commands than this at the same time wait for a connection, `redis.timeout_s` at most: in a burst to connect costs
# more than to wait.
MAX_CONNECTIONS = 32


def build_redis(config: RedisConfig, resolver: Resolver | None = None) -> "Redis":
    """Build it; its host is looked up by `resolver`, or by one of its own.

    Every failure of it is raised to who uses it; it connects anew by itself, and repeats nothing.

    Raises `ConfigError` when `redis.ca_file` cannot be used, or the file of `SSLKEYLOGFILE`.
    """
    assert config.url is not None  # noqa: S101  # config.py sees to it
    options: dict[str, Any] = {**parse_url(config.url)}
    if config.url.startswith("rediss:"):
        options |= _tls_options(config.ca_file)
    if not config.url.startswith("unix:"):
        is_tls = config.url.startswith("rediss:")
        options["connection_class"] = _TlsConnection if is_tls else _TcpConnection
        options["resolver"] = resolver or Resolver()
    if config.password_file is not None or config.username is not None:
        options["credential_provider"] = _Credentials(config)
    pool = BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS,
        timeout=config.timeout_s,
        socket_timeout=config.timeout_s,
        socket_connect_timeout=config.timeout_s,
        # What was sent may have been done, so nothing is sent twice.
        retry=Retry(NoBackoff(), 0),
        health_check_interval=HEALTH_CHECK_INTERVAL_S,
        **options,
    )
    return Redis.from_pool(pool)


async def drop_if_demoted(redis: "Redis", kind: str) -> None:
    """Close the connections to a Redis that was demoted to a replica, which keeps them; `kind` is of its failure."""
    if kind == "read_only":
        with contextlib.suppress(RedisError, OSError):
            await redis.connection_pool.disconnect(inuse_connections=False)


def _tls_options(ca_file: Path | None) -> dict[str, Any]:
    if ca_file is not None:
        try:
            ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            check_key_log()
            raise ConfigError(f"redis.ca_file: cannot be used: {error.strerror or error}") from None
    return {
        "ssl_ca_certs": str(ca_file) if ca_file else None,
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }


class _TcpConnection(Connection):
    """A connection whose host is looked up by ours: the event loop's lookups wait for those of other names."""

    def __init__(self, *, resolver: Resolver, **rest: Any) -> None:
        super().__init__(**rest)
        self._resolver = resolver
        self._address: Address | None = None

    async def _connect(self) -> None:
        """Connect to the first address that takes us."""
        timeout_s = self.socket_connect_timeout
        assert timeout_s is not None  # noqa: S101  # `build_redis` gives one
        failure = OSError("the host has no address")
        async with asyncio.timeout(timeout_s):
            for address in await self._resolver.lookup(self.host, self.port, timeout_s):
                self._address = address
                try:
                    await super()._connect()  # type: ignore[no-untyped-call]  # the library's
                except OSError as error:
                    failure = error
                else:
                    return
        raise failure

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = dict(super()._connection_arguments())
        if self._address is not None:
            arguments["host"] = self._address.host
            if "ssl" in arguments:
                arguments["server_hostname"] = self.host
        return arguments


class _TlsConnection(_TcpConnection, SSLConnection):
    """The same with TLS."""


class _Credentials(CredentialProvider):
    """User and password for a new connection, the password as it stands in its file then."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password alone, or the user and the password."""
        file = self._config.password_file
        password = read_secret_file("redis.password_file", file).reveal() if file is not None else ""
        return (self._config.username, password) if self._config.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the same: the library's own writes a warning for each connection."""
        return self.get_credentials()
