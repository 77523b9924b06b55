"""`push-sidecar send` where its output cannot be written: the exit code tells of the push all the same."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from pushsidecar.xg.v1 import OUTCOME_ACCEPTED, PushRequest, PushResponse
from sidecar.__main__ import main
from sidecar.cli import send_report
from tests.support.process import KEPT_VARIABLES, ROOT

SAID = "\u6210\u529f \u00e9 \U0001f600"
SEND = (
    sys.executable,
    "-m",
    "sidecar",
    "send",
    "--platform",
    "android",
    "--title",
    "T",
    "--content",
    "C",
    "--to-token",
)
CODES = {"accepted": 0, "refused": 1, "maybe": 3}
OUTPUTS = pytest.mark.parametrize("flags", [(), ("--json",), ("--trace",)], ids=["text", "json", "trace"])
PUSHES = pytest.mark.parametrize("push", CODES)


@dataclass
class Pushes:
    target: str = ""
    count: int = 0

    def push(self, request: PushRequest, context: grpc.ServicerContext) -> PushResponse:
        """End as the token says."""
        self.count += 1
        context.send_initial_metadata(())
        if request.token == "accepted":
            return PushResponse(outcome=OUTCOME_ACCEPTED, push_id="4711", vendor_message=SAID)
        sent = "no" if request.token == "refused" else "maybe"
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0])
        facts = {"sent": sent, "vendor_code": "5", "vendor_message": SAID}
        status.details.add().Pack(
            error_details_pb2.ErrorInfo(reason="OUTCOME_UNKNOWN", domain="push-sidecar", metadata=facts)
        )
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.UNKNOWN, "it failed")
        raise AssertionError


@pytest.fixture(scope="module")
def pushes() -> Iterator[Pushes]:
    answering = Pushes()
    handler = grpc.unary_unary_rpc_method_handler(
        answering.push, PushRequest.FromString, PushResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("pushsidecar.xg.v1.PushService", {"Push": handler}),)
    )
    answering.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield answering
    server.stop(None).wait()


def environment(**more: str) -> dict[str, str]:
    return {**{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}, **more}


@OUTPUTS
@PUSHES
def test_full_disk_on_both_streams_changes_no_exit_code(pushes: Pushes, push: str, flags: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        ended = subprocess.run(
            [*SEND, push, "--target", pushes.target, *flags],
            stdout=full,
            stderr=full,
            cwd=ROOT,
            env=environment(),
            check=False,
        )
    assert ended.returncode == CODES[push]


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_full_disk_is_told_on_standard_error(pushes: Pushes, flags: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        ended = subprocess.run(
            [*SEND, "accepted", "--target", pushes.target, *flags],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
            check=False,
            text=True,
        )
    assert ended.returncode == 0
    assert ended.stderr == (
        "push-sidecar send: the output could not be written: No space left on device; the push succeeded\n"
    )


@OUTPUTS
@PUSHES
def test_closed_pipe_changes_no_exit_code(pushes: Pushes, push: str, flags: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*SEND, push, "--target", pushes.target, *flags],
            stdout=writing,
            stderr=writing,
            cwd=ROOT,
            env=environment(),
            check=False,
        )
    finally:
        os.close(writing)
    assert ended.returncode == CODES[push]


@pytest.mark.parametrize("flags", [(), ("--json",), ("--trace",)], ids=["text", "json", "trace"])
def test_reader_that_has_read_enough_is_no_failure_to_speak_of(pushes: Pushes, flags: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*SEND, "accepted", "--target", pushes.target, *flags],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


@PUSHES
def test_closed_streams_change_no_exit_code(pushes: Pushes, push: str) -> None:
    command = [*SEND, push, "--target", pushes.target]
    ended = subprocess.run(["/bin/sh", "-c", '"$@" >&- 2>&-', "sh", *command], cwd=ROOT, env=environment(), check=False)
    assert ended.returncode == CODES[push]


@OUTPUTS
@PUSHES
def test_characters_that_the_terminal_lacks_are_escaped(pushes: Pushes, push: str, flags: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [*SEND, push, "--target", pushes.target, *flags],
        capture_output=True,
        cwd=ROOT,
        env=environment(PYTHONIOENCODING="ascii"),
        check=False,
    )
    assert ended.returncode == CODES[push]
    if "--json" in flags:
        answer = json.loads(ended.stdout)
        assert (answer["error"] or {"vendor_message": answer["response"]["vendor_message"]})["vendor_message"] == SAID
        assert ended.stderr == b""
    else:
        output = ended.stdout if push == "accepted" else ended.stderr
        assert rb"\u6210\u529f \xe9 \U0001f600" in output


@pytest.mark.parametrize("flag", ["--title", "--content", "--to-token", "--app", "--data", "--push-id", "--target"])
def test_text_that_is_no_utf_8_is_wrong_use(pushes: Pushes, flag: str) -> None:
    before = pushes.count
    ended = subprocess.run(
        [*SEND, "accepted", "--target", pushes.target, flag, b"k=\xff"],
        capture_output=True,
        cwd=ROOT,
        env=environment(PYTHONUTF8="1"),
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.startswith(f"push-sidecar send: {flag} is not UTF-8\n".encode())
    assert pushes.count == before


@PUSHES
def test_report_that_breaks_changes_no_exit_code(
    pushes: Pushes, push: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(send_report, "report", broken)
    assert run_here(pushes, push) == CODES[push]
    assert "the output could not be written: KeyError" in capsys.readouterr().err


def test_unexpected_failure_in_mid_push_is_an_unknown_outcome(
    pushes: Pushes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr("pushsidecar.client.error_of", broken)
    assert run_here(pushes, "maybe") == 3
    assert capsys.readouterr().err == "\npush-sidecar send: RuntimeError it broke; the push may have gone out\n"


def test_unexpected_failure_before_the_push_is_told_as_not_sent(
    pushes: Pushes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr("pushsidecar.client.connect_async", broken)
    before = pushes.count
    assert run_here(pushes, "accepted") == 1
    assert capsys.readouterr().err == "\npush-sidecar send: RuntimeError it broke; the push was not sent\n"
    assert pushes.count == before


def run_here(pushes: Pushes, push: str) -> int:
    return main([*SEND[3:], push, "--target", pushes.target])


def test_answer_that_is_given_again_says_so() -> None:
    first, again = PushResponse(outcome=1, push_id="5"), PushResponse(outcome=1, push_id="5", replayed=True)
    assert dict(send_report.response_rows(first))["outcome"] == "accepted"
    assert dict(send_report.response_rows(again))["outcome"].startswith("accepted (pushed before")
