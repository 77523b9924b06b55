"""The example of `deploy/jaeger`: without an engine, what its containers would run is run here as processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.jaeger.callers import Caller
from tests.support.jaeger import Jaeger
from tests.support.process import KEPT_VARIABLES, ROOT
from tests.support.redis_server import free_port

pytestmark = pytest.mark.timeout(900)

FOLDER = ROOT / "deploy" / "jaeger"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SHOPS = ("shop-retried", "shop", "shop-slow")  # the first meets a sidecar without a connection to the vendor
END_OF_A_PUSH = re.compile("push_id|VENDOR_BUSY")
WITHIN_S = 60


def test_every_file_that_the_compose_file_names_is_there() -> None:
    for service in SERVICES.values():
        if build := service.get("build"):
            context = (FOLDER / build["context"]).resolve()
            assert (context / build.get("dockerfile", "Dockerfile")).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (FOLDER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    assert {"healthy" in str(service.get("depends_on")) for name, service in SERVICES.items() if name in SHOPS} == {
        True
    }


def test_every_variable_is_a_text_and_every_dependency_a_service() -> None:
    for service in SERVICES.values():
        assert all(isinstance(value, str) for value in service.get("environment", {}).values())
        assert set(service.get("depends_on", {})) <= SERVICES.keys()
        assert all(isinstance(word, str) for word in service.get("command", []))


def test_image_of_its_caller_has_the_module_that_it_is_built_with() -> None:
    dockerfile = (ROOT / "clients" / "go" / "example" / "traced" / "Dockerfile").read_text()
    assert "WORKDIR /src/example/traced\n" in dockerfile
    # Its context is the folder of the Go client: the module that `go.mod` puts in place is in it.
    replaced = re.search(r"=> (\S+)", (ROOT / "clients/go/example/traced/go.mod").read_text())
    assert replaced is not None
    assert (ROOT / "clients/go/example/traced" / replaced[1]).resolve() == ROOT / "clients" / "go"


class Composition:
    """The services as processes; `jaeger` is one that runs already."""

    def __init__(self, jaeger: Jaeger, caller: Caller, folder: Path) -> None:
        self._caller = caller
        self._folder = folder
        port = free_port()
        self._places = {
            "http://jaeger:4317": jaeger.otlp_grpc,
            "0.0.0.0:8443": f"127.0.0.1:{port}",
            "https://simulator:8443": f"https://localhost:{port}",
            "/ca/": f"{folder}/",
            "/etc/push-sidecar/config.yaml": str(folder / "config.yaml"),
            "/etc/push-sidecar/secret": str(FOLDER / "simulated-secret"),
        }
        (folder / "config.yaml").write_text(self._placed((FOLDER / "sidecar.yaml").read_text()))

    def _placed(self, text: str) -> str:
        for name, place in self._places.items():
            text = text.replace(name, place)
        return text

    @contextmanager
    def started(self, name: str, extra: Mapping[str, str] | None = None) -> Iterator[Path]:
        """Run a service's command in its environment; gives what it writes."""
        service = SERVICES[name]
        program = self._caller.command if name in SHOPS else (sys.executable, "-m", "sidecar")
        kept = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
        environment = {key: self._placed(value) for key, value in service.get("environment", {}).items()}
        output = self._folder / f"{name}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*program, *map(self._placed, service["command"])],
                env={**kept, **environment, **(extra or {})},
                cwd=ROOT,
                stdout=file,
                stderr=file,
            )
        try:
            yield output
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0, output.read_text()
        finally:
            process.kill()
            process.wait()

    def wait_healthy(self, name: str, output: Path) -> None:
        """Wait as the compose file's health check would."""
        _, _, program = map(self._placed, SERVICES[name]["healthcheck"]["test"][1:])
        wait_for(lambda: subprocess.run([sys.executable, "-c", program], check=False).returncode == 0, output)

    def serve_at(self, address: str) -> None:
        self._places["127.0.0.1:50051"] = address


def wait_for(is_true: Callable[[], bool], output: Path) -> None:
    until = time.monotonic() + WITHIN_S
    while not is_true():
        assert time.monotonic() < until, output.read_text()
        time.sleep(0.05)


def has_pushed(output: Path) -> bool:
    return END_OF_A_PUSH.search(output.read_text()) is not None


def serving_address(output: Path) -> str:
    def find() -> str:
        lines = [json.loads(line) for line in output.read_text().splitlines(keepends=True) if line.endswith("}\n")]
        return next((str(line["grpc"]) for line in lines if line["event"] == "serving"), "")

    wait_for(lambda: bool(find()), output)
    return find()


def test_its_services_are_seen_in_jaeger_as_the_readme_says(
    jaeger: Jaeger, build_caller: Callable[[str], Caller], tmp_path: Path
) -> None:
    composition = Composition(jaeger, build_caller("go"), tmp_path)
    free = {f"PUSH_SIDECAR_{listener}__LISTEN": "127.0.0.1:0" for listener in ("SERVER", "HEALTH", "ADMIN")}
    with ExitStack() as stack:
        simulator = stack.enter_context(composition.started("simulator"))
        composition.wait_healthy("simulator", simulator)
        sidecar = stack.enter_context(composition.started("sidecar", free))
        composition.serve_at(serving_address(sidecar))
        for name in SHOPS:
            output = stack.enter_context(composition.started(name))
            wait_for(partial(has_pushed, output), output)

    def names_of(service: str) -> list[str]:
        (trace,) = jaeger.get(f"/api/traces?service={service}&limit=1&lookback=1h")["data"]
        found = jaeger.wait_for_trace(trace["traceID"], lambda spans: len(spans) >= 4)
        assert {span.service for span in found} == {service, "push-sidecar"}
        return [span.name for span in found if span.service == "push-sidecar"][1:]

    assert names_of("shop") == ["POST /v3/push/app"]
    assert names_of("shop-slow") == ["POST /v3/push/app"]
    assert names_of("shop-retried") == ["POST /v3/push/app", "retry backoff"] * 2 + ["POST /v3/push/app"]
    check_picture(jaeger, "shop-retried")


def texts_of(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter("{http://www.w3.org/2000/svg}text")]


def check_picture(jaeger: Jaeger, service: str) -> None:
    drawn = subprocess.run(
        [sys.executable, str(FOLDER / "draw.py"), "--jaeger", jaeger.query, "--latest", service],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    texts = texts_of(ET.fromstring(drawn))  # noqa: S314  # ours
    assert texts.count("POST /v3/push/app") == 3
    assert texts.count("retry backoff") == 2
    assert any(text.startswith("resend 2, HTTP 200, VENDOR_BUSY, request.body.sent at") for text in texts)
    assert any("tls " in text for text in texts)
    if out := os.environ.get("DRAWN_TRACE"):
        Path(out).write_text(drawn)


def test_committed_picture_shows_what_the_readme_explains() -> None:
    texts = texts_of(ET.parse(FOLDER / "trace.svg").getroot())  # noqa: S314  # ours
    readme = (FOLDER / "README.md").read_text()
    assert "![" in readme
    assert "(trace.svg)" in readme
    for name in ("ship order", "retry backoff", "POST /v3/push/app"):
        assert name in texts
        assert f"`{name}`" in readme


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required"),
        (("--latest", "shop", "--jaeger", "file:///etc"), "starts with http:// or https://"),
        (("--latest", "nobody-at-all"), "no such trace"),
    ],
)
def test_drawing_says_what_is_wrong(arguments: tuple[str, ...], said: str, jaeger: Jaeger) -> None:
    where = () if "--jaeger" in arguments else ("--jaeger", jaeger.query)
    ran = subprocess.run(
        [sys.executable, str(FOLDER / "draw.py"), *arguments, *where], capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert said in ran.stderr
