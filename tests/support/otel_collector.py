"""A real OpenTelemetry Collector, run with a given configuration."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import KEPT_VARIABLES
from tests.support.tools import find_built

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30


@contextmanager
def otel_collector(config: Path, environment: Mapping[str, str], *, listens_on: int, log: Path) -> Iterator[None]:
    """Run it inside the block; at its end it sends what it has. `listens_on`: a port that it has when it is up."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    # Its own metrics have a fixed port.
    command = [str(find_built("collector")), "--config", str(config), "--set", "service.telemetry.metrics.level=none"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**kept, **environment}, stdout=output, stderr=output)
    try:
        _wait_until_up(process, listens_on, log)
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_TIMEOUT_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, f"the collector ends at once:\n{log.read_text()}"
            assert time.monotonic() < until, f"the collector does not come up:\n{log.read_text()}"
            time.sleep(0.02)
        else:
            return
