"""What is compared: how each server is started, and how the load reaches it.

Measuring belongs to `measure`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.interpreter import Interpreter, find_interpreter
from bench.programs import ROOT, started

APP_ID = "bench-app"  # the upstream accepts these two alone (bench/go/internal/xg)
SECRET_KEY = "bench-secret"  # noqa: S105 - of a server that lives for one run on this machine
APP = "bench"


@dataclass(frozen=True)
class Site:
    """What all targets of a run share: programs, a folder for its files, the servers' Python, the upstream."""

    programs: Path
    folder: Path
    python: Interpreter
    ca_file: Path
    upstream_url: str
    upstream_pid: int
    otlp_url: str

    @property
    def tracing(self) -> dict[str, str]:
        """Environment of both Python servers: one trace in a hundred goes to the sink."""
        return {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }


@dataclass(frozen=True)
class Served:
    """A target that is ready: the command of its load generator, and the process that is measured."""

    load: tuple[str, ...]
    pid: int | None  # None: the load generator measures itself


@dataclass(frozen=True)
class Target:
    """One thing to compare."""

    key: str
    label: str
    start: Callable[[Site], AbstractContextManager[Served]] = field(repr=False)
    takes_lists: bool = True


@contextmanager
def site(programs: Path, folder: Path) -> Iterator[Site]:
    """Start the upstream; it serves until the end of the run."""
    ca_file = folder / "ca.pem"
    command: list[str | Path] = [programs / "upstream", "--ca-file", ca_file]
    with started(command, log=folder / "upstream.log", ready_key="https") as upstream:
        ready = upstream.ready
        yield Site(programs, folder, find_interpreter(), ca_file, ready["https"], upstream.pid, ready["otlp"])


@contextmanager
def sidecar(at: Site, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Serve this project's sidecar, as an operator would configure it, with room for 256 in flight."""
    secret = at.folder / "secret"
    secret.write_text(SECRET_KEY)
    secret.chmod(0o600)
    config = at.folder / "sidecar.yaml"
    app = {
        "provider": "xg",
        "platform": "android",
        "base_url": at.upstream_url,
        "ca_file": str(at.ca_file),
        "app_id": APP_ID,
        "secret_key_file": str(secret),
        "max_in_flight": 256,
        "max_queue": 1024,
    }
    listeners = {name: {"listen": "127.0.0.1:0"} for name in ("server", "health", "admin")}
    config.write_text(json.dumps({**listeners, "apps": {APP: app}}))  # JSON is YAML
    command: list[str | Path] = [at.python.executable, "-m", "sidecar", "serve", "--config", config]
    environment = at.python.environment({**at.tracing, **(env or {})})
    with started(command, log=at.folder / "sidecar.log", ready_key="grpc", env=environment) as server:
        yield _through_grpc(at, server.ready["grpc"], server.pid)


@contextmanager
def naive(at: Site) -> Iterator[Served]:
    """Serve `bench/naive/server.py`."""
    script = ROOT / "bench" / "naive" / "server.py"
    command: list[str | Path] = [
        at.python.executable,
        script,
        "--base-url",
        at.upstream_url,
        "--ca-file",
        at.ca_file,
    ]
    env = at.python.environment({**at.tracing, "APP_ID": APP_ID, "SECRET_KEY": SECRET_KEY})
    with started(command, log=at.folder / "naive.log", ready_key="grpc", env=env) as server:
        yield _through_grpc(at, server.ready["grpc"], server.pid)


@contextmanager
def go_sidecar(at: Site) -> Iterator[Served]:
    """Serve `bench/go/cmd/gosidecar`."""
    command: list[str | Path] = [
        at.programs / "gosidecar",
        "--base-url",
        at.upstream_url,
        "--ca-file",
        at.ca_file,
    ]
    with started(command, log=at.folder / "gosidecar.log", ready_key="grpc") as server:
        yield _through_grpc(at, server.ready["grpc"], server.pid)


@contextmanager
def direct(at: Site) -> Iterator[Served]:
    """No server: the load generator calls the upstream."""
    program = str(at.programs / "direct")
    yield Served((program, "--base-url", at.upstream_url, "--ca-file", str(at.ca_file)), None)


def _through_grpc(at: Site, address: str, pid: int) -> Served:
    return Served((str(at.programs / "load"), "--target", address, "--app", APP), pid)


TARGETS = {
    target.key: target
    for target in (
        Target("a", "push-sidecar", sidecar),
        Target("b", "naive Python sidecar", naive, takes_lists=False),
        Target("c", "minimal Go sidecar", go_sidecar),
        Target("d", "Go, no sidecar", direct, takes_lists=False),
    )
}
