"""The keyed hash of a single target: in the log and the trace where there is a key, and the same as the command's."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pushsidecar.xg.v1 import Account, AllDevices, PushRequest, TagAudience, TokenList
from sidecar.__main__ import main
from sidecar.config import Secret
from sidecar.target_hash import TargetHash
from sidecar.telemetry.logs import ACCESS
from tests.conftest import StartSidecar
from tests.support.process import ROOT
from tests.support.running import Running, android
from tests.support.waiting import until

KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = "fedcba9876543210fedcba9876543210"
TOKEN = "sim-phone-1"
ACCOUNT = "\u8d26\u6237 one"


def to(**audience: Any) -> PushRequest:
    request = android()
    request.ClearField("token")
    request.MergeFrom(PushRequest(**audience))
    return request


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "hash.key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.fixture(autouse=True)
def _access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ACCESS)


async def seen(running: Running, request: PushRequest, caplog: pytest.LogCaptureFixture) -> tuple[object, object]:
    """Make a push; returns the hash of its line and that of its server span."""
    caplog.clear()
    trailers = await running.trailers(request, metadata=(("push-sidecar-trace", "1"),))
    attributes = json.loads(trailers["push-sidecar-trace"])[0][5]
    (line,) = (vars(record) for record in caplog.records if record.name.startswith(ACCESS))
    return line.get("target_hash"), attributes.get("push_sidecar.target_hash")


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["hash-target", *arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_hash_is_keyed_blake2b_of_16_digits() -> None:
    """A change of it would cut off every case that is being followed."""
    hashes = TargetHash(Secret(KEY))
    assert hashes.of(TOKEN) == "e2314145af690539"
    assert hashes.of(ACCOUNT) == "14f571089e183979"
    hashes.use(Secret(OTHER_KEY))
    assert hashes.of(TOKEN) == "d18536c3e02306a9"
    assert TargetHash(Secret(KEY * 20)).of(TOKEN) == "89b008d65b2ede36"
    assert KEY not in repr(hashes) + repr(hashes.secret)


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (to(token=TOKEN), TOKEN),
        (to(account=Account(account=ACCOUNT)), ACCOUNT),
        (to(token="t" * 200), "t" * 200),
        (to(token="sim-x-unknown"), "sim-x-unknown"),
    ],
    ids=["token", "account", "refused-by-a-rule", "refused-by-the-vendor"],
)
async def test_line_and_span_of_a_single_target_have_what_the_command_computes(
    request_: PushRequest, target: str, start_sidecar: StartSidecar, key_file: Path, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    running = await start_sidecar(log={"access": "all", "target_hash_key_file": str(key_file)})
    shown = command(capsys, "--key-file", str(key_file), target)
    assert len(shown) == 17
    assert await seen(running, request_, caplog) == (shown.strip(), shown.strip())
    assert target not in "".join(map(repr, map(vars, caplog.records)))


@pytest.mark.parametrize(
    "audience",
    [{"all": AllDevices()}, {"tag": TagAudience(tags=["a"], op=1)}, {"token_list": TokenList(tokens=[TOKEN])}, {}],
    ids=["all", "tag", "list-of-one", "none"],
)
async def test_other_audiences_have_none(
    audience: dict[str, Any], start_sidecar: StartSidecar, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = await start_sidecar(log={"access": "all", "target_hash_key_file": str(key_file)})
    assert await seen(running, to(**audience), caplog) == (None, None)


async def test_without_a_key_there_is_nothing_of_a_target(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    assert await seen(running, to(token=TOKEN), caplog) == (None, None)


async def test_new_key_is_taken_while_it_runs_and_a_short_one_is_not(
    start_sidecar: StartSidecar, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sidecar.secrets")
    running = await start_sidecar(
        log={"access": "all", "target_hash_key_file": str(key_file)}, secrets={"reload_interval_s": 0.02}
    )
    key_file.write_text("short")
    await until(lambda: "target hash key cannot be used, the last good one is" in caplog.messages)
    assert await seen(running, to(token=TOKEN), caplog) == ("e2314145af690539", "e2314145af690539")
    key_file.write_text(OTHER_KEY)
    await until(lambda: "target hash key changed" in caplog.messages)
    assert await seen(running, to(token=TOKEN), caplog) == ("d18536c3e02306a9", "d18536c3e02306a9")


def test_command_takes_the_key_of_the_configuration_and_the_target_of_standard_input(
    key_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = key_file.with_name("config.yaml")
    app = {"platform": "android", "base_url": "https://h", "app_id": "a", "secret_key_file": str(key_file)}
    config.write_text(json.dumps({"apps": {"shop": app}, "log": {"target_hash_key_file": str(key_file)}}))
    assert command(capsys, "--config", str(config), TOKEN) == "e2314145af690539\n"
    for piped in (TOKEN, f"{TOKEN}\n", f"{TOKEN}\r\nanother line\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(piped, newline=""))
        assert command(capsys, "--config", str(config), "-") == "e2314145af690539\n"
    config.write_text(json.dumps({"apps": {"shop": app}}))
    assert main(["hash-target", "--config", str(config), TOKEN]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "push-sidecar hash-target: the configuration has no log.target_hash_key_file, so no line has a hash\n"
    )


@pytest.mark.parametrize(
    ("target", "content", "said"),
    [
        ("", KEY, "the target is empty"),
        ("a\udcff", KEY, "the target is no text that a push can have"),
        (TOKEN, "short", "--key-file: {} must hold at least 32 characters, such as `openssl rand -hex 32` makes"),
        (TOKEN, None, "--key-file: cannot read {}: No such file or directory"),
    ],
    ids=["empty", "no-text", "short-key", "no-key"],
)
def test_command_says_what_is_wrong_and_writes_no_hash(
    target: str, content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "some.key"
    if content is not None:
        file.write_text(content)
    assert main(["hash-target", "--key-file", str(file), target]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"push-sidecar hash-target: {said.format(file)}\n"


def test_hash_that_cannot_be_written_is_no_success(tmp_path: Path) -> None:
    file = tmp_path / "some.key"
    file.write_text("k" * 32)
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        ended = subprocess.run(
            [sys.executable, "-m", "sidecar", "hash-target", "--key-file", file, "token-1"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (
        1, "push-sidecar hash-target: the hash could not be written: No space left on device\n",
    )  # fmt: skip
