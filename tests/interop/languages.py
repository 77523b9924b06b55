"""The callers of each language: how their runner and their example are built and started.

It owns commands, and says what to install where a toolchain is missing.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.toolchains import find_tool, run_tool

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = ROOT / "clients"


@dataclass(frozen=True)
class Programs:
    """Commands: the runner takes the target, the example takes target and token; `example_source` is its text."""

    runner: tuple[str, ...]
    example: tuple[str, ...]
    example_source: Path


def build(language: str, folder: Path) -> Programs:
    """Build the programs of a language, in `folder` where that is possible; skips where its tools are missing."""
    return _BUILDERS[language](folder)


def _build_go(folder: Path) -> Programs:
    go = find_tool("go")
    for name in ("interop", "example"):
        run_tool(go, "build", "-o", str(folder / name), f"./{name}", cwd=CLIENTS / "go")
    return Programs((str(folder / "interop"),), (str(folder / "example"),), CLIENTS / "go" / "example" / "main.go")


def _build_java(_folder: Path) -> Programs:
    java, maven = find_tool("java"), find_tool("mvn")
    # Into Maven's own folder, so that the next build is quick.
    run_tool(maven, "--quiet", "--batch-mode", "package", "-DskipTests", cwd=CLIENTS / "java")
    target = CLIENTS / "java" / "target"
    path = os.pathsep.join((str(target / "classes"), str(target / "test-classes"), str(target / "dependency" / "*")))
    base = (java, "-cp", path)
    package = "io.github.pushsidecar"
    source = CLIENTS / "java" / "src" / "test" / "java" / "io" / "github" / "pushsidecar" / "example" / "Example.java"
    return Programs((*base, f"{package}.interop.Runner"), (*base, f"{package}.example.Example"), source)


def _build_python(_folder: Path) -> Programs:
    folder = CLIENTS / "python"
    example = folder / "example.py"
    return Programs((sys.executable, str(folder / "interop.py")), (sys.executable, str(example)), example)


_BUILDERS: Final = {"go": _build_go, "java": _build_java, "python": _build_python}
LANGUAGES: Final = tuple(_BUILDERS)
