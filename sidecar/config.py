"""The configuration as frozen records. Strict; every key has a description here.

Nothing is built here, and no file but the configuration and its secrets is read (`config_tree.py` reads the former).
`docs/configuration.md` is generated from these records.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta

from sidecar.config_address import is_address
from sidecar.config_tree import ConfigError, Source, read_tree

__all__ = ["AdminConfig", "AppConfig", "Config", "ConfigError", "HealthConfig", "LogConfig", "RetryConfig", "Secret"]
__all__ += ["ServerConfig", "load", "read_secret", "source_of"]

Seconds = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class Secret:
    """A text that is never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def reveal(self) -> str:
        """Return the text, for the one place that sends it."""
        return self._value


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gRPC listener for callers."""

    listen: Annotated[str, Meta(description="Address for callers: `host:port`, or `unix:/path`.")] = "127.0.0.1:50051"
    socket_mode: Annotated[
        str,
        Meta(
            pattern="^0?[0-7]{3}$",
            description="Mode of a unix socket, in octal digits. Its directory decides who can reach it.",
        ),
    ] = "0666"
    reflection: Annotated[bool, Meta(description="Serve gRPC reflection, so that grpcurl needs no proto files.")] = True
    so_reuseport: Annotated[
        bool, Meta(description="Let several processes bind the same port. Off: a busy port refuses to start.")
    ] = False
    max_message_bytes: Annotated[
        int, Meta(ge=1024, le=64 * 1024 * 1024, description="Largest request taken, in bytes.")
    ] = 4 * 1024 * 1024
    default_timeout_s: Annotated[
        Seconds, Meta(description="Deadline of a call that comes without one, in seconds.")
    ] = 30.0
    deadline_margin_s: Annotated[
        float,
        Meta(
            ge=0,
            le=5,
            description="How long before its deadline a call is answered, in seconds, at most a tenth of it.",
        ),
    ] = 0.05
    shutdown_grace_s: Annotated[
        Seconds,
        Meta(description="How long calls in flight may take after a stop, in seconds; above every `total_timeout_s`."),
    ] = 20.0


class HealthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cleartext gRPC health listener."""

    listen: Annotated[str, Meta(description="Address of `grpc.health.v1`, and of nothing else.")] = "127.0.0.1:50053"


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP listener of operators."""

    listen: Annotated[str, Meta(description="Address of `/metrics`, `/healthz` and `/readyz`.")] = "127.0.0.1:50052"


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logs, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severe level written.")
    ] = "info"
    format: Annotated[Literal["json", "text"], Meta(description="`json`, one object a line, or `text` for people.")] = (
        "json"
    )


class RetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sidecar's own retries of what was provably not sent."""

    max_attempts: Annotated[
        int, Meta(ge=1, le=10, description="Calls to the vendor for one push, the first included.")
    ] = 3
    initial_backoff_s: Annotated[
        Seconds,
        Meta(description="Upper bound of the first wait, in seconds; doubled each time, with full jitter."),
    ] = 0.1
    max_backoff_s: Annotated[Seconds, Meta(description="Upper bound of any wait, in seconds.")] = 2.0
    budget_ratio: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Retries allowed as a share of the app's calls, so that an outage is not multiplied.",
        ),
    ] = 0.2


class AppConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One app of a vendor: its credentials, its address and its limits."""

    provider: Annotated[Literal["xg"], Meta(description="The vendor's API.")] = "xg"
    platform: Annotated[Literal["android", "ios"], Meta(description="The platform that the app is registered for.")]
    base_url: Annotated[
        str,
        Meta(description="The vendor's address, `https://host[:port][/prefix]`. The API's path is added to it."),
    ]
    app_id: Annotated[str, Meta(min_length=1, description="The vendor's app id.")]
    secret_key_file: Annotated[Path | None, Meta(description="File that holds the vendor's secret key.")] = None
    secret_key_env: Annotated[
        str | None,
        Meta(description="Environment variable that holds the secret key. One of the two is required."),
    ] = None
    ca_file: Annotated[
        Path | None, Meta(description="PEM file of the CAs to trust for the vendor, instead of the system's.")
    ] = None
    proxy: Annotated[str | None, Meta(description="HTTP proxy for the vendor, `http://host:port`.")] = None
    environment: Annotated[
        Literal["product", "dev"], Meta(description="Apple's environment where a push names none. iOS only.")
    ] = "product"
    connect_timeout_s: Annotated[Seconds, Meta(description="Limit of TCP connect and TLS handshake, in seconds.")] = 3.0
    read_timeout_s: Annotated[
        Seconds, Meta(description="Limit of silence while waiting for the answer, in seconds.")
    ] = 10.0
    total_timeout_s: Annotated[Seconds, Meta(description="Limit of one vendor call as a whole, in seconds.")] = 15.0
    keepalive_idle_s: Annotated[Seconds, Meta(description="Idle connections are closed after this, in seconds.")] = 15.0
    max_in_flight: Annotated[Count, Meta(description="Vendor calls at the same time, and so the most connections.")] = (
        64
    )
    max_queue: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="Calls that may wait for a place; beyond it OVERLOADED at once."),
    ] = 256
    overload_retry_after_s: Annotated[
        Seconds, Meta(description="What OVERLOADED tells its caller to wait, in seconds.")
    ] = 1.0
    quota_retry_after_s: Annotated[
        Seconds,
        Meta(description="What QUOTA_EXCEEDED tells its caller to wait when the vendor names no time, in seconds."),
    ] = 60.0
    max_response_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=64 * 1024 * 1024,
            description="Largest answer read, in bytes; a larger one is OUTCOME_UNKNOWN.",
        ),
    ] = 1024 * 1024
    retry: Annotated[RetryConfig, Meta(description="Retries.")] = RetryConfig()
    code_classes: Annotated[
        dict[int, str],
        Meta(
            description="Other classes for vendor codes, where the operator knows better, such as `10100: VENDOR_BUSY`."
        ),
    ] = {}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything."""

    server: Annotated[ServerConfig, Meta(description="The gRPC listener for callers.")] = ServerConfig()
    health: Annotated[HealthConfig, Meta(description="The health listener.")] = HealthConfig()
    admin: Annotated[AdminConfig, Meta(description="The operators' HTTP listener.")] = AdminConfig()
    log: Annotated[LogConfig, Meta(description="Logs.")] = LogConfig()
    apps: Annotated[
        dict[str, AppConfig],
        Meta(min_length=1, description="The apps, by the name that callers give in `app`."),
    ]


_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "server": ServerConfig,
    "health": HealthConfig,
    "admin": AdminConfig,
    "log": LogConfig,
}


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
            problems.append(str(error))
            return None

    sections: dict[str, Any] = {}
    for key, value in tree.items():
        if key in _SECTIONS:
            sections[key] = attempt(partial(_convert, value, _SECTIONS[key], source, key))
        elif key != "apps":
            attempt(partial(_refuse_key, key, source))
    server = sections.get("server", ServerConfig())
    apps: dict[str, Any] = {}
    if isinstance(given := tree.get("apps"), dict) and given:
        for name, value in given.items():
            apps[name] = attempt(partial(_read_app, name, value, server, environment, source))
    else:
        attempt(partial(_convert, {key: tree[key] for key in tree if key == "apps"}, Config, source))
    if problems:
        raise ConfigError("\n".join(problems))
    return Config(apps=apps, **sections)


def source_of(key: str, path: Path | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the name of the file or the variable that a key comes from."""
    return read_tree(path, environment)[1].of(key)


def read_secret(name: str, app: AppConfig, environment: Mapping[str, str] = os.environ) -> Secret:
    """Return an app's secret key, from its file or environment variable.

    Raises `ConfigError` when it is missing or empty.
    """
    if app.secret_key_file is not None:
        key = f"apps.{name}.secret_key_file"
        try:
            value = app.secret_key_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a text file"
            raise ConfigError(f"{key}: cannot read {app.secret_key_file}: {why}") from None
    else:
        key = f"apps.{name}.secret_key_env"
        value = environment.get(app.secret_key_env or "", "").strip()
    if not value:
        raise ConfigError(f"{key}: the secret is empty or missing")
    return Secret(value)


def _path_hook(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("must be a path")


def _refuse_key(key: Any, source: Source) -> None:
    _check_keys({key: None}, source, "")
    raise ConfigError(f"{source.of(key)}: {key}: no such key")


def _check_keys(tree: Any, source: Source, prefix: str) -> None:
    """Refuse a key that is no text, such as a number: msgspec does not say which one it means."""
    for key in tree if isinstance(tree, dict) else ():
        if not isinstance(key, str):
            where = f"{prefix}: " if prefix else ""
            raise ConfigError(f"{source.of(prefix)}: {where}the key {key!r} must be a text: put it in quotes")


def _read_app(
    name: Any, tree: Any, server: ServerConfig | None, environment: Mapping[str, str], source: Source
) -> AppConfig:
    _check_keys({name: tree}, source, "apps")
    prefix = f"apps.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{source.of(prefix)}: apps: the name {name!r} must match {_NAME.pattern}")
    if isinstance(tree, dict):
        _check_keys(tree.get("retry"), source, f"{prefix}.retry")
        _check_codes(tree.get("code_classes"), source, f"{prefix}.code_classes")
    app = _convert(tree, AppConfig, source, prefix)
    _check_app(name, app, server, environment, source)
    return app


def _check_codes(tree: Any, source: Source, prefix: str) -> None:
    for code, wanted in tree.items() if isinstance(tree, dict) else ():
        if type(code) is not int:
            raise ConfigError(f"{source.of(prefix)}: {prefix}: the code {code!r} must be a whole number")
        _convert(wanted, str, source, f"{prefix}.{code}")


def _convert(tree: Any, kind: type[T], source: Source, prefix: str = "") -> T:
    """Convert a tree to a record; an error names where it stands and the key, `prefix` included."""
    _check_keys(tree, source, prefix)
    try:
        return msgspec.convert(tree, kind, dec_hook=_path_hook)
    except msgspec.ValidationError as error:
        # msgspec says "Expected `int`, got `str` - at `$.server.listen`", or "... - at `key` in `$.apps`".
        what, _, at = str(error).partition(" - at `")
        key = f"{prefix}{at.rpartition('`$')[2] if '`$' in at else at.removeprefix('$')}".rstrip("`").removeprefix(".")
        if field := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", what):
            key = f"{key}.{field[2]}".removeprefix(".")
            what = "no such key" if field[1] == "contains unknown" else "is required"
        elif what.startswith("Expected `str`") and what.endswith(("`int`", "`float`", "`bool`")):
            what += ": put it in quotes"
        elif what.startswith("Invalid enum value"):
            what = f"must be one of {', '.join(_choices(kind, key.removeprefix(prefix)))}"
        raise ConfigError(f"{source.of(key)}: {key}{': ' if key else ''}{what}") from None


def _choices(kind: Any, key: str) -> tuple[str, ...]:
    """Return the values that a key of a record may have."""
    for name in key.removeprefix(".").split("."):
        kind = get_type_hints(kind)[name]
    choices: tuple[str, ...] = get_args(kind)
    return choices


def _check_app(
    name: str, app: AppConfig, server: ServerConfig | None, environment: Mapping[str, str], source: Source
) -> None:
    def refuse(key: str, why: str) -> ConfigError:
        return ConfigError(f"{source.of(f'apps.{name}.{key}')}: apps.{name}.{key}: {why}")

    if (app.secret_key_file is None) == (app.secret_key_env is None):
        raise refuse("secret_key_file", "exactly one of secret_key_file and secret_key_env is required")
    if not is_address(app.base_url, "https", allow_path=True):
        raise refuse("base_url", "must be https://host[:port][/prefix], without user, query and fragment")
    if app.proxy is not None and not is_address(app.proxy, "http", allow_path=False):
        raise refuse("proxy", "must be http://host:port, without a user")
    if app.ca_file is not None and not app.ca_file.is_file():
        raise refuse("ca_file", f"no such file: {app.ca_file}")
    if app.platform != "ios" and app.environment != "product":
        raise refuse("environment", "is for iOS apps only")
    if server is not None and app.total_timeout_s >= server.shutdown_grace_s:
        raise refuse(
            "total_timeout_s",
            f"must be below server.shutdown_grace_s ({server.shutdown_grace_s:g} s), "
            "else a stop would cut calls in flight",
        )
    try:
        read_secret(name, app, environment)
    except ConfigError as error:
        raise ConfigError(f"{source.of(str(error).partition(': ')[0])}: {error}") from None
