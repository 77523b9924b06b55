"""The callers with traces of their own, one of each language: how they are built and called."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.jaeger import Jaeger
from tests.support.process import KEPT_VARIABLES
from tests.support.toolchains import find_tool, run_tool

CLIENTS = Path(__file__).parents[2] / "clients"


@dataclass(frozen=True)
class Caller:
    """A command that takes a target and a token, and how it speaks to Jaeger."""

    language: str
    command: tuple[str, ...]
    protocol: str

    def push(self, jaeger: Jaeger, target: str, token: str, *, is_refused: bool = False) -> str:
        """Make one push; returns the id of its trace, which is in Jaeger by then, as far as it is the caller's."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        result = subprocess.run(
            (*self.command, target, token),
            env={
                **kept,
                "OTEL_SERVICE_NAME": f"shop-{self.language}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
                "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_grpc if self.protocol == "grpc" else jaeger.otlp_http,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        words = result.stdout.split()
        if is_refused:
            assert (result.returncode, words[::2]) == (1, ["trace_id"]), result
        else:
            assert (result.returncode, result.stderr, words[::2]) == (0, "", ["trace_id", "push_id"]), result
        return words[1]


def _go(folder: Path) -> Caller:
    program = folder / "traced"
    run_tool(find_tool("go"), "build", "-o", str(program), ".", cwd=CLIENTS / "go" / "example" / "traced")
    return Caller("go", (str(program),), "grpc")


def _java(_folder: Path) -> Caller:
    java, maven = find_tool("java"), find_tool("mvn")
    run_tool(maven, "--quiet", "--batch-mode", "package", "-DskipTests", cwd=CLIENTS / "java")
    target = CLIENTS / "java" / "target"
    path = os.pathsep.join((str(target / "classes"), str(target / "test-classes"), str(target / "dependency" / "*")))
    return Caller("java", (java, "-cp", path, "io.github.pushsidecar.example.TracedExample"), "http/protobuf")


def _python(_folder: Path) -> Caller:
    return Caller("python", (sys.executable, str(CLIENTS / "python" / "traced_example.py")), "grpc")


BUILDERS: dict[str, Callable[[Path], Caller]] = {"go": _go, "java": _java, "python": _python}
