"""The example of tail sampling in a real collector: failed, slow and retried pushes stay, and a share of the rest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.config import Config
from sidecar.simulator import Fault, Kind, Simulator
from tests.support.collector import Collector
from tests.support.otel_collector import otel_collector
from tests.support.process import ROOT
from tests.support.redis_server import free_port
from tests.support.running import METHOD, Running, android, running_sidecar
from tests.support.waiting import until

EXAMPLE = ROOT / "deploy" / "collector" / "tail-sampling.yaml"
SLOW_S = 1.5
PLAIN_PUSHES = 20

Configure = Callable[..., Config]
SetOtel = Callable[[dict[str, str]], dict[str, str]]


def metadata_of(number: int) -> tuple[tuple[str, str], ...]:
    return (("traceparent", f"00-{number:032x}-00000000000000aa-01"),)


async def push_all(running: Running, vendor: Simulator) -> dict[str, int]:
    """Make pushes of every kind; returns the number of each one's trace.

    Plain ones come first: when the others are decided, so are they.
    """
    for number in range(PLAIN_PUSHES):
        await running.push(metadata=metadata_of(100 + number))
    await running.fail(android("unknown-device"), metadata=metadata_of(1))
    await running.fail(android(""), metadata=metadata_of(2))
    await running.fail(android("fault-http-503"), metadata=metadata_of(3))
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10201))
    assert (await running.push(metadata=metadata_of(4))).attempts == 2
    await running.push(android(f"fault-latency-{SLOW_S}"), metadata=metadata_of(5))
    return {"unknown device": 1, "invalid": 2, "unknown outcome": 3, "retried": 4, "slow": 5}


@pytest.mark.parametrize("keep_percent", [0, 100])
async def test_failed_slow_and_retried_pushes_are_kept_whole_whatever_the_share_of_the_rest(
    keep_percent: int,
    collector: Collector,
    vendor: Simulator,
    configure: Configure,
    set_otel: SetOtel,
    tmp_path: Path,
) -> None:
    port = free_port()
    variables = {
        "OTLP_GRPC": f"127.0.0.1:{port}",
        "OTLP_HTTP": f"127.0.0.1:{free_port()}",
        "BACKEND": collector.endpoint.removeprefix("http://"),
        "DECISION_WAIT": "2s",
        "SLOW_MS": str(int(SLOW_S * 1000) - 100),
        "KEEP_PERCENT": str(keep_percent),
    }
    environment = set_otel({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
    with otel_collector(EXAMPLE, variables, listens_on=port, log=tmp_path / "collector.log"):
        # Its end sends every span, so that no trace is seen in halves.
        async with running_sidecar(configure(), environment) as running:
            kinds = await push_all(running, vendor)
        expected = len(kinds) + (PLAIN_PUSHES if keep_percent else 0)
        await until(lambda: len({span.trace_id for span in collector.spans}) >= expected, timeout_s=30)
    kept = {int(span.trace_id, 16) for span in collector.spans}
    plain = set(range(100, 100 + PLAIN_PUSHES))
    assert kept == set(kinds.values()) | (plain if keep_percent else set())
    for number in kept:
        names = [span.name for span in collector.spans if int(span.trace_id, 16) == number]
        assert names[0] == METHOD
        assert len(names) == {kinds["invalid"]: 1, kinds["retried"]: 4}.get(number, 2)
