"""What its recipe and lock file alone say of the image: other machines, defaults, the build's own tools."""

import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment

from sidecar import __version__
from tests.image.base import stated_base
from tests.image.lock import locked
from tests.support.buildah import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
# The machine's own is what the image's build installs.
OTHER_ARCHITECTURES = sorted({"x86_64", "aarch64"} - {platform.machine()})
OLDEST_GLIBC, NEWEST_GLIBC = 5, 36  # manylinux1 to Debian bookworm
NO_NETWORK = re.compile(r"NewConnectionError|ConnectTimeoutError|Name or service not known")


def instructions(name: str) -> list[str]:
    """Give an instruction's texts, continued lines joined."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", lines, re.MULTILINE)


@pytest.mark.timeout(600)  # downloads what no earlier run has left in pip's cache
@pytest.mark.parametrize("architecture", OTHER_ARCHITECTURES)
def test_every_locked_dependency_has_a_wheel_with_a_locked_hash(architecture: str, tmp_path: Path) -> None:
    python = stated_base().python
    environment = {
        **default_environment(),
        "platform_machine": architecture,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "sys_platform": "linux",
        "python_version": python,
        "python_full_version": f"{python}.99",
    }
    # Without markers: pip would ask this machine's Python about them.
    (tmp_path / "lock").write_text("".join(entry for _, entry in locked(environment)))
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--requirement", str(tmp_path / "lock"), "--dest", str(tmp_path / "wheels")]
    command += ["--python-version", python, *(part for name in platforms for part in ("--platform", name))]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if NO_NETWORK.search(result.stderr) and os.environ.get("CI") != "true":
        pytest.skip("the package index is out of reach")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "wheels").glob("*.whl"))) == len(list(locked(environment)))


def test_recipe_fits_any_architecture() -> None:
    assert [text for text in instructions("FROM") if "--platform" in text] == []
    assert (
        re.findall(r"amd64|x86|arm64|aarch64|TARGETARCH|apt-get|gcc", "\n".join(instructions("(?:RUN|COPY|ADD)"))) == []
    )


def test_every_stage_stands_on_the_base_that_is_given() -> None:
    assert {text.split(" AS ")[0] for text in instructions("FROM")} == {"${BASE}"}


def test_version_is_the_projects_unless_another_is_given() -> None:
    assert f"VERSION={__version__}" in instructions("ARG")


def test_build_tools_are_locked_as_the_tests_have_them() -> None:
    wanted = {
        re.split(r"[<>=]", each)[0]
        for file in ("pyproject.toml", "clients/python/pyproject.toml")
        for each in tomllib.loads((ROOT / file).read_text())["build-system"]["requires"]
    }
    lock = (ROOT / "requirements-build.lock").read_text()
    entries = re.findall(r"^(([a-z0-9-]+)==.*?)\n    #", lock, re.MULTILINE | re.DOTALL)
    assert {name for _, name in entries} == wanted
    assert [name for entry, name in entries if entry not in (ROOT / "requirements-dev.lock").read_text()] == []


def test_nothing_is_sent_to_the_build_but_what_it_copies() -> None:
    copied = {part for text in instructions("COPY") if "--from" not in text for part in text.split()[:-1]}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
