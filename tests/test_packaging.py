"""What is shipped: the wheels' content, the lock files, and the image's recipe."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    # A copy, since setuptools builds inside the tree.
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "sidecar"):
        subprocess.run(["cp", "-r", ROOT / name, source / name], check=True)
    subprocess.run([*command, folder, source], check=True, capture_output=True)
    (wheel,) = folder.glob("push_sidecar-*.whl")
    return ZipFile(wheel).namelist()


def test_wheel_has_every_module_the_type_marker_and_the_licence(wheel_names: list[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "sidecar").rglob("*.py")}
    assert modules <= set(wheel_names)
    assert "sidecar/py.typed" in wheel_names
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)


def test_wheel_has_nothing_else(wheel_names: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names} == {"sidecar", "push_sidecar-0.1.0.dist-info"}


def test_versions_agree() -> None:
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    from sidecar import __version__  # noqa: PLC0415

    assert server["version"] == client["version"] == __version__
    assert f"push-sidecar-client=={client['version']}" in server["dependencies"]
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_pins_every_dependency_with_hashes_and_names_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pinned = re.findall(r"^([a-z0-9._-]+)==\S+", text, re.MULTILINE)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=\[ ]", line)[0].lower().replace("_", "-") for line in wanted} - {"push-sidecar-client"}
    assert names <= set(pinned)
    assert text.count("--hash=sha256:") >= len(pinned)
    assert "://" not in text


def would_run(targets: str, venv: Path) -> str:
    """Return the commands that targets of the Makefile would run with an environment."""
    command = ["make", "--dry-run", "--no-print-directory", *targets.split(), f"VENV={venv}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("target", ["run", "demo"])
def test_first_look_installs_what_runs_and_not_the_developers_tools(target: str, tmp_path: Path) -> None:
    commands = would_run(target, tmp_path / "venv")
    assert re.findall(r"--requirement (\S+)", commands) == ["requirements.lock", "requirements-build.lock"]
    assert "--require-hashes" in commands


@pytest.mark.parametrize("target", ["setup", "test", "setup run", "-j2 run test"])
def test_developers_get_their_tools_also_after_a_first_look(target: str, tmp_path: Path) -> None:
    (tmp_path / ".runtime").touch()
    assert re.findall(r"--requirement (\S+)", would_run(target, tmp_path)) == ["requirements-dev.lock"]


def test_developers_environment_is_one_to_run_in(tmp_path: Path) -> None:
    (tmp_path / ".ready").touch()
    assert "pip install" not in would_run("run", tmp_path)


def test_every_runtime_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("dependencies = [", 1)[1].split("\n]", 1)[0]
    lines = [line for line in block.splitlines() if line.strip()]
    assert lines
    assert all(re.search(r'",\s+# \S', line) for line in lines)


def test_image_runs_as_nobody_without_a_shell_and_with_a_health_check() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    final = dockerfile.rsplit("\nFROM ", 1)[1]
    assert "ARG BASE=" in dockerfile
    assert "USER 65532:65532" in final
    assert 'ENTRYPOINT ["push-sidecar"]' in final
    assert re.search(r"HEALTHCHECK .*\\\n\s+CMD \[", final)
    assert (
        re.findall(r"^RUN .*(?:install |apt|build)", final, re.MULTILINE) == []
    )  # tests/image looks at what comes out


def test_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
