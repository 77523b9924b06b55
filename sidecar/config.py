"""Loads the configuration: strict, from a file and the environment, checked across its keys.

The keys are config_records.py's, the reading of the file config_tree.py's, that of secrets config_secrets.py's. Nothing
is built here.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from sidecar.config_address import MAX_SOCKET_PATH_BYTES, is_address, is_redis_address
from sidecar.config_records import (
    AdminConfig,
    AppConfig,
    BreakerConfig,
    CallerConfig,
    Config,
    DnsConfig,
    HealthConfig,
    IdempotencyConfig,
    ListenerConfig,
    LogConfig,
    PacingConfig,
    RedisConfig,
    RetryConfig,
    Secret,
    SecretsConfig,
    ServerConfig,
    TlsConfig,
)
from sidecar.config_secrets import TARGET_HASH_KEY, read_secret, read_secret_file, read_target_hash_key
from sidecar.config_tree import ConfigError, Source, read_tree

__all__ = [
    "TARGET_HASH_KEY",
    "AdminConfig",
    "AppConfig",
    "BreakerConfig",
    "CallerConfig",
    "Config",
    "ConfigError",
    "DnsConfig",
    "HealthConfig",
    "IdempotencyConfig",
    "ListenerConfig",
    "LogConfig",
    "PacingConfig",
    "RedisConfig",
    "RetryConfig",
    "Secret",
    "SecretsConfig",
    "ServerConfig",
    "TlsConfig",
    "load",
    "read_secret",
    "read_secret_file",
    "read_target_hash_key",
    "source_of",
]

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "server": ServerConfig,
    "health": HealthConfig,
    "admin": AdminConfig,
    "log": LogConfig,
    "idempotency": IdempotencyConfig,
    "pacing": PacingConfig,
    "breaker": BreakerConfig,
    "redis": RedisConfig,
    "dns": DnsConfig,
    "secrets": SecretsConfig,
}
# Sections of records by names that the operator chooses.
_NAMED: Mapping[str, type[msgspec.Struct]] = {"listeners": ListenerConfig, "callers": CallerConfig}


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Load the configuration from a file (or `PUSH_SIDECAR_CONFIG`) and the environment, which wins.

    A variable `PUSH_SIDECAR_SERVER__LISTEN` sets the key `server.listen`; its value is read as YAML.

    Raises `ConfigError` naming the key and the file or variable: a line for each section and each app that is wrong.
    """
    tree, source = read_tree(path, environment)
    problems: list[str] = []

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ConfigError as error:
            problems.append(_in_one_line(str(error)))
            return None

    sections: dict[str, Any] = {}
    for key, value in tree.items():
        if key != "apps":
            sections[key] = attempt(partial(_read_section, key, value, source))
    if None not in sections.values():
        attempt(partial(_check_sections, sections, source))
    apps: dict[str, Any] = {}
    if isinstance(given := tree.get("apps"), dict) and given:
        for name, value in given.items():
            apps[name] = attempt(partial(_read_app, name, value, sections, environment, source))
    else:
        attempt(partial(_convert, {key: tree[key] for key in tree if key == "apps"}, Config, source))
    if problems:
        raise ConfigError("\n".join(problems))
    return Config(apps=apps, **sections)


def source_of(key: str, path: Path | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the name of the file or the variable that a key comes from."""
    return read_tree(path, environment)[1].of(key)


def _path_hook(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise ValueError("must be a path")


def _read_section(key: Any, value: Any, source: Source) -> Any:
    if key in _SECTIONS:
        return _convert(value, _SECTIONS[key], source, key)
    if key in _NAMED:
        return _read_named(key, value, _NAMED[key], source)
    _check_keys({key: None}, source, "")
    raise ConfigError(f"{source.of(key)}: {key}: no such key")


def _check_keys(tree: Any, source: Source, prefix: str) -> None:
    """Refuse a key that is no text, such as a number: msgspec does not say which one it means."""
    for key in tree if isinstance(tree, dict) else ():
        if not isinstance(key, str):
            where = f"{prefix}: " if prefix else ""
            raise ConfigError(f"{source.of(prefix)}: {where}the key {key!r} must be a text: put it in quotes")


def _check_sections(sections: Mapping[str, Any], source: Source) -> None:
    """Check what one section needs of itself or of another."""
    server = sections.get("server", ServerConfig())
    idempotency = sections.get("idempotency", IdempotencyConfig())
    pacing = sections.get("pacing", PacingConfig())
    redis = sections.get("redis", RedisConfig())
    log = sections.get("log", LogConfig())

    def refuse(key: str, why: str) -> ConfigError:
        return ConfigError(f"{source.of(key)}: {key}: {why}")

    if why := _too_few_pending_bytes(server.max_pending_bytes, server):
        raise refuse("server.max_pending_bytes", why)
    if idempotency.store == "sqlite" and idempotency.sqlite_file is None:
        raise refuse("idempotency.sqlite_file", "is required for idempotency.store sqlite")
    users = [("idempotency.store", idempotency.store), ("pacing.storage", pacing.storage)]
    for key, choice in users:
        if choice == "redis" and redis.url is None:
            raise refuse("redis.url", f"is required for {key} redis")
    _check_redis(redis, refuse)
    try:
        if redis.password_file is not None:
            read_secret_file("redis.password_file", redis.password_file)
        if log.target_hash_key_file is not None:
            read_target_hash_key(log.target_hash_key_file)
    except ConfigError as error:
        raise ConfigError(f"{source.of(str(error).partition(': ')[0])}: {error}") from None


def _check_redis(redis: RedisConfig, refuse: Callable[[str, str], ConfigError]) -> None:
    """Check what the records of Redis cannot say by their types."""
    if redis.url is not None and not is_redis_address(redis.url):
        raise refuse(
            "redis.url",
            "must be redis://host:port/db, rediss://host:port/db or unix:///path, without a user; a path has at most "
            f"{MAX_SOCKET_PATH_BYTES} bytes, and none of ?#@%",
        )
    if redis.ca_file is not None and (why := _why_no_file(redis.ca_file)):
        raise refuse("redis.ca_file", why)


def _read_named(key: str, tree: Any, kind: type[T], source: Source) -> dict[str, T]:
    if not isinstance(tree, dict):
        raise ConfigError(f"{source.of(key)}: {key}: must be a mapping of names")
    _check_keys(tree, source, key)
    for name in tree:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{source.of(key)}: {key}: the name {name!r} must match {_NAME.pattern}")
    return {name: _convert(value, kind, source, f"{key}.{name}") for name, value in tree.items()}


def _read_app(
    name: Any, tree: Any, sections: Mapping[str, Any], environment: Mapping[str, str], source: Source
) -> AppConfig:
    _check_keys({name: tree}, source, "apps")
    prefix = f"apps.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{source.of(prefix)}: apps: the name {name!r} must match {_NAME.pattern}")
    if isinstance(tree, dict):
        _check_keys(tree.get("retry"), source, f"{prefix}.retry")
        _check_codes(tree.get("code_classes"), source, f"{prefix}.code_classes")
        _check_quotas(tree.get("quotas"), source, f"{prefix}.quotas")
    app = _convert(tree, AppConfig, source, prefix)
    _check_app(name, app, sections, environment, source)
    server: ServerConfig | None = sections.get("server", ServerConfig())
    if server is not None and (why := _too_few_pending_bytes(app.max_pending_bytes, server)):
        key = f"{prefix}.max_pending_bytes"
        raise ConfigError(f"{source.of(key)}: {key}: {why}")
    return app


def _check_codes(tree: Any, source: Source, prefix: str) -> None:
    for code, wanted in tree.items() if isinstance(tree, dict) else ():
        if type(code) is not int:
            raise ConfigError(f"{source.of(prefix)}: {prefix}: the code {code!r} must be a whole number")
        _convert(wanted, str, source, f"{prefix}.{code}")


def _check_quotas(tree: Any, source: Source, prefix: str) -> None:
    _check_keys(tree, source, prefix)
    for classes, amount in tree.items() if isinstance(tree, dict) else ():
        _convert(amount, str, source, f"{prefix}.{classes}")


def _convert(tree: Any, kind: type[T], source: Source, prefix: str = "") -> T:
    """Convert a tree to a record; an error names where it stands and the key, `prefix` included."""
    _check_keys(tree, source, prefix)
    try:
        return msgspec.convert(tree, kind, dec_hook=_path_hook)
    except msgspec.ValidationError as error:
        # msgspec says "Expected `int`, got `str` - at `$.server.listen`", or "... - at `key` in `$.apps`".
        # What is wrong may quote a value that holds the same words, so the last place counts.
        what, separator, at = str(error).rpartition(" - at `")
        if not separator:
            what, at = at, ""
        key = f"{prefix}{at.rpartition('`$')[2] if '`$' in at else at.removeprefix('$')}".rstrip("`").removeprefix(".")
        if field := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", what, re.DOTALL):
            key = f"{key}.{field[2]}".removeprefix(".")
            what = "no such key" if field[1] == "contains unknown" else "is required"
        elif what.startswith("Expected `str`") and what.endswith(("`int`", "`float`", "`bool`")):
            what += ": put it in quotes"
        elif what.startswith("Invalid enum value"):
            what = f"must be one of {', '.join(_choices(kind, key.removeprefix(prefix)))}"
        raise ConfigError(f"{source.of(key)}: {key}{': ' if key else ''}{what}") from None


def _too_few_pending_bytes(given: int, server: ServerConfig) -> str:
    """Say why a budget is too small for a request of the largest size; empty when it is not."""
    least = 3 * server.max_message_bytes
    if given >= least:
        return ""
    return f"must be at least {least}: three times server.max_message_bytes, which one call with such a request holds"


def _why_no_file(path: Path) -> str | None:
    """Return why a path is no file, in words; None when it is one."""
    try:
        return None if path.is_file() else f"no such file: {path}"
    except OSError as error:  # such as a folder that may not be entered, or a name that is too long
        return f"cannot read {path}: {error.strerror}"


def _in_one_line(text: str) -> str:
    """Escape what would break the line of a problem, or act on a terminal: keys and values may hold anything."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _choices(kind: Any, key: str) -> tuple[str, ...]:
    """Return the values that a key of a record may have."""
    for name in key.removeprefix(".").split("."):
        kind = get_type_hints(kind)[name]
    choices: tuple[str, ...] = get_args(kind)
    return choices


def _check_tls_files(app: AppConfig, refuse: Callable[[str, str], ConfigError]) -> None:
    if (app.client_cert_file is None) != (app.client_key_file is None):
        missing = "client_cert_file" if app.client_cert_file is None else "client_key_file"
        raise refuse(missing, "is required beside the other")
    for key in ("ca_file", "client_cert_file", "client_key_file"):
        file: Path | None = getattr(app, key)
        if file is not None and (why := _why_no_file(file)):
            raise refuse(key, why)


def _check_app(
    name: str, app: AppConfig, sections: Mapping[str, Any], environment: Mapping[str, str], source: Source
) -> None:
    # None: the section itself is wrong, which is said already.
    server: ServerConfig | None = sections.get("server", ServerConfig())
    idempotency: IdempotencyConfig | None = sections.get("idempotency", IdempotencyConfig())

    def refuse(key: str, why: str) -> ConfigError:
        return ConfigError(f"{source.of(f'apps.{name}.{key}')}: apps.{name}.{key}: {why}")

    if (app.secret_key_file is None) == (app.secret_key_env is None):
        raise refuse("secret_key_file", "exactly one of secret_key_file and secret_key_env is required")
    if not is_address(app.base_url, "https", allow_path=True):
        raise refuse("base_url", "must be https://host[:port][/prefix], without user, query and fragment")
    if app.proxy is not None and not is_address(app.proxy, "http", allow_path=False):
        raise refuse("proxy", "must be http://host:port, without a user")
    _check_tls_files(app, refuse)
    if app.platform != "ios" and app.environment != "product":
        raise refuse("environment", "is for iOS apps only")
    if server is not None and app.total_timeout_s >= server.shutdown_grace_s:
        raise refuse(
            "total_timeout_s",
            f"must be below server.shutdown_grace_s ({server.shutdown_grace_s:g} s), "
            "else a stop would cut calls in flight",
        )
    if idempotency is not None and 2 * app.total_timeout_s > idempotency.window_s:
        raise refuse(
            "total_timeout_s",
            f"must be at most half of idempotency.window_s ({idempotency.window_s:g} s), "
            "else the request id of a call in flight would be forgotten",
        )
    try:
        read_secret(name, app, environment)
    except ConfigError as error:
        raise ConfigError(f"{source.of(str(error).partition(': ')[0])}: {error}") from None
