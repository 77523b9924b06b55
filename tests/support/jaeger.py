"""A real Jaeger with its storage in memory, on free ports of loopback, and the traces that its query API gives back."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.redis_server import free_port
from tests.support.tools import find_built

START_TIMEOUT_S = 60
TRACE_TIMEOUT_S = 60


@dataclass(frozen=True)
class JaegerSpan:
    """A span as the query API gives it; times in microseconds since the epoch, a root's `parent_id` is ""."""

    service: str
    name: str
    kind: str
    span_id: str
    parent_id: str
    start_us: int
    end_us: int
    is_error: bool
    tags: Mapping[str, Any]
    events: tuple[tuple[str, int], ...]

    @property
    def duration_us(self) -> int:
        return self.end_us - self.start_us


class Jaeger:
    """`otlp_grpc` and `otlp_http` are for `OTEL_EXPORTER_OTLP_ENDPOINT`; `query` is the address of its API and UI."""

    def __init__(self, *, grpc_port: int, http_port: int, query_port: int) -> None:
        self.otlp_grpc = f"http://127.0.0.1:{grpc_port}"
        self.otlp_http = f"http://127.0.0.1:{http_port}"
        self.query = f"http://127.0.0.1:{query_port}"

    def get(self, path: str) -> Any:
        """Ask the query API; None where it says 404."""
        try:
            with urllib.request.urlopen(f"{self.query}{path}", timeout=10) as answer:  # noqa: S310  # of loopback
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def trace(self, trace_id: str) -> list[JaegerSpan]:
        """Return the spans of a trace in the order of their starts."""
        answer = self.get(f"/api/traces/{trace_id}")
        found = answer["data"] if answer else []
        return sorted((span for trace in found for span in _spans(trace)), key=lambda span: span.start_us)

    def wait_for_trace(self, trace_id: str, is_whole: Callable[[list[JaegerSpan]], bool]) -> list[JaegerSpan]:
        """Wait until a trace is there and whole."""
        until = time.monotonic() + TRACE_TIMEOUT_S
        while not is_whole(spans := self.trace(trace_id)):
            assert time.monotonic() < until, f"the trace is not whole: {[(span.service, span.name) for span in spans]}"
            time.sleep(0.05)
        return spans


@contextmanager
def jaeger(directory: Path) -> Iterator[Jaeger]:
    """Run one inside the block."""
    program = find_built("jaeger")
    ports = {"grpc_port": free_port(), "http_port": free_port(), "query_port": free_port()}
    config, log = directory / "jaeger.yaml", directory / "jaeger.log"
    config.write_text(yaml.safe_dump(_config(**ports)))
    with log.open("wb") as output:
        process = subprocess.Popen([str(program), "--config", str(config)], stdout=output, stderr=output)
    running = Jaeger(**ports)
    try:
        _wait_until_up(running, process, log)
        yield running
    finally:
        process.kill()
        process.wait()


def _config(*, grpc_port: int, http_port: int, query_port: int) -> dict[str, Any]:
    def at(port: int) -> dict[str, str]:
        return {"endpoint": f"127.0.0.1:{port}"}

    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": at(query_port),
                "grpc": {"endpoint": "127.0.0.1:0"},
            },
        },
        "receivers": {"otlp": {"protocols": {"grpc": at(grpc_port), "http": at(http_port)}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }


def _wait_until_up(running: Jaeger, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            running.get("/api/services")
        except OSError:
            assert process.poll() is None, f"Jaeger ends at once:\n{log.read_text()}"
            assert time.monotonic() < until, f"Jaeger does not come up:\n{log.read_text()}"
            time.sleep(0.05)
        else:
            return


def _spans(trace: Mapping[str, Any]) -> Iterator[JaegerSpan]:
    for span in trace["spans"]:
        tags = {tag["key"]: tag["value"] for tag in span["tags"]}
        parents = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
        events = []
        for event in span["logs"]:
            names = [field["value"] for field in event["fields"] if field["key"] == "event"]
            events += [(name, event["timestamp"]) for name in names]
        yield JaegerSpan(
            service=trace["processes"][span["processID"]]["serviceName"],
            name=span["operationName"],
            kind=tags.pop("span.kind", "internal"),
            span_id=span["spanID"],
            parent_id=parents[0] if parents else "",
            start_us=span["startTime"],
            end_us=span["startTime"] + span["duration"],
            is_error=tags.pop("error", False) is True,
            tags=tags,
            events=tuple(sorted(events, key=lambda event: event[1])),
        )
