"""One run through every kind of outcome, before a real Prometheus, so that every metric is there with its labels."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import msgspec
import yaml

from pushsidecar.xg.v1 import AllDevices
from sidecar.simulator import Fault, Kind, Simulator
from tests.support.certificates import Authority
from tests.support.redis_server import RedisServer, free_port, redis_server
from tests.support.running import FREE_PORT, Running, android, build_config, running_sidecar
from tests.support.toolchains import find_tool
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
RULES = [ROOT / "deploy" / "prometheus" / name for name in ("recording.yaml", "alerts.yaml")]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
FAILED_TRACE_ID = "1af7651916cd43dd8448eb211c80319c"
SCRAPE_INTERVAL_S = 0.4
START_TIMEOUT_S = 60


def traced(trace_id: str) -> tuple[tuple[str, str], ...]:
    return (("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"),)


class Prometheus:
    """A server; asked about the moment `at`, if that is set."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.at: float | None = None

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:  # noqa: S310  # ours
            return msgspec.json.decode(answer.read())["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression."""
        at = {} if self.at is None else {"time": f"{self.at:.3f}"}
        result: list[dict[str, Any]] = self.get("query", query=expression, **at)["result"]
        return result

    def has_answered(self) -> bool:
        """Whether it is ready."""
        try:
            return bool(self.get("status/runtimeinfo"))
        except OSError:
            return False


@contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    """Run one inside the block, configured as `deploy/prometheus/prometheus.yaml` has it, but faster."""
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    interval = f"{SCRAPE_INTERVAL_S * 1000:.0f}ms"
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(RULES[0].parent / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    file = directory / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                find_tool("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
    server = Prometheus(port)
    try:
        until_s = time.monotonic() + START_TIMEOUT_S
        while not server.has_answered():
            assert process.poll() is None, (directory / "prometheus.log").read_text()
            assert time.monotonic() < until_s, "Prometheus does not come up"
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Observed:
    """What the sidecar exported at the end, and the Prometheus that has seen it all."""

    exposition: bytes
    server: Prometheus


@contextmanager
def observed(directory: Path) -> Iterator[Observed]:
    """Make the run; inside the block, Prometheus answers about its end."""
    find_tool("prometheus")
    admin_port = free_port()
    with redis_server(directory) as redis, prometheus(directory, f"127.0.0.1:{admin_port}") as server:
        exposition = asyncio.run(_run(directory, admin_port, redis, server))
        yield Observed(exposition, server)


async def _run(directory: Path, admin_port: int, redis: RedisServer, server: Prometheus) -> bytes:
    async with Simulator() as vendor:
        leaf = Authority(directory).leaf()
        tls = {"cert_file": str(leaf.cert_file), "key_file": str(leaf.key_file)}
        config = build_config(
            directory,
            vendor,
            listeners={"tls": {"listen": FREE_PORT, "tls": tls}},
            admin={"listen": f"127.0.0.1:{admin_port}"},
            idempotency={"store": "redis"},
            pacing={"storage": "redis"},
            redis={"url": redis.url, "timeout_s": 0.5},
            breaker={"min_calls": 3, "failure_ratio": 0.3, "open_s": 60},
            app={
                "max_in_flight": 1,
                "max_queue": 1,
                "quota_retry_after_s": 0.2,
                "quotas": {"all+tag": "1/second", "list": "1/hour"},
                "retry": {"initial_backoff_s": 0.01},
            },
        )
        async with running_sidecar(config) as running:
            # Twice, with a look between the two: a rate needs two, and so does what begins with the second.
            await _make_every_outcome(running, vendor)
            await _wait_for_scrapes(server, running)
            await _make_every_outcome(running, vendor)
            redis.stop()
            await running.fail(android(request_id="no-store"))
            await running.fail(android(all=AllDevices(), request_id="no-store"))
            await running.push(android(all=AllDevices()))
            await vendor.refuse_connections()
            for _ in range(4):
                await running.fail(metadata=traced(FAILED_TRACE_ID))
            await _wait_for_scrapes(server, running)
            await _choose_moment(server, running)
            exposition, _ = await running.sidecar.metrics.scrape()
            return exposition


async def _make_every_outcome(running: Running, vendor: Simulator) -> None:
    await running.push(metadata=traced(TRACE_ID))
    for _ in range(2):  # the second waits for its quota
        await running.push(android(all=AllDevices()))
    await running.push(android(validate_only=True))
    await running.fail(android(""))
    await running.fail(android("unknown-device"))
    await running.fail(android("fault-http-503"))
    await running.fail(android("fault-reset-after-body"))
    for _ in range(2):
        await running.push(android(request_id="once"))
    await running.fail(android(request_id="once", seq=1))
    vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10201))
    await running.push()
    await running.fail(android("fault-http-429"))
    await asyncio.sleep(0.25)  # the pause that the vendor asked for
    received = vendor.received
    late = asyncio.create_task(running.fail(android("fault-latency-1"), timeout_s=0.3))
    await until(lambda: vendor.received > received)
    waiting = asyncio.create_task(running.push())
    await until(lambda: b'push_sidecar_queued{app="shop"} 1.0' in running.sidecar.metrics.exposition())
    assert (await running.fail()).reason == "OVERLOADED"
    await asyncio.gather(late, waiting)


def _up(running: Running) -> str:
    return f'up{{instance="{running.sidecar.admin_address}"}}'


async def _choose_moment(server: Prometheus, running: Running) -> None:
    """Let it be asked about a moment whose last look found the sidecar: after one that did not, all is gone."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            server.at = time.time()
            await asyncio.sleep(2 * SCRAPE_INTERVAL_S)  # looks that began before it have ended
            found = await asyncio.to_thread(server.query, _up(running))
            if found and float(found[0]["value"][1]) == 1:
                return


async def _wait_for_scrapes(server: Prometheus, running: Running, count: int = 3) -> None:
    """Wait until Prometheus has looked so often, and evaluated its rules since."""
    target = _up(running)

    async def looks() -> float:
        # On a busy machine some find nothing in time.
        found = await asyncio.to_thread(server.query, f"sum_over_time({target}[1h])")
        return float(found[0]["value"][1]) if found else 0.0

    async with asyncio.timeout(START_TIMEOUT_S):
        before = await looks()
        while await looks() < before + count:  # noqa: ASYNC110  # Prometheus has no event
            await asyncio.sleep(SCRAPE_INTERVAL_S / 2)
        await asyncio.sleep(2 * SCRAPE_INTERVAL_S)
