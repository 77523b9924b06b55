"""The callers of each language: how their runner and their example are built and started.

It owns commands, and says what to install where a toolchain is missing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = ROOT / "clients"
BUILD_TIMEOUT_S: Final = 600


@dataclass(frozen=True)
class Programs:
    """Commands: the runner takes the target; the example takes what `example` makes of target and token."""

    runner: tuple[str, ...]
    example: Callable[[str, str], tuple[str, ...]]


def build(language: str, folder: Path) -> Programs:
    """Build the programs of a language, in `folder` where that is possible; skips where its tools are missing."""
    return _BUILDERS[language](folder)


def _build_go(folder: Path) -> Programs:
    go = _find("go", "Go 1.26 or newer is missing: https://go.dev/dl")
    for name in ("interop", "example"):
        _run(go, "build", "-o", str(folder / name), f"./{name}", cwd=CLIENTS / "go")
    example = str(folder / "example")
    return Programs((str(folder / "interop"),), lambda target, token: (example, "-address", target, token))


def _build_java(_folder: Path) -> Programs:
    advice = "is missing: JDK 17 and Maven 3.8 or newer, https://adoptium.net and https://maven.apache.org"
    java, maven = _find("java", f"java {advice}"), _find("mvn", f"mvn {advice}")
    # Into Maven's own folder, so that the next build is quick.
    _run(maven, "--quiet", "--batch-mode", "package", "-DskipTests", cwd=CLIENTS / "java")
    target = CLIENTS / "java" / "target"
    path = os.pathsep.join((str(target / "classes"), str(target / "test-classes"), str(target / "dependency" / "*")))
    base = (java, "-cp", path)
    package = "io.github.pushsidecar"
    return Programs(
        (*base, f"{package}.interop.Runner"), lambda target, token: (*base, f"{package}.example.Example", target, token)
    )


def _build_python(_folder: Path) -> Programs:
    folder = CLIENTS / "python"
    example = (sys.executable, str(folder / "example.py"))
    return Programs((sys.executable, str(folder / "interop.py")), lambda target, token: (*example, target, token))


_BUILDERS: Final = {"go": _build_go, "java": _build_java, "python": _build_python}
LANGUAGES: Final = tuple(_BUILDERS)


def _find(command: str, advice: str) -> str:
    found = shutil.which(command)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(advice)
    pytest.skip(advice)


def _run(*command: str, cwd: Path) -> None:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S)
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}{result.stderr}"
