"""Any text as a configuration: it is a `Config`, or refused by a `ConfigError`, and nothing else is raised."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.app import problems_of
from sidecar.config import (
    AdminConfig,
    AppConfig,
    BreakerConfig,
    CallerConfig,
    ConfigError,
    HealthConfig,
    IdempotencyConfig,
    ListenerConfig,
    LogConfig,
    PacingConfig,
    RedisConfig,
    RetryConfig,
    SecretsConfig,
    ServerConfig,
    TlsConfig,
    load,
)
from sidecar.telemetry.span_limits import check_span_limits
from tests.soak.scale import examples
from tests.support.certificates import Authority

settings.load_profile("fuzz")  # conftest.py's

SECTIONS: dict[str, list[type[msgspec.Struct]]] = {
    "server": [ServerConfig],
    "server.tls": [TlsConfig],
    "listeners.other": [ListenerConfig],
    "callers.orders": [CallerConfig],
    "health": [HealthConfig],
    "admin": [AdminConfig],
    "log": [LogConfig],
    "idempotency": [IdempotencyConfig],
    "pacing": [PacingConfig],
    "breaker": [BreakerConfig],
    "redis": [RedisConfig],
    "secrets": [SecretsConfig],
    "apps.shop": [AppConfig],
    "apps.shop.retry": [RetryConfig],
}
KEYS = [f"{section}.{key}" for section, kinds in SECTIONS.items() for kind in kinds for key in kind.__struct_fields__]
KEYS += ["", "apps", "apps.shop.quotas.single", "apps.shop.code_classes.10100", *SECTIONS]
VARIABLES = [
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_TRACES_SAMPLER_ARG", "OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_SPAN_LINK_COUNT_LIMIT", "PUSH_SIDECAR_", "PUSH_SIDECAR_CONFIG", "SHOP_KEY",
]  # fmt: skip

NASTY = [
    "2024-99-99", "2024-01-31", "9" * 5000, f"0x{'f' * 5000}", f"1{':1' * 400}.5", "!!int x",
    "!!float x", "!!bool x", "!!timestamp x", "!!binary x", "!!set {a}", "!!omap [a]", "&a [*a]", "&a {b: *a}",
    "{<<: 3}", "{? [a] : b}", "unix:/a\0b", '"unix:/a\\0b"', '"unix:/\\ud800"', f"unix:/{'a' * 200}", "unix:/tmp",
    "h:\u0661", f"h:{'9' * 5000}", f"'{'9' * 5000}'", f"{'9' * 4000}/second", f"'{'9' * 4000}/second'",
    "'1/ 9999999999 day'", "0660\n", '"0660\\n"', "'a - at `$.x`'", '"http://[::1"', "https://[", '"a\\0b"', "~", "''",
    "{}", "[]", ".nan", "-.inf",
]  # fmt: skip
DEEP = ["[" * 3000, "{a: " * 3000]
TEXTS = st.one_of(
    st.sampled_from([*NASTY, *DEEP]),
    st.text(max_size=40),
    st.text(alphabet="{}[]:,&*!|>'\"%@`?#-. \n\tae019_~<=/\\", max_size=40),
    # As the value of a quoted text, so that it comes as far as the checks of the key.
    st.text(max_size=40).map(lambda text: msgspec.json.encode(text).decode()),
)
SECRET = "planted-secret"
BASE = {"platform": "android", "base_url": "https://push.example.com", "app_id": "a1", "secret_key_env": "SHOP_KEY"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("configuration")
    # Of one certificate: to read the system's takes most of the time.
    assert Authority(folder).ca_file == folder / "ca.pem"
    return folder / "config.yaml"


def base(file: Path) -> dict[str, str]:
    return {**BASE, "ca_file": str(file.with_name("ca.pem"))}


def variable_of(key: str) -> str:
    return "PUSH_SIDECAR_" + key.upper().replace(".", "__")


def take(file: Path, environment: dict[str, str]) -> None:
    """Load a configuration and make every check of it, as `check` and `serve` do."""
    try:
        check_span_limits(environment)
        config = load(file, {"SHOP_KEY": SECRET, **environment})
        problems = problems_of(config, environment)
    except ConfigError as error:
        problems = [str(error)]
    assert SECRET not in "".join(problems)


@settings(max_examples=examples(2000))
@given(text=TEXTS)
@example(text="\ufeff{}")
def test_any_text_as_the_file(file: Path, text: str) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    take(file, {})


@settings(max_examples=examples(2000))
@given(content=st.binary(max_size=60))
def test_any_bytes_as_the_file(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    take(file, {})


def nested(key: str, text: str) -> str:
    """Return a file in which a key has a text as its value, just as it stands."""
    parts = [part for part in key.split(".") if part]
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(parts)]
    return "\n".join(lines) + " " + text


@settings(max_examples=examples(2000))
@given(key=st.sampled_from(KEYS), text=TEXTS)
def test_any_text_as_the_value_of_any_key(file: Path, key: str, text: str) -> None:
    variables = {f"PUSH_SIDECAR_APPS__SHOP__{name.upper()}": value for name, value in base(file).items()}
    file.write_bytes(nested(key, text).encode("utf-8", "surrogatepass"))
    # What the key itself sets is not set over by the variables that make the rest complete.
    take(file, {name: value for name, value in variables.items() if name != variable_of(key)})


@settings(max_examples=examples(2000))
@given(name=st.sampled_from([*KEYS, *VARIABLES]), text=TEXTS)
def test_any_text_as_the_value_of_any_variable(file: Path, name: str, text: str) -> None:
    file.write_text(msgspec.json.encode({"apps": {"shop": base(file)}}).decode())
    take(file, {"OTEL_TRACES_EXPORTER": "otlp", (name if name in VARIABLES else variable_of(name)): text})


@pytest.mark.parametrize("text", NASTY, ids=[repr(text[:20]) for text in NASTY])
def test_texts_that_are_no_plain_ones_at_every_key(file: Path, text: str) -> None:
    file.write_text(msgspec.json.encode({"apps": {"shop": base(file)}}).decode())
    for key in KEYS:
        take(file, {variable_of(key): text})
