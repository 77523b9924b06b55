"""Toolchains of other languages, and servers: where one is missing, its tests are skipped, or fail when CI=true."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ADVICE = {
    "kubectl": "kubectl is missing (its kustomize is used): https://kubernetes.io/docs/tasks/tools",
    "buildah": "buildah is missing: Debian's package of that name",
    "mmdebstrap": "mmdebstrap is missing: Debian's package of that name",
    "go": "Go 1.26 or newer is missing: https://go.dev/dl",
    "java": "Java 17 or newer is missing: https://adoptium.net",
    "redis-server": "redis-server is missing: Debian's package of that name, or https://redis.io",
    "prometheus": "Prometheus is missing: Debian's package of that name, or https://prometheus.io",
    "promtool": "promtool is missing: Debian's package prometheus, or https://prometheus.io",
    "node": "Node 20 or newer is missing: https://nodejs.org",
    "npm": "npm is missing: it comes with Node, https://nodejs.org, or is Debian's package of that name",
    "mvn": "Maven 3.8 or newer is missing: https://maven.apache.org",
}
TIMEOUT_S = 600


def find_tool(command: str) -> str:
    """Return the path of a command of a toolchain."""
    found = shutil.which(command)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(ADVICE[command])
    pytest.skip(ADVICE[command])


def run_tool(*command: str, cwd: Path) -> str:
    """Run a command and return its output, which is the failure's text when it fails."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}{result.stderr}"
    return result.stdout
