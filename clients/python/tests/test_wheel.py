"""The wheel, installed alone: the example runs, the types are seen, no server code is there."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from pushsidecar.xg.v1 import PushResponse

CLIENT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "python"
    ignored = {"__pycache__", "build"}
    for path in CLIENT.rglob("*"):
        relative = path.relative_to(CLIENT)
        if path.is_file() and not ignored & set(relative.parts):
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            (source / relative).write_bytes(path.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source], check=True
    )
    (built,) = out.glob("push_sidecar_client-*.whl")
    return built


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


@pytest.mark.timeout(300)
def test_example_runs_with_the_wheel_alone(wheel, serve, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    sidecar = serve(lambda request, _: PushResponse(push_id=f"4711-{request.token}"))

    result = subprocess.run(
        [python, "-I", "-W", "error", CLIENT / "example.py", sidecar.target],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (result.returncode, result.stdout) == (0, "push_id 4711-device-1\n"), result.stderr
