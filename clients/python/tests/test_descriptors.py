"""Our stubs live beside another copy of `buf/validate/validate.proto` in the same process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = "github.com/bufbuild/protovalidate@v1.2.2"
OURS = "from pushsidecar.xg.v1 import PushRequest; from pushsidecar.xg.v1 import push_service_pb2_grpc"
THEIRS = "from buf.validate import validate_pb2"


def python(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def other_copy(tmp_path_factory) -> Path:
    """Generate the copy that another distribution would ship."""
    go = shutil.which("go")
    if go is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Go is missing: install it (https://go.dev/dl)")
        pytest.skip("Go is missing (https://go.dev/dl): it brings validate.proto")
    download = subprocess.run(
        [go, "mod", "download", "-json", MODULE],
        cwd=tmp_path_factory.mktemp("go"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    source = Path(json.loads(download.stdout)["Dir"]) / "proto" / "protovalidate"
    out = tmp_path_factory.mktemp("other")
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{source}", f"--python_out={out}",
         "buf/validate/validate.proto"],
        check=True,
    )  # fmt: skip
    return out


def test_stubs_do_not_register_the_rules_file():
    code = (
        f"{OURS}\n"
        "from google.protobuf import descriptor_pool\n"
        "try:\n"
        "    descriptor_pool.Default().FindFileByName('buf/validate/validate.proto')\n"
        "except KeyError:\n"
        "    print('not registered')\n"
    )
    result = python(code)
    assert result.stdout == "not registered\n", result.stderr


@pytest.mark.parametrize("order", [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours first", "theirs first"])
def test_another_copy_of_the_rules_file_can_be_loaded(other_copy, order):
    code = "\n".join(
        [
            *order,
            "PushRequest.FromString(PushRequest(token='t').SerializeToString())",
            "assert validate_pb2.DESCRIPTOR.name == 'buf/validate/validate.proto'",
            "print('both')",
        ]
    )
    result = python(code, other_copy)
    assert result.stdout == "both\n", result.stderr


def test_stubs_alone_do_not_import_grpc():
    result = python("import sys; from pushsidecar.xg.v1 import PushRequest; print('grpc' in sys.modules)")
    assert result.stdout == "False\n", result.stderr
