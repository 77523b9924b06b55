"""The provider as it is built from configuration, against the simulated vendor."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pushsidecar.xg.v1 import AndroidMessage, PushRequest
from sidecar import __version__
from sidecar.config import AppConfig, Config, ConfigError, RetryConfig, Secret
from sidecar.delivery.build import Delivery
from sidecar.errors import VendorBusy, VendorRefused
from sidecar.providers.xg.build import RECLASSABLE, build, check
from sidecar.providers.xg.credentials import Credentials
from sidecar.providers.xg.service import XgProvider
from sidecar.simulator import Simulator
from sidecar.telemetry.metrics import Metrics

from .world import new_call

CLASSES = {
    "VENDOR_REJECTED", "CREDENTIALS_REFUSED", "CERTIFICATE_INVALID", "APP_NOT_REGISTERED", "PUSH_TASK_EXPIRED",
    "TARGET_UNKNOWN", "VENDOR_BUSY", "QUOTA_EXCEEDED", "OUTCOME_UNKNOWN", "VENDOR_INTERNAL",
}  # fmt: skip


def app(**changes: Any) -> AppConfig:
    return AppConfig(
        **{"platform": "android", "base_url": "https://vendor.test", "app_id": "id", "secret_key_env": "X", **changes}
    )


def secret_file(tmp_path: Path, secret: str) -> Path:
    path = tmp_path / "secret"
    path.write_text(secret)
    return path


def request_to(token: str) -> PushRequest:
    return PushRequest(token=token, android_message=AndroidMessage(title="t", content="c"))


def build_provider(apps: Mapping[str, AppConfig]) -> XgProvider:
    return build(apps, Delivery(Config(apps=dict(apps)), Metrics("0")), os.environ)


async def push_once(provider: XgProvider, request: PushRequest) -> None:
    try:
        await provider.push(request, new_call())
    finally:
        provider.stop()
        await provider.aclose()


async def test_built_app_reaches_its_vendor_with_its_credentials(vendor: Simulator, tmp_path: Path) -> None:
    config = app(
        base_url=vendor.base_url + "/",
        ca_file=vendor.ca_file,
        app_id=vendor.android.app_id,
        secret_key_env=None,
        secret_key_file=secret_file(tmp_path, vendor.android.secret_key + "\n"),
    )
    await push_once(build_provider({"shop": config}), request_to("sim-1"))
    (record,) = vendor.records
    assert (record.path, record.was_delivered) == ("/v3/push/app", True)
    sent = {name: value for name, value in record.headers.items() if name not in {"host", "content-length"}}
    assert sent == {
        "authorization": "[redacted]",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"push-sidecar/{__version__}",
    }


async def test_wrong_secret_is_refused_by_the_vendor(vendor: Simulator, tmp_path: Path) -> None:
    config = app(
        base_url=vendor.base_url, ca_file=vendor.ca_file, app_id=vendor.android.app_id, secret_key_env=None,
        secret_key_file=secret_file(tmp_path, "other"),
    )  # fmt: skip
    with pytest.raises(VendorRefused, match="10104"):
        await push_once(build_provider({"shop": config}), request_to("sim-1"))


async def test_file_of_a_secret_is_watched_and_its_next_secret_used(vendor: Simulator, tmp_path: Path) -> None:
    path = secret_file(tmp_path, "other")
    config = app(
        base_url=vendor.base_url, ca_file=vendor.ca_file, app_id=vendor.android.app_id, secret_key_env=None,
        secret_key_file=path,
    )  # fmt: skip
    provider = build_provider({"shop": config})
    (secret,) = provider.secrets
    assert secret.app == "shop"
    path.write_text(vendor.android.secret_key)
    await secret.refresh()
    await push_once(provider, request_to("sim-1"))
    assert vendor.records[0].was_delivered


async def test_secret_of_a_variable_cannot_change_and_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "a-key")
    provider = build_provider({"shop": app()})
    assert list(provider.secrets) == []
    await provider.aclose()


async def test_nothing_of_a_secret_is_in_a_repr(tmp_path: Path) -> None:
    provider = build_provider({"shop": app(secret_key_env=None, secret_key_file=secret_file(tmp_path, "a-key"))})
    shown = f"{provider!r} {vars(provider)} {[vars(secret) for secret in provider.secrets]}"
    assert "shop" in shown
    # base64 of `id:a-key`
    assert not [secret for secret in ("a-key", "aWQ6YS1rZXk=") if secret in shown]
    await provider.aclose()


def test_headers_that_a_push_began_with_do_not_change_with_the_secret() -> None:
    credentials = Credentials("id", Secret("a-key"), {"accept": "x"})
    began_with = credentials.headers
    credentials.use(Secret("\u94a5"))
    assert began_with == {"authorization": "Basic aWQ6YS1rZXk=", "accept": "x"}
    # base64 of `id:` and the three bytes E9 92 A5
    assert credentials.headers == {"authorization": "Basic aWQ66ZKl", "accept": "x"}


async def test_code_classes_reach_the_reader(vendor: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", vendor.android.secret_key)
    config = app(
        base_url=vendor.base_url, ca_file=vendor.ca_file, app_id=vendor.android.app_id,
        code_classes={10100: "VENDOR_BUSY"}, retry=RetryConfig(max_attempts=1),
    )  # fmt: skip
    with pytest.raises(VendorBusy):
        await push_once(build_provider({"shop": config}), request_to("fault-ret-10100"))


def test_classes_that_configuration_may_name() -> None:
    assert {code_class.value for code_class in RECLASSABLE} == CLASSES


@pytest.mark.parametrize("wanted", sorted(CLASSES))
@pytest.mark.parametrize("code", [10100, 10103, 10201, 99999, -1])
def test_any_failure_may_be_called_another(code: int, wanted: str) -> None:
    check({"shop": app(code_classes={code: wanted})})


@pytest.mark.parametrize("wanted", ["ACCEPTED", "PARTIAL", "vendor_busy", "", "OVERLOADED", "NOT_SENT"])
def test_no_failure_may_be_called_a_success_or_an_unknown_class(wanted: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check({"shop": app(), "other": app(code_classes={10103: "VENDOR_BUSY", 10100: wanted})})
    assert str(raised.value).startswith("apps.other.code_classes.10100: must be one of APP_NOT_REGISTERED, ")


@pytest.mark.parametrize("code", [0, 10302, 10304])
@pytest.mark.parametrize("wanted", ["VENDOR_BUSY", "VENDOR_REJECTED", "OUTCOME_UNKNOWN"])
async def test_no_success_may_be_called_a_failure(code: int, wanted: str) -> None:
    apps = {"shop": app(), "other": app(code_classes={code: wanted})}
    for use in (lambda: check(apps), lambda: build_provider(apps)):
        with pytest.raises(ConfigError, match=rf"^apps\.other\.code_classes\.{code}: is a success"):
            use()


async def test_secret_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X", raising=False)
    with pytest.raises(ConfigError, match=r"^apps\.shop\.secret_key_env: "):
        build_provider({"shop": app()})


@pytest.mark.parametrize("app_id", [" a", "a\n", "a\tb", "\ufeffa", "a\u200bb"], ids=repr)
def test_app_id_with_something_that_cannot_be_seen_is_refused(app_id: str) -> None:
    with pytest.raises(ConfigError, match=r"^apps\.shop\.app_id: must have no space around it, and nothing that"):
        check({"shop": app(app_id=app_id)})


def test_app_id_with_a_colon_is_refused_since_basic_credentials_cannot_hold_it() -> None:
    with pytest.raises(ConfigError, match=r"^apps\.shop\.app_id: must have no colon"):
        check({"shop": app(app_id="15:00")})
