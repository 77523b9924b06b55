"""The configuration: one YAML file and the environment, as frozen records. Strict; every key has a description here.

Nothing is built here, and no file but the configuration and its secrets is read. `docs/configuration.md` is generated
from these records.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta

ENV_PREFIX = "PUSH_SIDECAR_"
ENV_CONFIG = ENV_PREFIX + "CONFIG"
ENV_NESTING = "__"

Seconds = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


T = TypeVar("T")


class ConfigError(Exception):
    """A configuration that the sidecar refuses; the text names the key and where it stands."""


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
        dict[Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")], AppConfig],
        Meta(min_length=1, description="The apps, by the name that callers give in `app`."),
    ]


class _StrictLoader(yaml.SafeLoader):
    """PyYAML without its silent "the last of two equal keys wins"."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise ConfigError(f"the key {key!r} stands twice (line {node.value[index][0].start_mark.line + 1})")
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Load the configuration from a file (or `PUSH_SIDECAR_CONFIG`) and the environment, which wins.

    A variable `PUSH_SIDECAR_SERVER__LISTEN` sets the key `server.listen`; its value is read as YAML.

    Raises `ConfigError` naming the key and the file.
    """
    if path is None and (named := environment.get(ENV_CONFIG)):
        path = Path(named)
    where = str(path) if path else "the environment"
    tree = _read_file(path) if path else {}
    _apply_environment(tree, environment)
    apps = tree.get("apps")
    if isinstance(apps, dict):
        # One by one: msgspec does not say which key of a mapping it means.
        tree["apps"] = {name: _convert(app, AppConfig, where, f"apps.{name}") for name, app in apps.items()}
    config = _convert(tree, Config, where)
    for name, app in config.apps.items():
        _check_app(config, name, app, environment, where)
    return config


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


def _read_file(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(), Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}{_line_of(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: the top level must be a mapping")
    return tree


def _line_of(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1})" if mark else ""


def _apply_environment(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    for name, text in sorted(environment.items()):
        if not name.startswith(ENV_PREFIX) or name == ENV_CONFIG:
            continue
        keys = name.removeprefix(ENV_PREFIX).split(ENV_NESTING)
        if keys[0] != "APPS":
            keys = [key.lower() for key in keys]
        else:
            keys = ["apps", *keys[1:2], *(key.lower() for key in keys[2:])]
            keys[1:2] = [_app_name(tree, keys[1])] if len(keys) > 1 else []
        _set(tree, keys, _parse(name, text), name)


def _app_name(tree: dict[str, Any], wanted: str) -> str:
    """Environment names are upper case and know no dash: find the app that is meant, else a new one in lower case."""

    def fold(name: str) -> str:
        return name.upper().replace("-", "_").replace(".", "_")

    apps = tree.get("apps")
    known = [str(name) for name in apps] if isinstance(apps, dict) else []
    return next((name for name in known if fold(name) == fold(wanted)), wanted.lower())


def _parse(name: str, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ConfigError):
        raise ConfigError(f"{name}: the value is not YAML") from None


def _set(tree: dict[str, Any], keys: list[str], value: Any, name: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{name}: {key} is not a mapping in the configuration file")
    tree[keys[-1]] = value


def _path_hook(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("must be a path")


def _convert(tree: Any, kind: type[T], where: str, prefix: str = "") -> T:
    """Convert a tree to a record; an error names the file and the key, `prefix` included."""
    try:
        return msgspec.convert(tree, kind, dec_hook=_path_hook)
    except msgspec.ValidationError as error:
        # msgspec says "Expected `int`, got `str` - at `$.server.listen`".
        what, _, at = str(error).partition(" - at `")
        key = f"{prefix}{at.rstrip('`').removeprefix('$')}".removeprefix(".")
        raise ConfigError(f"{where}: {key}{': ' if key else ''}{what}") from None


def _check_app(config: Config, name: str, app: AppConfig, environment: Mapping[str, str], where: str) -> None:
    prefix = f"{where}: apps.{name}"
    if (app.secret_key_file is None) == (app.secret_key_env is None):
        raise ConfigError(f"{prefix}: exactly one of secret_key_file and secret_key_env is required")
    if not app.base_url.startswith("https://") or len(app.base_url.split("/")[2]) == 0:
        raise ConfigError(f"{prefix}.base_url: must be https://host[:port][/prefix]")
    if any(mark in app.base_url for mark in "?#@ "):
        raise ConfigError(f"{prefix}.base_url: must have no query, fragment, user or space")
    if app.proxy is not None and not app.proxy.startswith("http://"):
        raise ConfigError(f"{prefix}.proxy: must be http://host:port")
    if app.ca_file is not None and not app.ca_file.is_file():
        raise ConfigError(f"{prefix}.ca_file: no such file: {app.ca_file}")
    if app.platform != "ios" and app.environment != "product":
        raise ConfigError(f"{prefix}.environment: is for iOS apps only")
    if app.total_timeout_s >= config.server.shutdown_grace_s:
        raise ConfigError(
            f"{prefix}.total_timeout_s: must be below server.shutdown_grace_s ({config.server.shutdown_grace_s:g} s), "
            "else a stop would cut calls in flight"
        )
    try:
        read_secret(name, app, environment)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
