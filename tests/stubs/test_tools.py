"""The tools that make stubs for other languages need nothing but the folder `clients/proto`."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.support.process import ROOT
from tests.support.running import Running
from tests.support.toolchains import find_tool, run_tool

PLAIN = ROOT / "clients/proto"
OURS = sorted(str(path.relative_to(PLAIN)) for path in PLAIN.rglob("*.proto"))
SET = PLAIN / "pushsidecar.binpb"
NODE = Path(__file__).parent / "node"


def without_locations(files: FileDescriptorSet) -> dict[str, FileDescriptorProto]:
    """Return our files, without where and beside which comments things stand."""
    ours = {}
    for file in files.file:
        if file.name.startswith("pushsidecar/"):
            file.ClearField("source_code_info")
            ours[file.name] = file
    return ours


def test_protoc_compiles_the_folder_alone(tmp_path: Path, plain_files: dict[str, FileDescriptorProto]) -> None:
    out = tmp_path / "set.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PLAIN}", f"--descriptor_set_out={out}", *OURS]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert without_locations(FileDescriptorSet.FromString(out.read_bytes())) == without_locations(
        FileDescriptorSet(file=plain_files.values())
    )


def test_buf_builds_the_folder_alone(tmp_path: Path) -> None:
    out = tmp_path / "set.binpb"
    buf = Path(sys.executable).with_name("buf")
    result = subprocess.run(
        [buf, "build", PLAIN, "--as-file-descriptor-set", "-o", out],
        env={"BUF_CACHE_DIR": str(tmp_path / "cache")},  # an empty cache, where no module of buf's registry is
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert out.read_bytes() == SET.read_bytes()


def test_descriptor_set_is_complete(plain_files: dict[str, FileDescriptorProto]) -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in plain_files.values():  # the imported come first
        pool.AddSerializedFile(file.SerializeToString())
    assert {name for name in plain_files if name.startswith("pushsidecar/")} == set(OURS)
    push = pool.FindServiceByName("pushsidecar.xg.v1.PushService").FindMethodByName("Push")
    assert push.input_type.full_name == "pushsidecar.xg.v1.PushRequest"


def test_descriptor_set_has_the_comments(plain_files: dict[str, FileDescriptorProto]) -> None:
    locations = plain_files["pushsidecar/xg/v1/push_service.proto"].source_code_info.location
    (push,) = [location for location in locations if list(location.path) == [6, 0, 2, 0]]
    assert push.leading_comments.startswith(" Makes one push")


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """Install the pinned packages once, in a cache outside of the repository."""
    find_tool("node")
    npm = find_tool("npm")
    lock = (NODE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "push-sidecar"
    folder = cache / f"node-stubs-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=cache, prefix="node-stubs-"))
        try:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, new)
            run_tool(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=new)
            if not folder.exists():  # else another run was quicker
                new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder / "node_modules"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("source", "place"), [("files", PLAIN), ("set", SET)], ids=["files", "set"])
async def test_client_made_by_proto_loader_pushes(
    source: str, place: Path, node_modules: Path, running: Running
) -> None:
    process = await asyncio.create_subprocess_exec(
        find_tool("node"), str(NODE / "push.cjs"), source, str(place), running.sidecar.grpc_address,
        env={"NODE_PATH": str(node_modules)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    answer = json.loads(output)
    assert answer == {"pushId": answer["pushId"], "outcome": "OUTCOME_ACCEPTED", "attempts": 1}
    assert answer["pushId"].isdecimal()
