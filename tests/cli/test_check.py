"""The verb `check`: what it reports of a configuration, and of the vendors' addresses."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidecar.__main__ import main
from sidecar.simulator import Simulator
from tests.support.process import ROOT


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
        "listener default 127.0.0.1:50051 cleartext anybody who reaches it may call\n"
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


async def test_connect_goes_through_the_proxy_that_pushes_will_use(
    vendor: Simulator, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        from_vendor, to_vendor = await asyncio.open_connection("127.0.0.1", vendor.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as both:
            both.create_task(pass_on(reader, to_vendor))
            both.create_task(pass_on(from_vendor, writer))

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await check_against(vendor, write, ca_file=str(vendor.ca_file), proxy=address) == 0
    assert "valid, and its address is proved" in capsys.readouterr().out
    assert asked == [f"CONNECT 127.0.0.1:{vendor.port} HTTP/1.1\r\n".encode()]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy refused: 407"),
        (b"", "the proxy ended the connection without an answer"),
    ],
)
async def test_connect_reports_a_proxy_that_refuses(
    vendor: Simulator, write: Path, capsys: pytest.CaptureFixture[str], answer: bytes, said: str
) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await check_against(vendor, write, proxy=address) == 1
    assert said in capsys.readouterr().out
    assert vendor.records == []


def test_an_ipv6_address_is_printed_as_it_is(write: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write.write_text(config(write.parent, base_url="https://[fd00::2]:8443"))
    assert main(["check", "--config", str(write)]) == 0
    assert "shop xg android https://[fd00::2]:8443 valid\n" in capsys.readouterr().out


def test_no_configuration_at_all_says_what_to_give(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PUSH_SIDECAR_CONFIG", raising=False)
    for verb in ("check", "serve"):
        assert main([verb]) == 2
        assert "no configuration: give --config FILE" in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["listen: foo", "listen: '127.0.0.1:99999'", "listen: 'unix:'"])
def test_check_refuses_what_serve_refuses(broken: str, write: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write.write_text(config(write.parent) + f"server: {{{broken}}}\n")
    for verb in ("check", "serve"):
        assert main([verb, "--config", str(write)]) == 2
        assert "server.listen: must be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100", "OTEL_BSP_MAX_QUEUE_SIZE: must be at least OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "foo", "the OTEL_EXPORTER_OTLP_* variables: the exporter refuses a value"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nope", "OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read /nope"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b", "OTEL_EXPORTER_OTLP_HEADERS: must be key=value"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "foo", "OTEL_EXPORTER_OTLP_ENDPOINT: must be http://host:port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://foo:1", "OTEL_EXPORTER_OTLP_ENDPOINT: must be http://host:port"),
    ],
)
def test_check_refuses_the_variables_of_traces_that_serve_refuses(
    write: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    variable: str, value: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv(variable, value)
    write.write_text(config(write.parent))
    for verb in ("check", "serve"):
        assert main([verb, "--config", str(write)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("value", ["x", "9" * 5000], ids=["x", "5000-digits"])
@pytest.mark.parametrize("verb", [["check"], ["serve"], ["serve", "--simulate"]], ids=" ".join)
def test_limit_of_spans_that_is_no_number_is_named(write: Path, verb: list[str], value: str) -> None:
    """OpenTelemetry reads it when it is imported: so in a process of its own."""
    write.write_text(config(write.parent))
    environment = {**os.environ, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": value}
    configured = [] if "--simulate" in verb else ["--config", str(write)]
    ended = subprocess.run(
        [sys.executable, "-m", "sidecar", *verb, *configured],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    said = f"push-sidecar: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: must be a whole number, not '{value}'\n"
    assert (ended.returncode, ended.stderr) == (2, said)


def test_a_ca_file_that_holds_none_is_named_with_the_file(write: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage = write.parent / "ca.pem"
    garbage.write_text("no certificate")
    write.write_text(config(write.parent, ca_file=str(garbage)))
    for verb in ("check", "serve"):
        assert main([verb, "--config", str(write)]) == 2
        assert capsys.readouterr().err.startswith(f"push-sidecar: {write}: apps.shop.ca_file: cannot be used")


def test_everything_that_is_wrong_is_reported_in_a_line_each(
    write: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = yaml.safe_load(config(write.parent))
    good = tree["apps"]["shop"]
    tree["apps"]["classes"] = {**good, "code_classes": {10100: "FINE"}}
    tree["apps"]["colon"] = {**good, "app_id": "a"}
    write.write_text(yaml.safe_dump(tree))
    monkeypatch.setenv("PUSH_SIDECAR_APPS__COLON__APP_ID", "'a:b'")
    monkeypatch.setenv("PUSH_SIDECAR_HEALTH__LISTEN", "nowhere")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    assert main(["check", "--config", str(write)]) == 2
    lines = capsys.readouterr().err.removeprefix("push-sidecar: ").splitlines()
    assert [line[:60] for line in lines] == [
        line[:60]
        for line in (
            "PUSH_SIDECAR_HEALTH__LISTEN: health.listen: must be host:port, not 'nowhere'",
            "OTEL_TRACES_EXPORTER: only otlp and none are supported, not 'zipkin'",
            f"{write}: apps.classes.code_classes.10100: must be one of",
            "PUSH_SIDECAR_APPS__COLON__APP_ID: apps.colon.app_id: must have no colon",
        )
    ]


def test_a_sampler_that_is_not_known_is_refused(
    write: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write.write_text(config(write.parent))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "nonsense")
    assert main(["check", "--config", str(write)]) == 2
    assert "OTEL_TRACES_SAMPLER: must be one of always_on" in capsys.readouterr().err


@pytest.mark.parametrize(("at", "why"), [("", "Is a directory"), ("none/keys.log", "No such file or directory")])
def test_a_key_log_that_cannot_be_written_is_named_and_no_ca_file(
    at: str, why: str, write: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(write.parent / at))
    write.write_text(config(write.parent) + config(write.parent).partition("apps:")[2].replace("shop", "other"))
    for verb in ("check", "serve"):
        assert main([verb, "--config", str(write)]) == 2
        assert capsys.readouterr().err == f"push-sidecar: SSLKEYLOGFILE: cannot write {write.parent / at}: {why}\n"


@pytest.mark.parametrize("listen", ["unix:/run/a#b.sock", f"unix:/run/{'a' * 103}"], ids=["fragment", "108-bytes"])
def test_a_socket_that_no_client_can_reach_is_refused(
    listen: str, write: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSH_SIDECAR_SERVER__LISTEN", f"'{listen}'")
    write.write_text(config(write.parent))
    for verb in ("check", "serve"):
        assert main([verb, "--config", str(write)]) == 2
        assert capsys.readouterr().err.startswith("push-sidecar: PUSH_SIDECAR_SERVER__LISTEN: server.listen: ")
