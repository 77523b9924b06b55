"""Callers of every language with certificates: who they are is known, and which apps they may use."""

from pathlib import Path

import pytest

from sidecar.simulator import Simulator
from tests.interop.languages import Programs
from tests.interop.runner import running
from tests.support.certificates import Authority
from tests.support.process import serve_process
from tests.support.running import write_config

pytestmark = pytest.mark.timeout(900)


def push(app: str, token: str) -> dict[str, object]:
    return {"app": app, "token": token, "androidNotification": {"title": "t", "content": "c"}}


async def test_certificate_of_a_caller_is_known(
    programs: Programs, language: str, vendor: Simulator, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    own, server = authority.leaf(f"spiffe://example/{language}"), authority.leaf("127.0.0.1")
    folder = tmp_path / "caller"
    folder.mkdir()
    for name, file in {"ca": authority.ca_file, "cert": own.cert_file, "key": own.key_file}.items():
        (folder / f"{name}.pem").write_bytes(file.read_bytes())
    tls = {"cert_file": server.cert_file, "key_file": server.key_file, "client_ca_file": authority.ca_file}
    config = write_config(
        tmp_path,
        vendor,
        server={"listen": "127.0.0.1:0", "tls": {key: str(path) for key, path in tls.items()}},
        apps={"news": {}},
        callers={language: {"san": [f"spiffe://example/{language}"], "apps": ["shop"]}},
    )
    async with serve_process(config) as process:
        target = (await process.wait_for("serving"))["grpc"]
        async with running(programs.runner, target, tls=folder) as runner:
            seen = await runner.push("allowed", push("shop", "sim-1"), timeout_s=20)
            assert (seen["code"], seen["error"]) == ("OK", None)
            seen = await runner.push("refused", push("news", "sim-1"), timeout_s=20)
            assert (seen["code"], seen["error"]["reason"], seen["error"]["sent"]) == (
                "PERMISSION_DENIED", "CALLER_NOT_ALLOWED", "no"
            )  # fmt: skip
    assert vendor.received == 1
