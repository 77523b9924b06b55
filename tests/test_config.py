"""The configuration: every key, and what is said about what is wrong with it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.config import (
    AppConfig,
    CallerConfig,
    Config,
    ConfigError,
    ListenerConfig,
    Secret,
    TlsConfig,
    load,
    read_secret,
)
from tests.support.process import ROOT

SECRET = "planted-secret-0f3a"
APP: dict[str, Any] = {
    "platform": "android",
    "base_url": "https://push.example.com",
    "app_id": "a1",
    "secret_key_env": "SHOP_KEY",
}
ENVIRONMENT = {"SHOP_KEY": SECRET}

# Written by hand: what a caller, an operator and the documentation rely on.
DEFAULTS = {
    "server": {
        "listen": "127.0.0.1:50051",
        "socket_mode": "0666",
        "socket_group": None,
        "tls": TlsConfig(),
        "reflection": True,
        "so_reuseport": False,
        "max_message_bytes": 4194304,
        "max_pending_bytes": 33554432,
        "max_metadata_bytes": 16384,
        "max_connection_age_s": 0.0,
        "max_connection_idle_s": 0.0,
        "default_timeout_s": 30.0,
        "deadline_margin_s": 0.05,
        "shutdown_grace_s": 20.0,
    },
    "health": {"listen": "127.0.0.1:50053"},
    "admin": {"listen": "127.0.0.1:50052"},
    "log": {"level": "info", "format": "auto", "access": "failures", "target_hash_key_file": None},
    "idempotency": {
        "store": "memory",
        "window_s": 86400.0,
        "lease_s": 10.0,
        "max_bytes": 67108864,
        "max_app_share": None,
        "sqlite_file": None,
        "on_store_failure": "refuse",
    },
    "pacing": {"storage": "memory"},
    "breaker": {"failure_ratio": 0.5, "min_calls": 20, "window_s": 10.0, "open_s": 5.0},
    "redis": {
        "url": None,
        "username": None,
        "password_file": None,
        "ca_file": None,
        "key_prefix": "push-sidecar:",
        "timeout_s": 1.0,
    },
    "dns": {"stale_s": 3600.0},
    "secrets": {"reload_interval_s": 10.0},
}
APP_DEFAULTS = {
    "provider": "xg",
    "secret_key_file": None,
    "ca_file": None,
    "proxy": None,
    "environment": "product",
    "connect_timeout_s": 3.0,
    "read_timeout_s": 10.0,
    "total_timeout_s": 15.0,
    "keepalive_idle_s": 15.0,
    "max_in_flight": 64,
    "max_queue": 256,
    "max_pending_bytes": 25165824,
    "overload_retry_after_s": 1.0,
    "quota_retry_after_s": 60.0,
    "max_retry_after_s": 3600.0,
    "quotas": None,
    "max_response_bytes": 1048576,
    "max_response_head_bytes": 65536,
    "max_response_headers": 1000,
    "code_classes": {},
}
RETRY_DEFAULTS = {"max_attempts": 3, "initial_backoff_s": 0.1, "max_backoff_s": 2.0, "budget_ratio": 0.2}


def write(directory: Path, tree: object) -> Path:
    path = directory / "config.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def load_app(directory: Path, **changes: Any) -> AppConfig:
    path = write(directory, {"apps": {"shop": {**APP, **changes}}})
    return load(path, ENVIRONMENT).apps["shop"]


def refusal(directory: Path, tree: object, environment: dict[str, str] | None = None) -> str:
    """Load what must be refused; returns the text without the file's name, which must stand in front."""
    path = write(directory, tree)
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRONMENT if environment is None else environment)
    text = str(caught.value)
    assert SECRET not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def app_refusal(directory: Path, **changes: Any) -> str:
    tree = {"apps": {"shop": {key: value for key, value in {**APP, **changes}.items() if value is not None}}}
    return refusal(directory, tree)


def test_every_default_is_as_documented(tmp_path: Path) -> None:
    config = load(write(tmp_path, {"apps": {"shop": APP}}), ENVIRONMENT)
    for section, keys in DEFAULTS.items():
        record = getattr(config, section)
        assert {key: getattr(record, key) for key in record.__struct_fields__} == keys, section
    app = config.apps["shop"]
    given = {key: getattr(app, key) for key in app.__struct_fields__ if key not in {*APP, "retry"}}
    assert given == APP_DEFAULTS
    assert {key: getattr(app.retry, key) for key in app.retry.__struct_fields__} == RETRY_DEFAULTS


def test_every_key_can_be_given(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("a certificate")
    key_file = tmp_path / "key"
    key_file.write_text(f"  {SECRET}\n")
    hash_key_file = tmp_path / "hash-key"
    hash_key_file.write_text("0123456789abcdef" * 2)
    sections = {
        "server": {
            "listen": "unix:/run/push.sock", "socket_mode": "660", "socket_group": "app",
            "tls": {"cert_file": "/c", "key_file": "/k", "client_ca_file": "/ca"},
            "reflection": False, "so_reuseport": True, "max_message_bytes": 2048, "max_metadata_bytes": 2048,
            "max_pending_bytes": 6144, "max_connection_age_s": 3600, "max_connection_idle_s": 60,
            "default_timeout_s": 5, "deadline_margin_s": 0, "shutdown_grace_s": 40,
        },
        "health": {"listen": "0.0.0.0:1"},
        "admin": {"listen": "[::1]:2"},
        "log": {
            "level": "debug", "format": "text", "access": "all", "target_hash_key_file": str(hash_key_file),
        },
        "idempotency": {
            "store": "redis", "window_s": 90, "lease_s": 1, "max_bytes": 65536, "max_app_share": 0.25,
            "sqlite_file": str(tmp_path / "ids.db"),
            "on_store_failure": "continue",
        },
        "pacing": {"storage": "redis"},
        "breaker": {"failure_ratio": 1, "min_calls": 1, "window_s": 2, "open_s": 3},
        "redis": {
            "url": "rediss://redis.example.com:6380/1", "username": "u", "password_file": str(key_file),
            "ca_file": str(ca_file), "key_prefix": "p:", "timeout_s": 0.5,
        },
        "dns": {"stale_s": 0},
        "secrets": {"reload_interval_s": 2},
    }  # fmt: skip
    app = {
        "provider": "xg", "platform": "ios", "base_url": "https://push.example.com:8443/prefix", "app_id": "i1",
        "secret_key_file": str(key_file), "ca_file": str(ca_file), "proxy": "http://proxy:3128", "environment": "dev",
        "connect_timeout_s": 1, "read_timeout_s": 2.5, "total_timeout_s": 39, "keepalive_idle_s": 4, "max_in_flight": 5,
        "max_queue": 0, "max_pending_bytes": 6145, "overload_retry_after_s": 6, "quota_retry_after_s": 7,
        "max_retry_after_s": 8, "max_response_bytes": 4096,
        "max_response_head_bytes": 100_000, "max_response_headers": 2000, "quotas": {"all+tag": "10/hour"},
        "retry": {"max_attempts": 1, "initial_backoff_s": 0.5, "max_backoff_s": 0.6, "budget_ratio": 0},
        "code_classes": {10100: "VENDOR_BUSY"},
    }  # fmt: skip
    config = load(write(tmp_path, {**sections, "apps": {"shop-ios": app}}), {})
    for section, keys in sections.items():
        record = getattr(config, section)
        given = {key: Path(value) if key.endswith("_file") else value for key, value in keys.items()}
        if "tls" in given:
            given["tls"] = TlsConfig(**{key: Path(path) for key, path in given["tls"].items()})
        assert {key: getattr(record, key) for key in record.__struct_fields__} == given
    loaded = config.apps["shop-ios"]
    expected = {**app, "secret_key_file": key_file, "ca_file": ca_file, "secret_key_env": None}
    retry = expected.pop("retry")
    assert {key: getattr(loaded, key) for key in loaded.__struct_fields__ if key != "retry"} == expected
    assert {key: getattr(loaded.retry, key) for key in loaded.retry.__struct_fields__} == retry
    assert read_secret("shop-ios", loaded, {}).reveal() == SECRET


WRONG_TYPES: list[tuple[str, Any, str]] = [
    ("server.listen", 50051, "server.listen: Expected `str`, got `int`: put it in quotes"),
    ("server.reflection", "yes please", "server.reflection: Expected `bool`, got `str`"),
    ("server.so_reuseport", 1, "server.so_reuseport: Expected `bool`, got `int`"),
    ("server.max_message_bytes", 1023, "server.max_message_bytes: Expected `int` >= 1024"),
    ("server.max_pending_bytes", 4095, "server.max_pending_bytes: Expected `int` >= 4096"),
    ("server.default_timeout_s", "30s", "server.default_timeout_s: Expected `float`, got `str`"),
    ("server.default_timeout_s", 0, "server.default_timeout_s: Expected `float` > 0.0"),
    ("server.deadline_margin_s", 5.1, "server.deadline_margin_s: Expected `float` <= 5.0"),
    ("server.deadline_margin_s", float("nan"), "server.deadline_margin_s: Expected `float` >= 0.0"),
    ("server.shutdown_grace_s", None, "server.shutdown_grace_s: Expected `float`, got `null`"),
    ("server.socket_mode", "rw-rw-rw-", "server.socket_mode: Expected `str` matching regex '^0?[0-7]{3}$'"),
    ("server.socket_mode", 438, "server.socket_mode: Expected `str`, got `int`: put it in quotes"),
    ("server.socket_group", 1000, "server.socket_group: Expected `str | null`, got `int`"),
    ("server.tls", "on", "server.tls: Expected `object`, got `str`"),
    ("server.tls.cert_file", 3, "server.tls.cert_file: must be a path"),
    ("server.tls.key_file", 3, "server.tls.key_file: must be a path"),
    ("server.tls.client_ca_file", 3, "server.tls.client_ca_file: must be a path"),
    ("server.max_metadata_bytes", 100, "server.max_metadata_bytes: Expected `int` >= 1024"),
    ("server.max_connection_age_s", -1, "server.max_connection_age_s: Expected `float` >= 0.0"),
    ("server.max_connection_idle_s", "1h", "server.max_connection_idle_s: Expected `float`, got `str`"),
    ("health.listen", ["a"], "health.listen: Expected `str`, got `array`"),
    ("admin.listen", {}, "admin.listen: Expected `str`, got `object`"),
    ("log.level", "loud", "log.level: must be one of debug, info, warning, error"),
    ("log.access", "some", "log.access: must be one of none, failures, all"),
    ("log.format", "xml", "log.format: must be one of auto, json, text"),
    ("log.target_hash_key_file", 3, "log.target_hash_key_file: must be a path"),
    ("log.target_hash_key_file", "/a\0b", "log.target_hash_key_file: must be a path"),
    ("idempotency.store", "disk", "idempotency.store: must be one of memory, sqlite, redis"),
    ("idempotency.window_s", 59, "idempotency.window_s: Expected `float` >= 60.0"),
    ("idempotency.lease_s", 0, "idempotency.lease_s: Expected `float` > 0.0"),
    ("idempotency.max_bytes", 1, "idempotency.max_bytes: Expected `int` >= 65536"),
    ("idempotency.max_app_share", 0, "idempotency.max_app_share: Expected `float` > 0.0"),
    ("idempotency.max_app_share", 1.5, "idempotency.max_app_share: Expected `float` <= 1.0"),
    ("idempotency.sqlite_file", 3, "idempotency.sqlite_file: must be a path"),
    ("idempotency.on_store_failure", "ignore", "idempotency.on_store_failure: must be one of refuse, continue"),
    ("pacing.storage", "sqlite", "pacing.storage: must be one of memory, redis"),
    ("breaker.failure_ratio", 0, "breaker.failure_ratio: Expected `float` > 0.0"),
    ("breaker.min_calls", 0, "breaker.min_calls: Expected `int` >= 1"),
    ("breaker.window_s", "10s", "breaker.window_s: Expected `float`, got `str`"),
    ("breaker.open_s", 3601, "breaker.open_s: Expected `float` <= 3600.0"),
    ("redis.url", 6379, "redis.url: Expected `str | null`, got `int`"),
    ("redis.username", 1, "redis.username: Expected `str | null`, got `int`"),
    ("redis.password_file", 3, "redis.password_file: must be a path"),
    ("redis.ca_file", 3, "redis.ca_file: must be a path"),
    ("redis.key_prefix", "", "redis.key_prefix: Expected `str` of length >= 1"),
    ("redis.timeout_s", 0, "redis.timeout_s: Expected `float` > 0.0"),
    ("dns.stale_s", -1, "dns.stale_s: Expected `float` >= 0.0"),
    ("dns.stale_s", 604801, "dns.stale_s: Expected `float` <= 604800.0"),
    ("secrets.reload_interval_s", -1, "secrets.reload_interval_s: Expected `float` > 0.0"),
    ("apps.shop.provider", "fcm", "apps.shop.provider: must be one of xg"),
    ("apps.shop.platform", "all", "apps.shop.platform: must be one of android, ios"),
    ("apps.shop.base_url", 1, "apps.shop.base_url: Expected `str`, got `int`: put it in quotes"),
    ("apps.shop.app_id", 1500001048, "apps.shop.app_id: Expected `str`, got `int`: put it in quotes"),
    ("apps.shop.app_id", "", "apps.shop.app_id: Expected `str` of length >= 1"),
    ("apps.shop.secret_key_file", 3, "apps.shop.secret_key_file: must be a path"),
    ("apps.shop.secret_key_file", "", "apps.shop.secret_key_file: must be a path"),
    ("apps.shop.secret_key_env", 3, "apps.shop.secret_key_env: Expected `str | null`, got `int`"),
    ("apps.shop.ca_file", False, "apps.shop.ca_file: must be a path"),
    ("apps.shop.proxy", 3128, "apps.shop.proxy: Expected `str | null`, got `int`"),
    ("apps.shop.environment", "test", "apps.shop.environment: must be one of product, dev"),
    ("apps.shop.connect_timeout_s", -1, "apps.shop.connect_timeout_s: Expected `float` > 0.0"),
    ("apps.shop.read_timeout_s", 3601, "apps.shop.read_timeout_s: Expected `float` <= 3600.0"),
    ("apps.shop.total_timeout_s", "x", "apps.shop.total_timeout_s: Expected `float`, got `str`"),
    ("apps.shop.keepalive_idle_s", 0, "apps.shop.keepalive_idle_s: Expected `float` > 0.0"),
    ("apps.shop.max_in_flight", 0, "apps.shop.max_in_flight: Expected `int` >= 1"),
    ("apps.shop.max_in_flight", 2.5, "apps.shop.max_in_flight: Expected `int`, got `float`"),
    ("apps.shop.max_pending_bytes", 4095, "apps.shop.max_pending_bytes: Expected `int` >= 4096"),
    ("apps.shop.max_queue", -1, "apps.shop.max_queue: Expected `int` >= 0"),
    ("apps.shop.overload_retry_after_s", 0, "apps.shop.overload_retry_after_s: Expected `float` > 0.0"),
    ("apps.shop.quota_retry_after_s", "1m", "apps.shop.quota_retry_after_s: Expected `float`, got `str`"),
    ("apps.shop.max_retry_after_s", 0, "apps.shop.max_retry_after_s: Expected `float` > 0.0"),
    ("apps.shop.max_retry_after_s", 86_401, "apps.shop.max_retry_after_s: Expected `float` <= 86400.0"),
    ("apps.shop.quotas", [], "apps.shop.quotas: Expected `object | null`, got `array`"),
    ("apps.shop.quotas", {"single": 5}, "apps.shop.quotas.single: Expected `str`, got `int`: put it in quotes"),
    ("apps.shop.quotas", {5: "5/second"}, "apps.shop.quotas: the key 5 must be a text: put it in quotes"),
    ("apps.shop.max_response_bytes", 10, "apps.shop.max_response_bytes: Expected `int` >= 1024"),
    ("apps.shop.max_response_head_bytes", 10, "apps.shop.max_response_head_bytes: Expected `int` >= 65536"),
    ("apps.shop.max_response_headers", 10, "apps.shop.max_response_headers: Expected `int` >= 1000"),
    ("apps.shop.retry", 3, "apps.shop.retry: Expected `object`, got `int`"),
    ("apps.shop.retry.max_attempts", 11, "apps.shop.retry.max_attempts: Expected `int` <= 10"),
    ("apps.shop.retry.initial_backoff_s", 0, "apps.shop.retry.initial_backoff_s: Expected `float` > 0.0"),
    ("apps.shop.retry.max_backoff_s", "1", "apps.shop.retry.max_backoff_s: Expected `float`, got `str`"),
    ("apps.shop.retry.budget_ratio", 1.1, "apps.shop.retry.budget_ratio: Expected `float` <= 1.0"),
    ("apps.shop.code_classes", [], "apps.shop.code_classes: Expected `object`, got `array`"),
    ("apps.shop.code_classes", {"many": "BUSY"}, "apps.shop.code_classes: the code 'many' must be a whole number"),
    ("apps.shop.code_classes", {True: "VENDOR_BUSY"}, "apps.shop.code_classes: the code True must be a whole number"),
    ("apps.shop.code_classes", {10100: 1}, "apps.shop.code_classes.10100: Expected `str`, got `int`: put it in quotes"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "said"), WRONG_TYPES, ids=[f"{row[0]}={row[1]!r}" for row in WRONG_TYPES])
def test_wrong_value_is_refused_naming_its_key(tmp_path: Path, key: str, value: object, said: str) -> None:
    tree: dict[str, Any] = {"apps": {"shop": dict(APP)}}
    at = tree
    *parents, last = key.split(".")
    for parent in parents:
        at = at.setdefault(parent, {})
    at[last] = value
    assert refusal(tmp_path, tree) == said


def test_table_of_wrong_values_has_every_key() -> None:
    keys = {f"{section}.{key}" for section, of in DEFAULTS.items() for key in of}
    keys |= {f"server.tls.{key}" for key in TlsConfig.__struct_fields__}
    keys |= {f"apps.shop.{key}" for key in AppConfig.__struct_fields__}
    keys |= {f"apps.shop.retry.{key}" for key in RETRY_DEFAULTS}
    assert keys == {row[0] for row in WRONG_TYPES}


REDIS_URL = (
    "redis.url: must be redis://host:port/db, rediss://host:port/db or unix:///path, without a user; a path has "
    "at most 107 bytes, and none of ?#@%"
)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"idempotency": {"store": "sqlite"}},
         "idempotency.sqlite_file: is required for idempotency.store sqlite"),
        ({"idempotency": {"store": "redis"}}, "redis.url: is required for idempotency.store redis"),
        ({"pacing": {"storage": "redis"}}, "redis.url: is required for pacing.storage redis"),
        ({"redis": {"ca_file": "none.pem"}}, "redis.ca_file: no such file: none.pem"),
        ({"redis": {"ca_file": "a" * 300}}, f"redis.ca_file: cannot read {'a' * 300}: File name too long"),
        ({"redis": {"password_file": "none"}},
         "redis.password_file: cannot read none: No such file or directory"),
        *(({"redis": {"url": url}},
           REDIS_URL)
          for url in ("redis.example.com", "http://redis.example.com", "redis://user:word@redis.example.com",
                      "redis://redis.example.com/zero", "redis://redis.example.com?db=1", "unix://redis.sock",
                      "unix:///redis.sock?db=1", f"unix:///{'r' * 107}", "redis://redis.example.com/0/1", "redis:///0", "unix:///")),
    ],
)  # fmt: skip
def test_sections_that_need_each_other_are_checked(tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    assert refusal(tmp_path, {**sections, "apps": {"shop": APP}}) == said


@pytest.mark.parametrize(
    "url",
    ["redis://redis.example.com", "redis://127.0.0.1:6379/0", "rediss://[::1]:6380/15", "unix:///run/redis.sock",
     "redis://redis.example.com/"],
)  # fmt: skip
def test_addresses_of_redis(tmp_path: Path, url: str) -> None:
    tree = {"redis": {"url": url}, "idempotency": {"store": "redis"}, "apps": {"shop": APP}}
    assert load(write(tmp_path, tree), ENVIRONMENT).redis.url == url


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"sever": {}, "apps": {"shop": APP}}, "sever: no such key"),
        ({"server": {"lisen": "x"}, "apps": {"shop": APP}}, "server.lisen: no such key"),
        ({"apps": {"shop": {**APP, "secret_key": "x"}}}, "apps.shop.secret_key: no such key"),
        ({"apps": {"shop": {**APP, "retry": {"max": 1}}}}, "apps.shop.retry.max: no such key"),
        ({"apps": {"shop": {key: APP[key] for key in APP if key != "app_id"}}}, "apps.shop.app_id: is required"),
        ({"apps": {"shop": {key: APP[key] for key in APP if key != "platform"}}}, "apps.shop.platform: is required"),
        ({"apps": {"shop": {key: APP[key] for key in APP if key != "base_url"}}}, "apps.shop.base_url: is required"),
        ({"apps": {"shop": None}}, "apps.shop: Expected `object`, got `null`"),
        ({"apps": {}}, "apps: Expected `object` of length >= 1"),
        ({"apps": [APP]}, "apps: Expected `object`, got `array`"),
        ({1: 2, "apps": {"shop": APP}}, "the key 1 must be a text: put it in quotes"),
        ({"server": {1: 2}, "apps": {"shop": APP}}, "server: the key 1 must be a text: put it in quotes"),
        ({"apps": {7: APP}}, "apps: the key 7 must be a text: put it in quotes"),
        ({"apps": {"shop": {**APP, 8: 1}}}, "apps.shop: the key 8 must be a text: put it in quotes"),
        ({"apps": {"shop": {**APP, "retry": {9: 1}}}}, "apps.shop.retry: the key 9 must be a text: put it in quotes"),
        ({"apps": {"a b": APP}}, "apps: the name 'a b' must match [A-Za-z0-9][A-Za-z0-9_.-]{0,62}"),
        ({"apps": {"ab\n": APP}}, "apps: the name 'ab\\n' must match [A-Za-z0-9][A-Za-z0-9_.-]{0,62}"),
        ({"server": None, "apps": {"shop": APP}}, "server: Expected `object`, got `null`"),
        ({}, "apps: is required"),
        ("", "apps: is required"),
        ("# nothing yet\n", "apps: is required"),
        ("- a\n- b\n", "the top level must be a mapping"),
        ("just words", "the top level must be a mapping"),
        ("server: [1,\n", "not YAML: expected the node content, but found '<stream end>' (line 2)"),
        ("server:\n\tlisten: x", "not YAML: found character '\\t' that cannot start any token (line 2)"),
        ("a: 1\n---\na: 2\n", "not YAML: but found another document (line 2)"),
        ("a: !!python/name:os x",
         "not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:os' (line 1)"),
        ("? [a]\n: b\n", "not YAML: found unhashable key (line 1)"),
        ("log: {}\nserver: {}\nlog: {}\n", "the key 'log' stands twice (line 3)"),
        ("apps:\n  shop: {}\n  shop: {}\n", "the key 'shop' stands twice (line 3)"),
    ],
)  # fmt: skip
def test_wrong_shape_is_refused(tmp_path: Path, tree: object, said: str) -> None:
    assert refusal(tmp_path, tree) == said


APPS_LINE = f"\napps: {json.dumps({'shop': APP})}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("log: {level: 2020-99-99}", "log.level: must be one of debug, info, warning, error"),
        ("log: {level: 2024-01-31}", "log.level: must be one of debug, info, warning, error"),
        ("log: !!timestamp never", "not YAML: a value does not fit its tag"),
        ("log: !!bool maybe", "not YAML: a value does not fit its tag"),
        ("log: !!int many", "not YAML: a value does not fit its tag"),
        (f"server: {{max_message_bytes: {'9' * 5000}}}", "a whole number is out of range (line 1)"),
        (f"a:\n  ? 0x{'f' * 5000}\n  : b", "a whole number is out of range (line 2)"),
        ("a: 18446744073709551616", "a whole number is out of range (line 1)"),
        ("server: {max_message_bytes: 18446744073709551615}", "server.max_message_bytes: Expected `int` <= 67108864"),
        (f"server: {{default_timeout_s: 1{':1' * 300}.5}}", "not YAML: a value does not fit its tag"),
        ("[" * 20_000, "it is nested too deeply"),
        ("{a: " * 5_000, "it is nested too deeply"),
        ('server: {listen: "unix:/\\ud800"}', "a text holds half of a character (line 1)"),
        ("log: {level: 'a - at `$.x`'}", "log.level: must be one of debug, info, warning, error"),
        ('log: {"a\\nb\\e[2J": 1}', "log.a\\nb\\x1b[2J: no such key"),
    ],
    ids=["no-date", "date", "no-timestamp", "no-bool", "no-int", "5000-digits", "hex-digits", "past-64-bits",
         "64-bits", "sexagesimal", "deep-list", "deep-mapping", "half-character", "words-of-an-error", "control"],
)  # fmt: skip
def test_what_yaml_can_hold_and_no_configuration_does_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    assert refusal(tmp_path, text + APPS_LINE) == said


def test_text_that_looks_like_a_date_is_a_text(tmp_path: Path) -> None:
    tree = "{shop: {platform: android, base_url: 'https://h', app_id: 2024-01-31, secret_key_env: SHOP_KEY}}"
    assert load(write(tmp_path, f"apps: {tree}"), ENVIRONMENT).apps["shop"].app_id == "2024-01-31"
    environment = {**ENVIRONMENT, "PUSH_SIDECAR_APPS__SHOP__APP_ID": "2024-13-45"}
    assert load(write(tmp_path, f"apps: {tree}"), environment).apps["shop"].app_id == "2024-13-45"


def test_everything_that_is_wrong_is_said_in_a_line_each(tmp_path: Path) -> None:
    tree = {
        "server": {"listen": 1, "reflection": "no"},
        "log": {"level": "loud"},
        "sever": {},
        "apps": {
            "one": {**APP, "base_url": "http://h", "app_id": 5},
            "two": {**APP, "total_timeout_s": 3000},
            "three": {**APP, "secret_key_env": "NO_SUCH"},
            "good": APP,
        },
    }
    path = write(tmp_path, tree)
    with pytest.raises(ConfigError) as caught:
        load(path, {**ENVIRONMENT, "PUSH_SIDECAR_ADMIN__LISTEN": "7"})
    assert set(str(caught.value).splitlines()) == {
        "PUSH_SIDECAR_ADMIN__LISTEN: admin.listen: Expected `str`, got `int`: put it in quotes",
        f"{path}: apps.one.app_id: Expected `str`, got `int`: put it in quotes",
        f"{path}: apps.three.secret_key_env: the secret is empty or missing",
        f"{path}: log.level: must be one of debug, info, warning, error",
        f"{path}: server.listen: Expected `str`, got `int`: put it in quotes",
        f"{path}: sever: no such key",
    }


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path / 'none.yaml'}: No such file or directory")):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}: Is a directory")):
        load(tmp_path, {})
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"binary.yaml: not YAML: 'utf-8' codec can't decode"):
        load(tmp_path / "binary.yaml", {})
    (tmp_path / "control.yaml").write_bytes(b"a: \x01")
    with pytest.raises(ConfigError, match=r"control.yaml: not YAML: unacceptable character #x0001"):
        load(tmp_path / "control.yaml", {})


def test_apps_can_share_settings_by_a_yaml_anchor(tmp_path: Path) -> None:
    text = """
    apps:
      one: &common {platform: android, base_url: "https://x", app_id: a, secret_key_env: SHOP_KEY}
      two: {<<: *common, app_id: b}
    """
    apps = load(write(tmp_path, text), ENVIRONMENT).apps
    assert (apps["one"].app_id, apps["two"].app_id, apps["two"].base_url) == ("a", "b", "https://x")


# Secrets.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret_key_env": None}, "apps.shop.secret_key_file: exactly one of secret_key_file and secret_key_env"),
        ({"secret_key_file": "x"}, "apps.shop.secret_key_file: exactly one of secret_key_file and secret_key_env"),
        ({"secret_key_env": "NO_SUCH"}, "apps.shop.secret_key_env: the secret is empty or missing"),
        ({"secret_key_env": ""}, "apps.shop.secret_key_env: the secret is empty or missing"),
    ],
)
def test_secret_must_come_from_one_place(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert app_refusal(tmp_path, **changes).startswith(said)


INVISIBLE = [
    ("{}\n{}", "a line break"),
    ("{}\r\n{}", "a line break"),
    ("{}\u2028{}", "a line break"),
    ("{}\t{}", "a tab"),
    ("\ufeff{}{}", "a byte order mark"),
    ("{}{}\ufeff", "a byte order mark"),
    ("{}\u200b{}", "a zero-width space"),
    ("{}{}\u200b\n", "a zero-width space"),
    ("{}\u00a0{}", "a no-break space"),
    ("{}\u0007{}", "a character that is not visible"),
    ("{}\u2066{}", "a character that is not visible"),
]


@pytest.mark.parametrize("place", ["file", "variable"])
@pytest.mark.parametrize(("form", "what"), INVISIBLE, ids=[repr(form) for form, _ in INVISIBLE])
def test_secret_with_something_invisible_is_refused_wherever_it_stands(
    tmp_path: Path, place: str, form: str, what: str
) -> None:
    text = form.format(SECRET, SECRET)
    if place == "file":
        (tmp_path / "key").write_bytes(text.encode())
        said = app_refusal(tmp_path, secret_key_env=None, secret_key_file=str(tmp_path / "key"))
        assert said == f"apps.shop.secret_key_file: the secret holds {what}"
    else:
        said = refusal(tmp_path, {"apps": {"shop": APP}}, {"SHOP_KEY": text})
        assert said == f"apps.shop.secret_key_env: the secret holds {what}"


@pytest.mark.parametrize("around", ["{}", "{}\n", " \t{}\r\n\n", "\u3000{}\u00a0", "\n\n{} "], ids=repr)
def test_white_space_around_a_secret_is_no_part_of_it(tmp_path: Path, around: str) -> None:
    text = around.format(f"{SECRET} \u5bc6")
    (tmp_path / "key").write_bytes(text.encode())
    path = write(tmp_path, {"apps": {"shop": APP}})
    variable = {"SHOP_KEY": text}
    assert read_secret("shop", load(path, variable).apps["shop"], variable).reveal() == f"{SECRET} \u5bc6"
    app = load_app(tmp_path, secret_key_env=None, secret_key_file=str(tmp_path / "key"))
    assert read_secret("shop", app, {}).reveal() == f"{SECRET} \u5bc6"


def test_password_of_redis_has_the_rules_of_every_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\t{SECRET}")
    tree = {"redis": {"password_file": str(tmp_path / "key")}, "apps": {"shop": APP}}
    assert refusal(tmp_path, tree) == "redis.password_file: the secret holds a tab"


def test_short_key_of_hashes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef" * 2 + "\n")
    tree = {"log": {"target_hash_key_file": str(tmp_path / "key")}, "apps": {"shop": APP}}
    assert load(write(tmp_path, tree), ENVIRONMENT).log.target_hash_key_file == tmp_path / "key"
    (tmp_path / "key").write_text("0123456789abcdef" + "0123456789abcde")
    assert refusal(tmp_path, tree) == (
        f"log.target_hash_key_file: {tmp_path / 'key'} must hold at least 32 characters, "
        "such as `openssl rand -hex 32` makes"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read {}: No such file or directory"),
        (b"", "the secret is empty or missing"),
        (b" \n\t\n", "the secret is empty or missing"),
        (b"\xff\xfe\x00", "cannot read {}: not a text file"),
    ],
)
def test_secret_file_that_holds_no_secret_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    text = app_refusal(tmp_path, secret_key_env=None, secret_key_file=str(path))
    assert text == f"apps.shop.secret_key_file: {said.format(path)}"


def test_secret_file_that_is_a_directory_is_named(tmp_path: Path) -> None:
    text = app_refusal(tmp_path, secret_key_env=None, secret_key_file=str(tmp_path))
    assert text == f"apps.shop.secret_key_file: cannot read {tmp_path}: Is a directory"


def test_secret_is_never_shown(tmp_path: Path) -> None:
    config = load(write(tmp_path, {"apps": {"shop": APP}}), ENVIRONMENT)
    secret = read_secret("shop", config.apps["shop"], ENVIRONMENT)
    assert secret.reveal() == SECRET
    for shown in (repr(secret), str(secret), f"{secret}", "%s" % secret, repr([secret]), repr(config), str(config)):  # noqa: UP031  # every way of showing it
        assert SECRET not in shown
    assert not hasattr(secret, "__dict__")


def test_equal_secrets_are_not_told_apart_by_their_text() -> None:
    assert repr(Secret("a")) == repr(Secret("b")) == "Secret(***)"


# Addresses.


@pytest.mark.parametrize(
    "base_url",
    ["https://h", "https://h/", "https://h:8443", "https://h/a/b", "https://h:8443/a/", "https://[::1]:8443", "https://10.0.0.1"],
)  # fmt: skip
def test_base_url_may_have_a_port_and_a_prefix(tmp_path: Path, base_url: str) -> None:
    assert load_app(tmp_path, base_url=base_url).base_url == base_url


@pytest.mark.parametrize(
    "base_url",
    ["http://h", "h", "", "https://", "https:///v3", "https://:8443", "https://h:port", "https://h:99999", "https://h:0",
     "https://h?a=1", "https://h#a", "https://user:pass@h", "https://h /a", "https://h\n", "https://h/\u00fc", "ftp://h",
     "https://h\\a", "https://[::1", "HTTPS//h", "https://xn--a", "https://[v1.x]/", "https://[::1]x/",
     f"https://{'a' * 64}.example"],
)  # fmt: skip
def test_other_base_urls_are_refused_without_being_quoted(tmp_path: Path, base_url: str) -> None:
    said = app_refusal(tmp_path, base_url=base_url)
    assert said == "apps.shop.base_url: must be https://host[:port][/prefix], without user, query and fragment"


@pytest.mark.parametrize(
    "proxy", ["https://p:1", "p:3128", "http://", f"http://user:{SECRET}@p:3128", "http://p:1/path"]
)
def test_proxy_must_be_plain_http_without_a_password(tmp_path: Path, proxy: str) -> None:
    assert app_refusal(tmp_path, proxy=proxy) == "apps.shop.proxy: must be http://host:port, without a user"


def test_ca_file_must_be_there(tmp_path: Path) -> None:
    assert app_refusal(tmp_path, ca_file="/nonexistent/ca") == "apps.shop.ca_file: no such file: /nonexistent/ca"
    assert app_refusal(tmp_path, ca_file=str(tmp_path)) == f"apps.shop.ca_file: no such file: {tmp_path}"


def test_request_of_the_largest_size_must_fit_into_the_bytes_that_may_be_pending(tmp_path: Path) -> None:
    server = {"max_message_bytes": 4096, "max_pending_bytes": 3 * 4096}
    tree = {"server": server, "apps": {"shop": {**APP, "max_pending_bytes": 3 * 4096}}}
    assert load(write(tmp_path, tree), ENVIRONMENT).server.max_pending_bytes == 12288
    why = "max_pending_bytes: must be at least 12288: three times server.max_message_bytes"
    said = refusal(tmp_path, {**tree, "server": {**server, "max_pending_bytes": 12287}})
    assert said.startswith(f"server.{why}")
    said = refusal(tmp_path, {**tree, "apps": {"shop": {**APP, "max_pending_bytes": 12287}}})
    assert said.startswith(f"apps.shop.{why}")


def test_environment_is_for_ios_only(tmp_path: Path) -> None:
    assert app_refusal(tmp_path, environment="dev") == "apps.shop.environment: is for iOS apps only"
    assert load_app(tmp_path, environment="dev", platform="ios").environment == "dev"
    assert load_app(tmp_path, environment="product").environment == "product"


def test_vendor_call_must_fit_into_the_grace_of_a_stop(tmp_path: Path) -> None:
    said = app_refusal(tmp_path, total_timeout_s=20)
    assert said.startswith("apps.shop.total_timeout_s: must be below server.shutdown_grace_s (20 s)")
    tree = {"server": {"shutdown_grace_s": 21}, "apps": {"shop": {**APP, "total_timeout_s": 20}}}
    assert load(write(tmp_path, tree), ENVIRONMENT).apps["shop"].total_timeout_s == 20


def test_listeners_and_callers_have_names(tmp_path: Path) -> None:
    tree = {
        "listeners": {"orders": {"listen": "unix:/run/orders.sock"}},
        "callers": {
            "orders": {"listener": "orders", "apps": ["shop"], "rate": "5/second"},
            "billing": {"san": ["billing.example", "spiffe://example/billing"]},
        },
        "apps": {"shop": APP},
    }
    config = load(write(tmp_path, tree), ENVIRONMENT)
    assert config.listeners == {"orders": ListenerConfig(listen="unix:/run/orders.sock")}
    assert config.listeners["orders"].socket_mode == "0660"
    assert config.callers == {
        "orders": CallerConfig(listener="orders", apps=["shop"], rate="5/second"),
        "billing": CallerConfig(san=["billing.example", "spiffe://example/billing"]),
    }


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"listeners": {"a": {}}}, "listeners.a.listen: is required"),
        ({"listeners": {"a": {"listen": 1}}}, "listeners.a.listen: Expected `str`, got `int`: put it in quotes"),
        ({"listeners": {"a b": {"listen": "x:1"}}}, "listeners: the name 'a b' must match"),
        ({"listeners": ["x:1"]}, "listeners: must be a mapping of names"),
        ({"callers": {"a": {"apps": "shop"}}}, "callers.a.apps: Expected `array`, got `str`"),
        ({"callers": {"a": {"apps": None}}}, "callers.a.apps: Expected `array`, got `null`"),
        ({"callers": {"a": {"san": [""]}}}, "callers.a.san[0]: Expected `str` of length >= 1"),
        ({"callers": {"a": {"sans": []}}}, "callers.a.sans: no such key"),
        ({"callers": {1: {}}}, "callers: the key 1 must be a text: put it in quotes"),
        ({"server": {"tls": {"cert": "/c"}}}, "server.tls.cert: no such key"),
    ],
)
def test_wrong_listener_or_caller_is_refused(tmp_path: Path, section: dict[str, Any], said: str) -> None:
    assert refusal(tmp_path, {**section, "apps": {"shop": APP}}).startswith(said)


def test_request_id_must_outlast_the_vendor_call(tmp_path: Path) -> None:
    tree = {
        "server": {"shutdown_grace_s": 60},
        "idempotency": {"window_s": 60},
        "apps": {"shop": {**APP, "total_timeout_s": 30.5}},
    }
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, tree), ENVIRONMENT)
    assert "apps.shop.total_timeout_s: must be at most half of idempotency.window_s (60 s)" in str(refused.value)
    tree["apps"]["shop"]["total_timeout_s"] = 30
    assert load(write(tmp_path, tree), ENVIRONMENT).idempotency.window_s == 60


# The environment.


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, {"server": {"listen": "a:1", "reflection": True}, "apps": {"shop-ios.eu": APP}})
    environment = {
        **ENVIRONMENT,
        "PUSH_SIDECAR_SERVER__LISTEN": "unix:/run/push.sock",
        "PUSH_SIDECAR_SERVER__REFLECTION": "false",
        "PUSH_SIDECAR_LOG": "{level: debug}",
        "PUSH_SIDECAR_APPS__SHOP_IOS_EU__MAX_QUEUE": "7",
        "PUSH_SIDECAR_APPS__SHOP_IOS_EU__RETRY__MAX_ATTEMPTS": "5",
        "PUSH_SIDECAR_APPS__SHOP_IOS_EU__CODE_CLASSES": "{10100: VENDOR_BUSY}",
        "PUSH_SIDECAR_APPS__SHOP_IOS_EU__APP_ID": '"1500001048"',
        "PUSH_SIDECARS": "not ours",
    }
    config = load(path, environment)
    assert (config.server.listen, config.server.reflection, config.log.level) == ("unix:/run/push.sock", False, "debug")
    (app,) = config.apps.values()
    assert (app.max_queue, app.retry.max_attempts, app.retry.max_backoff_s) == (7, 5, 2.0)
    assert (app.code_classes, app.app_id) == ({10100: "VENDOR_BUSY"}, "1500001048")
    assert list(config.apps) == ["shop-ios.eu"]


def test_environment_names_listeners_and_callers_as_it_names_apps(tmp_path: Path) -> None:
    tree = {"listeners": {"my-orders": {"listen": "unix:/a"}}, "callers": {"my-orders": {}}, "apps": {"shop": APP}}
    environment = {
        **ENVIRONMENT,
        "PUSH_SIDECAR_LISTENERS__MY_ORDERS__LISTEN": "unix:/b",
        "PUSH_SIDECAR_CALLERS__MY_ORDERS__LISTENER": "my-orders",
        "PUSH_SIDECAR_CALLERS__OTHER__SAN": "[other.example]",
    }
    config = load(write(tmp_path, tree), environment)
    assert config.listeners == {"my-orders": ListenerConfig(listen="unix:/b")}
    assert config.callers == {
        "my-orders": CallerConfig(listener="my-orders"),
        "other": CallerConfig(san=["other.example"]),
    }


def test_environment_alone_can_configure_everything() -> None:
    environment = {f"PUSH_SIDECAR_APPS__SHOP__{key.upper()}": str(value) for key, value in APP.items()}
    config = load(None, {**environment, **ENVIRONMENT})
    assert (list(config.apps), config.apps["shop"].app_id) == (["shop"], "a1")


def test_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, {"apps": {"shop": APP}})
    assert list(load(None, {**ENVIRONMENT, "PUSH_SIDECAR_CONFIG": str(path)}).apps) == ["shop"]
    with pytest.raises(ConfigError, match="the environment: apps: is required"):
        load(None, {})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SERVER__LISTEN", "[1,", "the value is not YAML"),
        ("SERVER__LISTEN", "{a: 1, a: 2}", "the value is not YAML"),
        ("SERVER__LISTEN", "!!timestamp x", "the value is not YAML"),
        ("SERVER__MAX_MESSAGE_BYTES", "9" * 5000, "a whole number is out of range (line 1)"),
        ("SERVER__LISTEN", "[" * 20_000, "it is nested too deeply"),
        ("SERVER__LISTEN", "7", "server.listen: Expected `str`, got `int`: put it in quotes"),
        ("SERVER__LISTEN", "", "server.listen: Expected `str`, got `null`"),
        ("SERVER__PORT", "7", "server.port: no such key"),
        ("SERVER_LISTEN", "a:1", "server_listen: no such key"),
        ("LOG__LEVEL__DEEP", "x", "level is not a mapping in the configuration file"),
        ("APPS", "[]", "apps: Expected `object`, got `array`"),
        ("APPS__SHOP__MAX_QUEUE", "many", "apps.shop.max_queue: Expected `int`, got `str`"),
        ("APPS__SHOP__BASE_URL", "http://h", "apps.shop.base_url: must be https://host"),
    ],
)
def test_wrong_variable_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    path = write(tmp_path, {"log": {"level": "info"}, "apps": {"shop": APP}})
    with pytest.raises(ConfigError) as caught:
        load(path, {**ENVIRONMENT, f"PUSH_SIDECAR_{name}": value})
    assert str(caught.value).startswith(f"PUSH_SIDECAR_{name}: {said}")


def test_variable_for_one_app_changes_no_other_that_shares_a_yaml_anchor(tmp_path: Path) -> None:
    text = """
    apps:
      one: &common {platform: android, base_url: "https://x", app_id: a, secret_key_env: SHOP_KEY, retry: {}}
      two: *common
      three: {<<: *common}
    """
    environment = {
        **ENVIRONMENT,
        "PUSH_SIDECAR_APPS__TWO__MAX_QUEUE": "3",
        "PUSH_SIDECAR_APPS__THREE__RETRY__MAX_ATTEMPTS": "4",
    }
    apps = load(write(tmp_path, text), environment).apps
    assert {name: (app.max_queue, app.retry.max_attempts) for name, app in apps.items()} == {
        "one": (256, 3), "two": (3, 3), "three": (256, 4),
    }  # fmt: skip


def test_variable_that_may_mean_two_apps_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"apps": {"a-b": APP, "a_b": APP, "c-d": APP}})
    with pytest.raises(
        ConfigError, match=r"^PUSH_SIDECAR_APPS__A_B__MAX_QUEUE: may mean any of the apps a-b, a_b: set"
    ):
        load(path, {**ENVIRONMENT, "PUSH_SIDECAR_APPS__A_B__MAX_QUEUE": "3"})
    apps = load(path, {**ENVIRONMENT, "PUSH_SIDECAR_APPS__C_D__MAX_QUEUE": "3"}).apps
    assert {name: app.max_queue for name, app in apps.items()} == {"a-b": 256, "a_b": 256, "c-d": 3}


def test_variable_with_a_typo_that_makes_a_new_app_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"apps": {"shop": APP}})
    with pytest.raises(ConfigError) as caught:
        load(path, {**ENVIRONMENT, "PUSH_SIDECAR_APPS__SHOPP__MAX_QUEUE": "3"})
    assert str(caught.value) == "PUSH_SIDECAR_APPS__SHOPP__MAX_QUEUE: apps.shopp.platform: is required"


def test_missing_secret_that_a_variable_names_is_told_of_the_variable(tmp_path: Path) -> None:
    path = write(tmp_path, {"apps": {"shop": APP}})
    name = "PUSH_SIDECAR_APPS__SHOP__SECRET_KEY_ENV"
    with pytest.raises(ConfigError, match=rf"^{name}: apps\.shop\.secret_key_env: the secret is empty"):
        load(path, {**ENVIRONMENT, name: "NO_SUCH"})


def test_variables_that_kubernetes_makes_for_a_service_are_no_keys(tmp_path: Path) -> None:
    made = {
        "PUSH_SIDECAR_SERVICE_HOST": "10.0.0.11",
        "PUSH_SIDECAR_SERVICE_PORT": "50051",
        "PUSH_SIDECAR_SERVICE_PORT_GRPC": "50051",
        "PUSH_SIDECAR_PORT": "tcp://10.0.0.11:50051",
        "PUSH_SIDECAR_PORT_50051_TCP": "tcp://10.0.0.11:50051",
        "PUSH_SIDECAR_PORT_50051_TCP_PROTO": "tcp",
        "PUSH_SIDECAR_PORT_50051_TCP_PORT": "50051",
        "PUSH_SIDECAR_PORT_50051_TCP_ADDR": "10.0.0.11",
        "PUSH_SIDECAR_ADMIN_SERVICE_HOST": "10.0.0.12",
        "PUSH_SIDECAR_ADMIN_PORT_50052_TCP": "tcp://10.0.0.12:50052",
    }
    config = load(write(tmp_path, {"apps": {"shop": APP}}), {**ENVIRONMENT, **made})
    assert config == load(write(tmp_path, {"apps": {"shop": APP}}), ENVIRONMENT)


def test_secret_may_stand_in_a_variable_with_the_same_prefix(tmp_path: Path) -> None:
    path = write(tmp_path, {"apps": {"shop": {**APP, "secret_key_env": "PUSH_SIDECAR_SHOP_KEY"}}})
    config = load(path, {"PUSH_SIDECAR_SHOP_KEY": SECRET})
    assert SECRET not in repr(config)
    renamed = {"PUSH_SIDECAR_APPS__SHOP__SECRET_KEY_ENV": "PUSH_SIDECAR_OTHER_KEY", "PUSH_SIDECAR_OTHER_KEY": SECRET}
    config = load(write(tmp_path, {"apps": {"shop": APP}}), renamed)
    assert read_secret("shop", config.apps["shop"], renamed).reveal() == SECRET


def test_records_cannot_be_changed(tmp_path: Path) -> None:
    config: Any = load(write(tmp_path, {"apps": {"shop": APP}}), ENVIRONMENT)
    assert isinstance(config, Config)
    with pytest.raises(AttributeError):
        config.server.listen = "x"


# The documentation.

DOCUMENT = ROOT / "docs" / "configuration.md"
GENERATOR = [sys.executable, str(ROOT / "docs" / "generate_configuration.py"), "--check"]


def test_documented_keys_are_current() -> None:
    checked = subprocess.run(GENERATOR, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_key_is_documented_with_its_variable() -> None:
    text = DOCUMENT.read_text()
    for section, keys in DEFAULTS.items():
        for key in keys.keys() - {"tls"}:
            assert f"| `{key}` |" in text
            assert f"| `PUSH_SIDECAR_{section.upper()}__{key.upper()}` |" in text
    for key in TlsConfig.__struct_fields__:
        assert f"| `tls.{key}` |" in text
        assert f"| `PUSH_SIDECAR_SERVER__TLS__{key.upper()}` |" in text
        assert f"| `PUSH_SIDECAR_LISTENERS__NAME__TLS__{key.upper()}` |" in text
    for name, record in {"LISTENERS": ListenerConfig, "CALLERS": CallerConfig}.items():
        for key in set(record.__struct_fields__) - {"tls"}:
            assert f"| `{key}` |" in text
            assert f"| `PUSH_SIDECAR_{name}__NAME__{key.upper()}` |" in text
    for key in (*AppConfig.__struct_fields__, *(f"retry.{key}" for key in RETRY_DEFAULTS)):
        if key != "retry":
            assert f"| `{key}` |" in text
            assert f"| `PUSH_SIDECAR_APPS__NAME__{key.upper().replace('.', '__')}` |" in text


def test_documented_example_loads(tmp_path: Path) -> None:
    _, _, rest = DOCUMENT.read_text().partition("```yaml\n")
    key_file = tmp_path / "key"
    key_file.write_text(SECRET)
    example = rest.partition("```")[0].replace("/run/secrets/push-sidecar/shop-android", str(key_file))
    config = load(write(tmp_path, example), {"SHOP_IOS_SECRET_KEY": SECRET})
    assert {name: app.platform for name, app in config.apps.items()} == {"shop-android": "android", "shop-ios": "ios"}
