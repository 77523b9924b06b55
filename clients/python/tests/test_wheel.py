"""The wheel, installed alone: the example runs, the types are seen, the licence and no server code is there."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from pushsidecar.xg.v1 import PushResponse

CLIENT = Path(__file__).resolve().parent.parent
LICENSE = CLIENT.parents[1] / "LICENSE"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "python"
    shutil.copytree(CLIENT, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source], check=True
    )
    (built,) = out.glob("push_sidecar_client-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """Return an interpreter that has the wheel and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    return python


def test_wheel_has_the_stubs_their_types_and_the_helper_only(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "pushsidecar/__init__.py",
        "pushsidecar/py.typed",
        "pushsidecar/client.py",
        "pushsidecar/errors.py",
        "pushsidecar/xg/v1/push_service_pb2.py",
        "pushsidecar/xg/v1/push_service_pb2.pyi",
        "pushsidecar/xg/v1/push_service_pb2_grpc.py",
        "pushsidecar/xg/v1/push_service_pb2_grpc.pyi",
        "pushsidecar/type/v1/error_reason_pb2.py",
    } <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "pushsidecar",
        "push_sidecar_client",
    }


def test_wheel_has_the_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert archive.read(name) == LICENSE.read_bytes()


@pytest.mark.parametrize("client", ["go", "python"])
def test_licence_of_a_client_is_that_of_the_repository(client):
    assert (CLIENT.parent / client / "LICENSE").read_bytes() == LICENSE.read_bytes()


@pytest.mark.timeout(300)
def test_example_runs_with_the_wheel_alone(python, serve):
    sidecar = serve(lambda request, _: PushResponse(push_id=f"4711-{request.token}"))

    result = subprocess.run(
        [python, "-I", "-W", "error", CLIENT / "example.py", sidecar.target, "device-1"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (result.returncode, result.stdout) == (0, "push_id 4711-device-1\n"), result.stderr


@pytest.mark.timeout(300)
def test_program_passes_strict_types_with_the_extra_typing(python, wheel, tmp_path):
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[typing]"], check=True)
    program = shutil.copy(CLIENT / "example.py", tmp_path / "program.py")

    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip

    assert result.stdout == "Success: no issues found in 1 source file\n", result.stderr
