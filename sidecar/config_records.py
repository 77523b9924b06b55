"""The configuration as frozen records: every key with its type, its range, its default and its description.

How they are read from a file and the environment is config.py's; `docs/configuration.md` is generated from here.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]

MIB = 1024 * 1024


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


SocketMode = Annotated[
    str,
    Meta(
        pattern="^0?[0-7]{3}$",
        description="Mode of a unix socket, in octal digits. Its directory decides who can reach it.",
    ),
]
SocketGroup = Annotated[
    str | None, Meta(description="Group of a unix socket, by name or number; else the process's own.")
]


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS of a listener."""

    cert_file: Annotated[
        Path | None,
        Meta(description="PEM file of the certificate and its chain. With `key_file` it turns TLS on; read on change."),
    ] = None
    key_file: Annotated[Path | None, Meta(description="PEM file of its private key, without a passphrase.")] = None
    client_ca_file: Annotated[
        Path | None,
        Meta(description="PEM file of the CAs of callers: each must then show a certificate of theirs (mutual TLS)."),
    ] = None


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gRPC listener for callers, and what holds for the others, too."""

    listen: Annotated[str, Meta(description="Address for callers: `host:port`, or `unix:/path`.")] = "127.0.0.1:50051"
    socket_mode: SocketMode = "0666"
    socket_group: SocketGroup = None
    tls: Annotated[TlsConfig, Meta(description="TLS.")] = TlsConfig()
    reflection: Annotated[bool, Meta(description="Serve gRPC reflection, so that grpcurl needs no proto files.")] = True
    so_reuseport: Annotated[
        bool, Meta(description="Let several processes bind the same port. Off: a busy port refuses to start.")
    ] = False
    max_message_bytes: Annotated[
        int, Meta(ge=1024, le=64 * 1024 * 1024, description="Largest request taken, in bytes.")
    ] = 4 * 1024 * 1024
    max_pending_bytes: Annotated[
        int,
        Meta(
            ge=4 * 1024,
            le=1024 * 1024 * MIB,
            description="What the calls in progress may hold together, in bytes: each its request twice (as it came, "
            "and as it is read), its body and its answer. Beyond it OVERLOADED at once. At least 3 times "
            "`max_message_bytes`. The default leaves room for the rest within 256 MiB.",
        ),
    ] = 32 * MIB
    max_metadata_bytes: Annotated[
        int, Meta(ge=1024, le=1024 * 1024, description="Largest metadata of a request taken, in bytes.")
    ] = 16 * 1024
    max_connection_age_s: Annotated[
        float,
        Meta(
            ge=0,
            le=30 * 86400,
            description="Callers are asked to connect anew after this, in seconds, so that they spread over new "
            "processes; their calls end first. 0: never.",
        ),
    ] = 0.0
    max_connection_idle_s: Annotated[
        float,
        Meta(
            ge=0, le=30 * 86400, description="Connections without a call are closed after this, in seconds. 0: never."
        ),
    ] = 0.0
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


class ListenerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further listener for callers, such as a socket for one of them alone."""

    listen: Annotated[str, Meta(description="Address: `host:port`, or `unix:/path`.")]
    socket_mode: SocketMode = "0660"
    socket_group: SocketGroup = None
    tls: Annotated[TlsConfig, Meta(description="TLS.")] = TlsConfig()


class CallerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A caller, by its certificate or its socket. Where any is given, all others are refused."""

    san: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(
            description="Subject alternative names of its certificate, any of which names it: a URI such as "
            "`spiffe://example.org/orders`, a DNS name, or an IP address. Needs a listener with `tls.client_ca_file`."
        ),
    ] = []
    listener: Annotated[
        str | None,
        Meta(
            description="Without `san`: the listener that is for it alone, a unix socket. With it: the only listener "
            "on which its certificate counts."
        ),
    ] = None
    apps: Annotated[list[str] | msgspec.UnsetType, Meta(description="The apps that it may use. Unset: all.")] = (
        msgspec.UNSET
    )
    rate: Annotated[
        str | None,
        Meta(
            description="Calls that it may make, such as `100/second`: so many at once, and refilled evenly; beyond it "
            "QUOTA_EXCEEDED with the time to wait. Each sidecar counts alone. Unset: no limit."
        ),
    ] = None


class HealthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cleartext gRPC health listener."""

    listen: Annotated[str, Meta(description="Address of `grpc.health.v1`, and of nothing else.")] = "127.0.0.1:50053"


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP listener of operators."""

    listen: Annotated[str, Meta(description="Address of `/metrics`, `/healthz`, `/readyz` and `/statusz`.")] = (
        "127.0.0.1:50052"
    )


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logs, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severe level written.")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(
            description="`json`, one object a line, or `text` for people; `auto` is `text` on a terminal, else `json`."
        ),
    ] = "auto"
    access: Annotated[
        Literal["none", "failures", "all"],
        Meta(
            description="A line for each push that failed (`failures`: of each app, reason and cause at most ten a "
            "minute, and how many more there were), for every push without exception (`all`), or for no push (`none`)."
        ),
    ] = "failures"
    target_hash_key_file: Annotated[
        Path | None,
        Meta(
            description="File that holds a key of at least 32 characters. With it, the lines and spans of pushes to a "
            "single token or account have a hash of that target by this key (`push-sidecar hash-target` computes "
            "it); read on change. Unset: they have nothing of a target."
        ),
    ] = None


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
        Path | None,
        Meta(description="PEM file of the CAs to trust for the vendor, instead of the system's; read on change."),
    ] = None
    client_cert_file: Annotated[
        Path | None,
        Meta(
            description="PEM file of the certificate that is shown to a vendor that demands one, the CAs between after "
            "it; read on change."
        ),
    ] = None
    client_key_file: Annotated[
        Path | None,
        Meta(description="PEM file of its private key, without a passphrase. Both files, or neither."),
    ] = None
    proxy: Annotated[str | None, Meta(description="HTTP proxy for the vendor, `http://host:port`.")] = None
    environment: Annotated[
        Literal["product", "dev"], Meta(description="Apple's environment where a push names none. iOS only.")
    ] = "product"
    connect_timeout_s: Annotated[
        Seconds, Meta(description="Limit of lookup, TCP connect and TLS handshake together, in seconds.")
    ] = 3.0
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
        Meta(
            ge=0,
            le=1_000_000,
            description="Calls that may wait for a place, and those that may wait for each quota; beyond it OVERLOADED "
            "at once.",
        ),
    ] = 256
    max_pending_bytes: Annotated[
        int,
        Meta(
            ge=4 * 1024,
            le=1024 * 1024 * MIB,
            description="What the app's calls in progress may hold together, in bytes, counted as "
            "`server.max_pending_bytes` is: below that, so that an app whose vendor hangs leaves some to the others. "
            "Beyond it OVERLOADED at once. At least 3 times `server.max_message_bytes`. The default is enough for "
            "190 calls with lists of 1,000 tokens of 40 characters.",
        ),
    ] = 24 * MIB
    overload_retry_after_s: Annotated[
        Seconds, Meta(description="What OVERLOADED tells its caller to wait, in seconds.")
    ] = 1.0
    quota_retry_after_s: Annotated[
        Seconds,
        Meta(
            description="How long calls of the refused class, and those that share its quota, are paused when the "
            "vendor refuses for its quota and names no time, in seconds; what QUOTA_EXCEEDED then tells to wait."
        ),
    ] = 60.0
    max_retry_after_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86_400,
            description="The longest such pause, in seconds, whatever the vendor's `Retry-After` names; what "
            "QUOTA_EXCEEDED then tells to wait at most.",
        ),
    ] = 3600.0
    quotas: Annotated[
        dict[str, str] | None,
        Meta(
            description="Calls that may be made, by class of call (for `xg`: `all`, `tag`, `single`, `list`; joined by "
            "`+` they share one quota), such as `all+tag: 30/hour` or `single: 100/second`, or several limits, such as "
            "`5/minute; 20/day`. A limit is `N/unit` or `N per M units`, of second, minute, hour, day, month (30 days) "
            "or year (360 days). Unset: what the vendor documents; `{}`: none."
        ),
    ] = None
    max_response_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=64 * 1024 * 1024,
            description="Largest answer read, in bytes; a larger one is OUTCOME_UNKNOWN.",
        ),
    ] = 1024 * 1024
    max_response_head_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            le=1024 * 1024,
            description="Largest head of an answer that is read (status line, headers, interim answers), in bytes.",
        ),
    ] = 65_536
    max_response_headers: Annotated[
        int, Meta(ge=1000, le=100_000, description="Most headers of an answer that are read.")
    ] = 1000
    retry: Annotated[RetryConfig, Meta(description="Retries.")] = RetryConfig()
    code_classes: Annotated[
        dict[int, str],
        Meta(
            description="Other classes for vendor codes, where the operator knows better, such as `10100: VENDOR_BUSY`."
        ),
    ] = {}


class IdempotencyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a call with a `request_id` safe to repeat."""

    store: Annotated[
        Literal["memory", "sqlite", "redis"],
        Meta(
            description="Where request ids are kept: `memory` ends with the process, `sqlite` survives its restart, "
            "`redis` (or Valkey) is shared by replicas."
        ),
    ] = "memory"
    window_s: Annotated[
        float,
        Meta(
            ge=60,
            le=30 * 86400,
            description="How long an answer is kept and given again, in seconds; at least twice every "
            "`total_timeout_s`.",
        ),
    ] = 86400.0
    lease_s: Annotated[
        Seconds,
        Meta(
            description="How long a call that has not begun to send keeps its request id from others when its sidecar "
            "is gone, in seconds."
        ),
    ] = 10.0
    max_bytes: Annotated[
        int,
        Meta(
            ge=64 * 1024,
            le=1024 * 1024 * MIB,
            description="Room for request ids and their answers in `memory` or `sqlite`, in bytes (`redis` has its own "
            "`maxmemory`). When it is used up by records within their window, calls with a new request id are refused.",
        ),
    ] = 64 * MIB
    max_app_share: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(
            description="Share of `max_bytes` that the request ids of one app may take, so that a flood of one app's "
            "leaves room for the others'; beyond it OVERLOADED for this app. Unset: 1 where one app is configured, 0.5 "
            "where several are.",
        ),
    ] = None
    sqlite_file: Annotated[
        Path | None, Meta(description="The database, on a local disk; required for `sqlite`. Made when missing.")
    ] = None
    on_store_failure: Annotated[
        Literal["refuse", "continue"],
        Meta(
            description="When the store cannot be reached: `refuse` calls that have a request id, or `continue` "
            "without it, at the risk that a repeated call pushes twice."
        ),
    ] = "refuse"


class PacingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the apps' `quotas` are counted."""

    storage: Annotated[
        Literal["memory", "redis"],
        Meta(description="`memory` counts for this process alone, `redis` (or Valkey) for all that share it."),
    ] = "memory"


class BreakerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fails fast while a vendor's host cannot be reached or does not answer."""

    failure_ratio: Annotated[
        float,
        Meta(gt=0, le=1, description="Share of calls that were not sent or not answered, from which on it opens."),
    ] = 0.5
    min_calls: Annotated[Count, Meta(description="Calls within `window_s` below which it never opens.")] = 20
    window_s: Annotated[Seconds, Meta(description="How far back calls count, in seconds.")] = 10.0
    open_s: Annotated[
        Seconds, Meta(description="How long it stays open before a single call tries the vendor again, in seconds.")
    ] = 5.0


class RedisConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Redis or Valkey of `idempotency.store` and `pacing.storage`."""

    url: Annotated[
        str | None,
        Meta(
            description="`redis://host:port/db`, `rediss://host:port/db` (TLS) or `unix:///path`, without user and "
            "password. Required where `redis` is chosen."
        ),
    ] = None
    username: Annotated[str | None, Meta(description="User of its access list.")] = None
    password_file: Annotated[
        Path | None, Meta(description="File that holds the password; read again for every connection.")
    ] = None
    ca_file: Annotated[
        Path | None, Meta(description="PEM file of the CAs to trust for `rediss`, instead of the system's.")
    ] = None
    key_prefix: Annotated[str, Meta(min_length=1, max_length=100, description="What every key begins with.")] = (
        "push-sidecar:"
    )
    timeout_s: Annotated[Seconds, Meta(description="Limit of a connect and of a command, in seconds.")] = 1.0


class DnsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lookups of host names: those of vendors, proxies and Redis."""

    stale_s: Annotated[
        float,
        Meta(
            ge=0,
            le=7 * 86400,
            description="How long the last good address of a name is still used while its lookups hang or fail, in "
            "seconds. 0: never. An hour outlasts most outages of a name server; much later, in a cluster, the address "
            "may be somebody else's.",
        ),
    ] = 3600.0


class SecretsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the files of secrets are watched."""

    reload_interval_s: Annotated[
        Seconds,
        Meta(
            description="How often the apps' `secret_key_file`, `ca_file` and client certificates, and the listeners' "
            "certificates, are looked at for a change, in seconds."
        ),
    ] = 10.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything."""

    server: Annotated[ServerConfig, Meta(description="The gRPC listener for callers.")] = ServerConfig()
    listeners: Annotated[dict[str, ListenerConfig], Meta(description="Further listeners, by name.")] = {}
    callers: Annotated[dict[str, CallerConfig], Meta(description="Who may use what, by a name for each.")] = {}
    health: Annotated[HealthConfig, Meta(description="The health listener.")] = HealthConfig()
    admin: Annotated[AdminConfig, Meta(description="The operators' HTTP listener.")] = AdminConfig()
    log: Annotated[LogConfig, Meta(description="Logs.")] = LogConfig()
    idempotency: Annotated[IdempotencyConfig, Meta(description="Request ids.")] = IdempotencyConfig()
    pacing: Annotated[PacingConfig, Meta(description="Where quotas are counted.")] = PacingConfig()
    breaker: Annotated[BreakerConfig, Meta(description="Failing fast.")] = BreakerConfig()
    redis: Annotated[RedisConfig, Meta(description="Redis or Valkey.")] = RedisConfig()
    dns: Annotated[DnsConfig, Meta(description="Lookups of host names.")] = DnsConfig()
    secrets: Annotated[SecretsConfig, Meta(description="Watching secrets.")] = SecretsConfig()
    apps: Annotated[
        dict[str, AppConfig],
        Meta(min_length=1, description="The apps, by the name that callers give in `app`."),
    ]
