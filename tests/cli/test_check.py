"""The verb `check`: what it reports of a configuration, and of the vendors' addresses."""

import asyncio
from pathlib import Path

import pytest
import yaml

from sidecar.__main__ import main
from sidecar.simulator import Simulator


@pytest.fixture
def write(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("s3cret-value")
    return tmp_path / "config.yaml"


def config(folder: Path, **app: object) -> str:
    base = {
        "platform": "android",
        "base_url": "https://push.example",
        "app_id": "a",
        "secret_key_file": str(folder / "secret"),
    }
    return yaml.safe_dump({"apps": {"shop": base | app}})


def test_a_valid_configuration_is_reported_app_by_app(write: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write.write_text(config(write.parent))
    assert main(["check", "--config", str(write)]) == 0
    output = capsys.readouterr().out
    assert output == (
        "gRPC 127.0.0.1:50051, health 127.0.0.1:50053, admin 127.0.0.1:50052\n"
        "shop xg android https://push.example valid\n"
    )


@pytest.mark.parametrize(
    ("app", "named"),
    [
        ({"max_queu": 1}, "max_queu"),
        ({"base_url": "http://push.example"}, "apps.shop.base_url"),
        ({"secret_key_file": "/nowhere"}, "apps.shop.secret_key_file"),
        ({"code_classes": {10100: "FINE"}}, "apps.shop.code_classes.10100"),
    ],
)
def test_what_is_wrong_is_named_with_exit_code_2(
    app: dict[str, object], named: str, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write.write_text(config(write.parent, **app))
    assert main(["check", "--config", str(write)]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "s3cret-value" not in error


def test_a_trace_protocol_that_is_not_spoken_is_named(
    write: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write.write_text(config(write.parent))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    assert main(["check", "--config", str(write)]) == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in capsys.readouterr().err


async def check_against(vendor: Simulator, path: Path, **app: object) -> int:
    path.write_text(config(path.parent, base_url=vendor.base_url, **app))
    return await asyncio.to_thread(main, ["check", "--config", str(path), "--connect"])


async def test_connect_proves_an_address_by_a_handshake_and_sends_nothing(
    vendor: Simulator, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await check_against(vendor, write, ca_file=str(vendor.ca_file)) == 0
    assert "valid, and its address is proved" in capsys.readouterr().out
    assert vendor.records == []


async def test_connect_reports_a_certificate_that_is_not_trusted(
    vendor: Simulator, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await check_against(vendor, write) == 1
    assert "certificate refused" in capsys.readouterr().out


async def test_connect_reports_an_address_where_nobody_listens(
    vendor: Simulator, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await vendor.refuse_connections()
    assert await check_against(vendor, write, ca_file=str(vendor.ca_file)) == 1
    assert "valid" not in capsys.readouterr().out
