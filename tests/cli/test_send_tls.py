"""`push-sidecar send` to a sidecar that listens with TLS."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.conftest import StartSidecar
from tests.support.certificates import Authority
from tests.support.process import ROOT

PUSH = ["send", "--platform", "android", "--to-token", "sim-1", "--title", "T", "--content", "C", "--timeout", "10"]


async def run(*arguments: str | Path) -> tuple[int, str]:
    """Run the verb as a process of its own; returns its exit code and what it said on standard error."""
    command = [sys.executable, "-m", "sidecar", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_push_goes_out_with_the_certificate_that_is_asked_for(
    start_sidecar: StartSidecar, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    leaf = authority.leaf()
    tls = {"cert_file": leaf.cert_file, "key_file": leaf.key_file, "client_ca_file": authority.ca_file}
    running = await start_sidecar(
        server={"listen": "127.0.0.1:0", "tls": {key: str(path) for key, path in tls.items()}}
    )
    push = [*PUSH, "--target", running.sidecar.grpc_address, "--ca-file", authority.ca_file]
    assert (await run(*push, "--cert-file", leaf.cert_file, "--key-file", leaf.key_file))[0] == 0
    code, said = await run(*push, "--timeout", "2")
    assert (code, "no sidecar answers at" in said) == (1, True)


async def test_push_goes_out_by_a_socket_with_tls(start_sidecar: StartSidecar, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    leaf = authority.leaf("push.example")
    tls = {"cert_file": str(leaf.cert_file), "key_file": str(leaf.key_file)}
    running = await start_sidecar(server={"listen": f"unix:{tmp_path / 'push.sock'}", "tls": tls})
    push = [*PUSH, "--target", running.sidecar.grpc_address, "--ca-file", authority.ca_file]
    assert (await run(*push, "--server-name", "push.example"))[0] == 0
    code, said = await run(*push, "--timeout", "2")
    assert (code, "no sidecar answers at" in said) == (1, True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--cert-file", "c"], "--cert-file and --key-file belong together"),
        (["--ca-file", "c", "--key-file", "k"], "--cert-file and --key-file belong together"),
        (["--cert-file", "c", "--key-file", "k"], "--cert-file needs --ca-file"),
        (["--ca-file", "/nonexistent/ca.pem"], "--ca-file: /nonexistent/ca.pem: No such file or directory"),
    ],
)
async def test_flags_that_make_no_sense_are_wrong_use(flags: list[str], said: str) -> None:
    code, error = await run(*PUSH, *flags)
    assert code == 2
    assert said in error
