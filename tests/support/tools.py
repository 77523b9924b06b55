"""Servers that `.ci/tools.sh` builds outside the repository. Tests are skipped without one, or fail when CI=true."""

import os
import subprocess
from pathlib import Path
from typing import Literal

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "tools.sh"


def find_built(name: Literal["jaeger", "collector"]) -> Path:
    """Return the program: the one that `JAEGER_BINARY` or `COLLECTOR_BINARY` names, else the built one."""
    named = os.environ.get(f"{name.upper()}_BINARY")
    program = Path(named) if named else _built(name)
    if program.is_file() and os.access(program, os.X_OK):
        return program
    advice = f"{name} is missing: `.ci/tools.sh {name}` builds it (needs Go), or set {name.upper()}_BINARY"
    if os.environ.get("CI") == "true":
        pytest.fail(advice)
    pytest.skip(advice)


def _built(name: str) -> Path:
    answer = subprocess.run(["bash", str(SCRIPT), "--path", name], capture_output=True, text=True, check=True)
    return Path(answer.stdout.strip())
