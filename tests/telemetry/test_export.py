"""Which variables turn traces on, where they go, and what a collector that is not there costs."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import ReadableSpan, sampling
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from sidecar.app import Sidecar
from sidecar.config import Config, ConfigError
from sidecar.telemetry.export import TracePipeline, build_exporter, build_traces, check_environment, is_on
from tests.support.certificates import Authority
from tests.support.collector import Collector, http_collector
from tests.support.running import METHOD, android, running_sidecar
from tests.support.waiting import until
from tests.telemetry.conftest import Traced

ENDPOINT = "http://127.0.0.1:4317"
TRACE = (("push-sidecar-trace", "1"),)
SAMPLED_CALLER = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)

Configure = Callable[..., Config]
SetOtel = Callable[[dict[str, str]], dict[str, str]]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False),
        ({"OTEL_TRACES_EXPORTER": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": ENDPOINT}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ENDPOINT}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_traces_are_off_unless_an_exporter_or_an_endpoint_is_named(
    environment: dict[str, str],
    expected: bool,
) -> None:
    assert is_on(environment) is expected
    if not expected:
        assert build_exporter(environment) is None


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        ({}, GrpcExporter),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": ""}, GrpcExporter),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, GrpcExporter),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, HttpExporter),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, HttpExporter),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, GrpcExporter),
    ],
)
def test_protocol_chooses_the_exporter(protocol: dict[str, str], kind: type[SpanExporter]) -> None:
    exporter = build_exporter({"OTEL_TRACES_EXPORTER": "otlp", **protocol})
    assert isinstance(exporter, kind)
    exporter.shutdown()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: only otlp and none are supported, not 'zipkin'"),
        ({"OTEL_TRACES_EXPORTER": "otlp,console"}, "OTEL_TRACES_EXPORTER: only otlp and none are supported"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: only grpc and http/protobuf are supported, not 'http/json'",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "udp"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: only grpc and http/protobuf are supported, not 'udp'",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "nonsense"},
            "OTEL_TRACES_SAMPLER: must be one of always_on, .*, not 'nonsense'",
        ),
        *(
            (
                {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT,
                    "OTEL_TRACES_SAMPLER": sampler,
                    "OTEL_TRACES_SAMPLER_ARG": arg,
                },
                f"OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1, not '{arg}'",
            )
            for sampler in ("traceidratio", "PARENTBASED_traceidratio")
            for arg in ("half", "1.1", "nan")
        ),
        *(
            ({"OTEL_TRACES_EXPORTER": "otlp", name: value}, f"{name}: must be a whole number above 0, not '{value}'")
            for name in (
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                "OTEL_BSP_MAX_QUEUE_SIZE",
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                "OTEL_BSP_SCHEDULE_DELAY",
            )
            for value in ("soon", "0", "-1", "9" * 5000)
        ),
        *(
            ({name: address}, f"{name}: must be http://host:port or https://host:port$")
            for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            for address in (
                "http://[::1", "[::1", "a]b:1", "http://host:abc", "http://host:99999", "http://host:0",
                "grpc://user:secret@host:4317", "collector",
            )
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_refuses_to_start_and_names_the_variable(
    environment: dict[str, str], said: str, configure: Configure
) -> None:
    with pytest.raises(ConfigError, match=f"^{said}"):
        check_environment(environment)
    with pytest.raises(ConfigError, match=f"^{said}"):
        async with Sidecar(configure(), environment):
            pytest.fail("it started")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zip",
            r"the OTEL_EXPORTER_OTLP_\* variables: the exporter refuses a value: ",
        ),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1", r"OTEL_BSP_MAX_QUEUE_SIZE: must be at least OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x", r"the OTEL_\* variables: the OpenTelemetry SDK refuses a value: "),
    ],
)
def test_value_that_the_sdk_refuses_is_a_configuration_error(
    set_otel: SetOtel, name: str, value: str, said: str
) -> None:
    environment = set_otel({"OTEL_TRACES_EXPORTER": "otlp", name: value})
    with pytest.raises(ConfigError, match=f"^{said}"):
        build_traces(environment)


@pytest.mark.parametrize("sampler", [*sampling._KNOWN_SAMPLERS, "Always_On", ""])  # noqa: SLF001  # what the SDK knows
def test_samplers_of_the_sdk_are_taken(sampler: str) -> None:
    check_environment(
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    )


def test_variables_of_traces_that_are_off_are_not_looked_at(set_otel: SetOtel) -> None:
    build_traces(set_otel({"OTEL_BSP_MAX_QUEUE_SIZE": "x", "OTEL_TRACES_SAMPLER": "nonsense"})).shutdown()


async def test_nothing_is_exported_or_recorded_when_traces_are_off(configure: Configure) -> None:
    before = set(threading.enumerate())
    async with running_sidecar(configure()) as running:
        assert await running.trailers(metadata=SAMPLED_CALLER) == {}
        assert not [thread for thread in set(threading.enumerate()) - before if "Otel" in thread.name]


async def test_spans_go_over_http_too(configure: Configure, set_otel: SetOtel) -> None:
    with http_collector() as collector:
        environment = set_otel(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
                "OTEL_EXPORTER_OTLP_HEADERS": "x-team=push",
            }
        )
        async with running_sidecar(configure(), environment) as running:
            await running.push(metadata=SAMPLED_CALLER)
            await running.fail(android("unknown-device"), metadata=SAMPLED_CALLER)
    assert [(span.name, span.kind, span.status) for span in collector.spans] == [
        (METHOD, "server", "unset"),
        ("POST /v3/push/app", "client", "unset"),
        (METHOD, "server", "unset"),
        ("POST /v3/push/app", "client", "error"),
    ]
    assert {span.trace_id for span in collector.spans} == {"0af7651916cd43dd8448eb211c80319c"}
    assert collector.metadata[0]["x-team"] == "push"


async def test_collector_behind_tls_is_trusted_by_its_authority(
    configure: Configure, set_otel: SetOtel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # of the HTTP library under the exporter: they would win
        monkeypatch.delenv(name, raising=False)
    authority = Authority(tmp_path)
    with http_collector(authority.server_context()) as collector:
        environment = set_otel(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.ca_file),
            }
        )
        async with running_sidecar(configure(), environment) as running:
            await running.push()
    assert len(collector.spans) == 2


async def test_endpoint_of_traces_wins_and_headers_are_sent(traced: Traced, collector: Collector) -> None:
    otel = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=push",
    }
    async with traced(otel) as running:
        await running.push()
    assert len(collector.spans) == 2
    assert collector.metadata[0]["x-team"] == "push"


async def test_resource_is_what_the_environment_says(traced: Traced, collector: Collector) -> None:
    otel = {"OTEL_SERVICE_NAME": "shop-push", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
    async with traced(otel) as running:
        await running.push(metadata=TRACE)
        await running.push()
    assert len(collector.spans) == 4
    for span in collector.spans:
        assert span.resource["service.name"] == "shop-push"
        assert span.resource["deployment.environment.name"] == "test"
        assert span.resource["service.version"]


@pytest.mark.parametrize(
    ("sampler", "argument", "count"),
    [("traceidratio", "0", 0), ("parentbased_traceidratio", "0", 0), ("always_off", "", 0), ("always_on", "", 4)],
)
async def test_sampler_decides_what_is_exported_and_the_caller_gets_his_trace_anyway(
    traced: Traced, collector: Collector, sampler: str, argument: str, count: int
) -> None:
    async with traced({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}) as running:
        await running.push()
        rows = json.loads((await running.trailers(metadata=TRACE))["push-sidecar-trace"])
    assert [row[0] for row in rows] == [METHOD, "POST /v3/push/app"]
    assert len(collector.spans) == count


async def test_disabled_sdk_makes_no_spans_at_all(configure: Configure, set_otel: SetOtel) -> None:
    environment = set_otel({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    async with running_sidecar(configure(), environment) as running:
        assert await running.trailers(metadata=TRACE) == {"push-sidecar-trace": "[]"}


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


@pytest.mark.parametrize(
    ("sampler", "ratio", "flags", "count"),
    [
        ("parentbased_traceidratio", "0", "01", 2),
        ("parentbased_traceidratio", "1", "00", 0),
        ("parentbased_traceidratio", "1", "01", 2),
        ("parentbased_always_off", "", "01", 2),
        ("parentbased_always_off", "", None, 0),
        ("parentbased_always_on", "", "00", 0),
        ("parentbased_always_on", "", None, 2),
        ("traceidratio", "0", "01", 0),
        ("traceidratio", "1", "00", 2),
        ("always_on", "", "00", 2),
        ("always_off", "", "01", 0),
        ("", "", "00", 0),
        ("", "", None, 2),
    ],
)
async def test_parent_based_sampler_follows_the_caller_and_another_does_not(
    traced: Traced, collector: Collector, sampler: str, ratio: str, flags: str | None, count: int
) -> None:
    metadata = (("traceparent", PARENT + flags),) if flags else ()
    async with traced({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": ratio}) as running:
        await running.push(metadata=metadata)
    assert len(collector.spans) == count


async def test_no_request_has_more_spans_than_the_limit_of_a_batch(traced: Traced, collector: Collector) -> None:
    async with traced({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "3"}) as running:
        for _ in range(5):
            await running.push()
    sizes = [len(request.resource_spans[0].scope_spans[0].spans) for request in collector.requests]
    assert (max(sizes), sum(sizes)) == (3, 10)


async def test_batch_that_is_not_full_is_sent_after_the_delay(traced: Traced, collector: Collector) -> None:
    async with traced({"OTEL_BSP_SCHEDULE_DELAY": "1"}) as running:
        await running.push()
        await until(lambda: len(collector.spans) == 2)


@pytest.mark.parametrize(
    ("environment", "expected_s"),
    [
        ({}, 10),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}, 2.5),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "2500", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "700"}, 0.7),
    ],
)
def test_time_out_is_in_milliseconds_as_specified(environment: dict[str, str], expected_s: float) -> None:
    grpc_exporter = build_exporter({"OTEL_TRACES_EXPORTER": "otlp", **environment})
    http_exporter = build_exporter(
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", **environment}
    )
    assert isinstance(grpc_exporter, GrpcExporter)
    assert isinstance(http_exporter, HttpExporter)
    assert grpc_exporter._timeout == expected_s  # noqa: SLF001  # what the exporter was given
    assert http_exporter._client._timeout == expected_s  # noqa: SLF001
    grpc_exporter.shutdown()
    http_exporter.shutdown()


@pytest.mark.parametrize("attributes", ["deployment.environment.name=test,team=a%20b", "service.name=other"])
async def test_resource_attributes_are_read(traced: Traced, collector: Collector, attributes: str) -> None:
    async with traced({"OTEL_RESOURCE_ATTRIBUTES": attributes}) as running:
        await running.push()
    (found,) = {tuple(sorted(span.resource.items())) for span in collector.spans}
    expected = (
        {"deployment.environment.name": "test", "team": "a b"} if "team" in attributes else {"service.name": "other"}
    )
    assert expected.items() <= dict(found).items()
    assert dict(found)["telemetry.sdk.language"] == "python"


class BlockedExporter(SpanExporter):
    """An exporter that hangs, as one does whose collector accepts and never answers."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.is_called = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.is_called.set()
        self.may_end.wait(30)
        return SpanExportResult.FAILURE


@pytest.fixture
def blocked() -> Iterator[BlockedExporter]:
    exporter = BlockedExporter()
    yield exporter
    exporter.may_end.set()


def test_exporter_that_hangs_holds_the_exit_for_the_limit_only(blocked: BlockedExporter) -> None:
    pipeline = TracePipeline(blocked, flush_timeout_s=0.2)
    pipeline.tracers.start_call(METHOD, {}, is_requested=False).end({}, is_error=False)
    started = time.monotonic()
    pipeline.shutdown()
    assert 0.2 <= time.monotonic() - started < 10
    assert blocked.is_called.is_set()


def test_limit_of_the_flush_is_five_seconds() -> None:
    assert TracePipeline(None)._flush_timeout_s == 5.0  # noqa: SLF001  # what an operator is promised


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_pushes_work_when_nobody_listens_at_the_endpoint(
    configure: Configure, set_otel: SetOtel, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = set_otel(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "1",
            "OTEL_BSP_MAX_QUEUE_SIZE": "4",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2",
        }
    )
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_sidecar(configure(), environment))
        results: list[Any] = await asyncio.gather(*(running.push() for _ in range(50)))
        assert all(result.attempts == 1 for result in results)
        started = time.monotonic()
    assert time.monotonic() - started < 15


NO_SCHEME = "the address of the collector has no scheme and so means TLS: set http:// for cleartext"


def keys_warned_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["key"] for record in caplog.records if record.message == NO_SCHEME]


def test_address_without_a_scheme_means_tls_which_is_said_at_the_start_and_in_what_is_lost(
    set_otel: SetOtel, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    address = collector.endpoint.removeprefix("http://")
    environment = set_otel({"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_TIMEOUT": "2000"})
    check_environment(environment)
    assert keys_warned_of(caplog) == []
    pipeline = build_traces(environment)
    pipeline.tracers.start_call(METHOD, {}, is_requested=False).end({}, is_error=False)
    pipeline.shutdown()
    assert collector.spans == []
    assert keys_warned_of(caplog) == ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert [vars(record)["cause"] for record in caplog.records if record.message == "traces lost"] == [
        "TLS handshake failed"
    ]


@pytest.mark.parametrize(
    ("environment", "keys"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:4317"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317", "OTEL_EXPORTER_OTLP_TRACES_INSECURE": "false"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "a:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4317"}, []),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "127.0.0.1:4317"},
            ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
        ),
    ],
)
def test_warning_of_tls_is_for_an_address_that_does_not_say_it(
    set_otel: SetOtel, caplog: pytest.LogCaptureFixture, environment: dict[str, str], keys: list[str]
) -> None:
    build_traces(set_otel(environment)).shutdown()
    assert keys_warned_of(caplog) == keys
