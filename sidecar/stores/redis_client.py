"""Builds the connection to Redis or Valkey that request ids and quotas share; it connects when it is first used."""

import ssl
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from sidecar.config import ConfigError, RedisConfig, read_secret_file

# A connection that was idle for so long is asked whether it still is one, in seconds.
HEALTH_CHECK_INTERVAL_S = 15
# More commands than this at the same time wait for a connection, `redis.timeout_s` at most: in a burst to connect costs
# more than to wait.
MAX_CONNECTIONS = 32


def build_redis(config: RedisConfig) -> "Redis":
    """Build it. Every failure of it is raised to who uses it; it connects anew by itself, and repeats nothing.

    Raises `ConfigError` when `redis.ca_file` cannot be used.
    """
    assert config.url is not None  # noqa: S101  # config.py sees to it
    options: dict[str, Any] = {}
    if config.url.startswith("rediss:"):
        options |= _tls_options(config.ca_file)
    if config.password_file is not None or config.username is not None:
        options["credential_provider"] = _Credentials(config)
    pool = BlockingConnectionPool.from_url(
        config.url,
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


def _tls_options(ca_file: Path | None) -> dict[str, Any]:
    if ca_file is not None:
        try:
            ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise ConfigError(f"redis.ca_file: cannot be used: {error.strerror or error}") from None
    return {
        "ssl_ca_certs": str(ca_file) if ca_file else None,
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }


class _Credentials(CredentialProvider):
    """User and password for a new connection, the password as it stands in its file then."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password alone, or the user and the password."""
        file = self._config.password_file
        password = read_secret_file("redis.password_file", file).reveal() if file is not None else ""
        return (self._config.username, password) if self._config.username else (password,)
