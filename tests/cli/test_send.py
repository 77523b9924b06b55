"""`push-sidecar send`: what it sends for which flags, what it prints, and its exit codes."""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, json_format
from google.rpc import error_details_pb2, status_pb2

from pushsidecar.type.v1 import TARGET_STATE_ACCEPTED, TARGET_STATE_REFUSED, ErrorReason
from pushsidecar.xg.v1 import (
    ENVIRONMENT_PRODUCT,
    OUTCOME_ACCEPTED,
    OUTCOME_PARTIAL,
    OUTCOME_VALIDATED,
    PushRequest,
    PushResponse,
    TargetResult,
)
from sidecar.cli import send
from sidecar.cli.send_report import NEXT_STEP
from sidecar.cli.simulated import ANDROID_APP, IOS_APP

ANDROID = ["--platform", "android", "--title", "T", "--content", "C"]
TRACE = [["Push", -1, 0, 9_000, "ok", {}, []], ["POST", 0, 1_000, 8_000, "ok", {}, []]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class Sidecar:
    """Answers every push alike and keeps what came."""

    target: str = ""
    answer: Callable[[grpc.ServicerContext], PushResponse] = lambda _: PushResponse(
        outcome=OUTCOME_ACCEPTED, push_id="4711"
    )
    requests: list[PushRequest] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    def push(self, request: PushRequest, context: grpc.ServicerContext) -> PushResponse:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        if "push-sidecar-trace" in self.metadata:
            context.set_trailing_metadata((("push-sidecar-trace", json.dumps(TRACE)),))
        return self.answer(context)


@pytest.fixture(scope="module")
def server() -> Iterator[Sidecar]:
    sidecar = Sidecar()
    handlers = {
        "Push": grpc.unary_unary_rpc_method_handler(
            sidecar.push,
            PushRequest.FromString,
            PushResponse.SerializeToString,
        )
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pushsidecar.xg.v1.PushService", handlers),))
    sidecar.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield sidecar
    server.stop(None).wait()


@pytest.fixture
def sidecar(server: Sidecar) -> Sidecar:
    server.answer = Sidecar.answer
    server.requests.clear()
    return server


@pytest.fixture
def run(sidecar: Sidecar) -> Callable[..., int]:
    """Run the verb against the sidecar; wrong use that argparse itself finds raises SystemExit."""

    def run_verb(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        send.add_parser(parser.add_subparsers())
        args = parser.parse_args(["send", "--target", sidecar.target, *arguments])
        return args.run(args)

    return run_verb


def failing(code: grpc.StatusCode, sent: str, reason: str, *details: Any, **facts: str):
    def answer(context: grpc.ServicerContext) -> PushResponse:
        status = status_pb2.Status(code=code.value[0])
        info = error_details_pb2.ErrorInfo(reason=reason, domain="push-sidecar", metadata={"sent": sent, **facts})
        for detail in (info, *details):
            status.details.add().Pack(detail)
        trailers = [("grpc-status-details-bin", status.SerializeToString())]
        context.set_trailing_metadata((*(context.trailing_metadata() or ()), *trailers))
        # Received headers keep the helper from repeating UNAVAILABLE.
        context.send_initial_metadata(())
        context.abort(code, "it failed")
        raise AssertionError

    return answer


AUDIENCES = [
    pytest.param(["--to-token", "a"], {"token": "a"}, id="token"),
    pytest.param(["--to-token", "a", "--to-token", "b"], {"tokenList": {"tokens": ["a", "b"]}}, id="tokens"),
    pytest.param(["--to-account", "a"], {"account": {"account": "a"}}, id="account"),
    pytest.param(["--to-account", "a", "--to-account", "b"], {"accountList": {"accounts": ["a", "b"]}}, id="accounts"),
    pytest.param(["--to-tag", "a"], {"tag": {"tags": ["a"], "op": "TAG_OP_OR"}}, id="tag"),
    pytest.param(
        ["--to-tag", "a", "--to-tag", "b", "--tag-op", "and"],
        {"tag": {"tags": ["a", "b"], "op": "TAG_OP_AND"}},
        id="tags and",
    ),
    pytest.param(
        ["--to-tag", "a", "--to-tag", "b", "--tag-op", "or"],
        {"tag": {"tags": ["a", "b"], "op": "TAG_OP_OR"}},
        id="tags or",
    ),
    pytest.param(["--to-all", "--yes"], {"all": {}}, id="all"),
]


@pytest.mark.parametrize(("flags", "audience"), AUDIENCES)
def test_audience(run, sidecar, flags, audience):
    assert run(*ANDROID, *flags) == 0
    message = {"androidNotification": {"title": "T", "content": "C"}}
    assert json_format.MessageToDict(sidecar.requests[0]) == {**audience, **message}


TEXT = ["--title", "T", "--content", "C"]
DATA = ["--data", "k=v", "--data", "x=a=b"]
FIELDS = {"fields": {"entries": {"k": "v", "x": "a=b"}}}
MESSAGES = [
    pytest.param(
        ["--platform", "android", *TEXT, *DATA],
        {"androidNotification": {"title": "T", "content": "C", "customContent": FIELDS}},
        id="android",
    ),
    pytest.param(
        ["--platform", "android", "--silent", *TEXT, *DATA],
        {"androidMessage": {"title": "T", "content": "C", "customContent": FIELDS}},
        id="android silent",
    ),
    pytest.param(
        ["--platform", "ios", *TEXT, *DATA],
        {"iosNotification": {"title": "T", "content": "C", "custom": FIELDS}},
        id="ios",
    ),
    pytest.param(["--platform", "ios", "--silent", *DATA], {"iosSilent": {"custom": FIELDS}}, id="ios silent"),
    pytest.param(["--message-type", "ios_silent"], {"iosSilent": {}}, id="by name"),
    pytest.param(
        ["--message-type", "android_message", *TEXT],
        {"androidMessage": {"title": "T", "content": "C"}},
        id="by name, with text",
    ),
]


@pytest.mark.parametrize(("flags", "message"), MESSAGES)
def test_message(run, sidecar, flags, message):
    assert run("--to-token", "a", *flags) == 0
    assert json_format.MessageToDict(sidecar.requests[0]) == {"token": "a", **message}


def test_options(run, sidecar):
    run(
        *("--platform", "ios", "--title", "T", "--to-token", "a", "--to-token", "b", "--app", "shop"),
        *("--expire", "2h", "--environment", "dev", "--push-id", "77", "--seq", "-5", "--validate-only"),
        *("--request-id", "order-1"),
    )
    assert json_format.MessageToDict(sidecar.requests[0]) == {
        "app": "shop",
        "tokenList": {"tokens": ["a", "b"]},
        "iosNotification": {"title": "T"},
        "expireTime": "7200s",
        "environment": "ENVIRONMENT_DEV",
        "pushId": "77",
        "seq": "-5",
        "validateOnly": True,
        "requestId": "order-1",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259_200)]
)
def test_expire(run, sidecar, text, seconds):
    run("--to-token", "a", *ANDROID, "--expire", text)
    assert sidecar.requests[0].expire_time == duration_pb2.Duration(seconds=seconds)
    assert sidecar.requests[0].HasField("expire_time")


REQUEST = '{"app": "store", "token": "a", "android_message": {"title": "T", "content": "C"}}'


def test_request_from_a_file(run, sidecar, tmp_path):
    (tmp_path / "push.json").write_text(REQUEST)
    assert run(str(tmp_path / "push.json"), "--validate-only", "--app", "shop") == 0
    assert sidecar.requests[0] == json_format.Parse(REQUEST.replace("store", "shop"), PushRequest(validate_only=True))


@pytest.mark.parametrize("mark", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("is_piped", [False, True], ids=["file", "standard input"])
def test_request_may_begin_with_a_byte_order_mark(run, sidecar, monkeypatch, tmp_path, mark, is_piped):
    (tmp_path / "push.json").write_text(mark + REQUEST, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(mark + REQUEST))
    assert run("-" if is_piped else str(tmp_path / "push.json")) == 0
    assert sidecar.requests[0] == json_format.Parse(REQUEST, PushRequest())


WRONG_USE = [
    pytest.param(ANDROID, "to whom", id="no audience"),
    pytest.param([*ANDROID, "--to-token", "a", "--to-all"], "in one way", id="two audiences"),
    pytest.param(["--to-token", "a"], "which platform", id="no platform"),
    pytest.param([*ANDROID, "--to-token", "a", "--message-type", "ios_silent"], "--message-type", id="two types"),
    pytest.param([*ANDROID, "--to-tag", "a", "--to-tag", "b"], "--tag-op", id="tags without op"),
    pytest.param([*ANDROID, "--to-token", "a", "--tag-op", "or"], "--to-tag", id="op without tags"),
    pytest.param(["--platform", "ios", "--silent", "--title", "T", "--to-token", "a"], "--data", id="text in silent"),
    pytest.param([*ANDROID, "--to-token", "a", "--data", "novalue"], "KEY=VALUE", id="data"),
    pytest.param([*ANDROID, "--to-token", "a", "--expire", "soon"], "--expire", id="expire"),
    pytest.param([*ANDROID, "--to-token", "a", "--seq", str(2**63)], "--seq", id="seq"),
    pytest.param(["push.json", "--to-token", "a"], "--to-token", id="file and flags"),
    pytest.param(["/nowhere/push.json"], "cannot read", id="no file"),
    pytest.param([*ANDROID, "--to-all"], "--yes", id="all, without a terminal"),
]


@pytest.mark.parametrize(("flags", "words"), WRONG_USE)
def test_wrong_use_is_exit_2_and_says_what_is_right(run, sidecar, capsys, monkeypatch, flags, words):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(*flags) == 2
    assert words in capsys.readouterr().err
    assert sidecar.requests == []


@pytest.mark.parametrize("text", ["{", '{"tokn": "a"}', '{"token": 5}', "\xff"])
def test_file_that_is_no_request_is_exit_2(run, sidecar, capsys, tmp_path, text):
    (tmp_path / "push.json").write_bytes(text.encode("latin-1"))
    assert run(str(tmp_path / "push.json")) == 2
    assert "is no PushRequest in JSON" in capsys.readouterr().err
    assert sidecar.requests == []


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_timeout_is_a_time(run, value):
    with pytest.raises(SystemExit, match="2"):
        run("--to-token", "a", *ANDROID, "--timeout", value)


@pytest.mark.parametrize(("answer", "code", "pushes"), [("y\n", 0, 1), ("YES\n", 0, 1), ("\n", 1, 0), ("n\n", 1, 0)])
def test_push_to_all_asks_at_a_terminal(run, sidecar, monkeypatch, answer, code, pushes):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr", terminal)
    assert run(*ANDROID, "--to-all", "--app", "shop") == code
    assert len(sidecar.requests) == pushes
    assert "every device of shop" in terminal.getvalue()


def test_push_to_all_from_a_file_asks_too(run, sidecar, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"all": {}}'))
    assert run("-") == 2
    assert sidecar.requests == []


def test_checking_a_push_to_all_needs_no_confirmation(run, sidecar, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(*ANDROID, "--to-all", "--validate-only") == 0
    assert len(sidecar.requests) == 1


def answer_with(**fields: Any):
    return lambda _: PushResponse(**fields)


def test_piped_output_is_plain_lines(run, sidecar, capsys):
    sidecar.answer = answer_with(
        outcome=OUTCOME_ACCEPTED,
        push_id="4711",
        seq=9,
        environment=ENVIRONMENT_PRODUCT,
        vendor_message="ok\x1b[31m",
        attempts=1,
        vendor_latency=duration_pb2.Duration(nanos=12_340_000),
    )
    assert run("--to-token", "a", *ANDROID) == 0
    assert capsys.readouterr().out.splitlines() == [
        "outcome: accepted",
        "push_id: 4711",
        "seq: 9",
        "environment: product",
        "vendor: 0 ok\N{REPLACEMENT CHARACTER}[31m",
        "attempts: 1",
        "vendor took: 12.3 ms",
    ]


def test_terminal_output_is_a_coloured_table(run, sidecar, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert run("--to-token", "a", *ANDROID) == 0
    out = capsys.readouterr().out
    assert "\x1b[1;32maccepted" in out
    assert "╭" in out


def test_body_of_a_checked_push_is_not_broken_on_a_terminal(run, sidecar, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    body = '{"message":{"title":"[bold]T[/bold]"}}' + " x" * 300
    sidecar.answer = answer_with(outcome=OUTCOME_VALIDATED, rendered_request=body)
    assert run("--to-token", "a", *ANDROID, "--validate-only") == 0
    assert capsys.readouterr().out.splitlines()[-1] == body


def test_body_of_a_checked_push_is_shown_exactly(run, sidecar, capsys):
    body = '{"message":{"title":"[bold]T[/bold]"}}' + "x" * 300
    sidecar.answer = answer_with(outcome=OUTCOME_VALIDATED, rendered_request=body)
    assert run("--to-token", "a", *ANDROID, "--validate-only") == 0
    assert capsys.readouterr().out.splitlines() == ["outcome: validated", f"body: {body}"]


def test_refused_targets_of_a_list_are_named(run, sidecar, capsys):
    results = [
        TargetResult(index=0, state=TARGET_STATE_ACCEPTED),
        *[TargetResult(index=n, state=TARGET_STATE_REFUSED, vendor_code=6) for n in range(1, 13)],
    ]
    sidecar.answer = answer_with(outcome=OUTCOME_PARTIAL, push_id="1", vendor_code=10304, results=results)
    assert run("--to-token", "a", "--to-token", "b", *ANDROID) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "outcome: partial",
        "push_id: 1",
        "vendor: 10304",
        "targets: 12 refused, 1 accepted",
        "target 1: refused (vendor 6)",
    ]
    assert lines[-1] == ": and 2 more: --json lists all"


def test_json_of_an_accepted_push(run, capsys):
    assert run("--to-token", "a", *ANDROID, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "code": "OK",
        "response": {"push_id": "4711", "outcome": "OUTCOME_ACCEPTED"},
        "error": None,
    }


def test_json_names_every_target_by_its_index_the_first_one_too(run, sidecar, capsys):
    results = [
        TargetResult(index=0, state=TARGET_STATE_ACCEPTED),
        TargetResult(index=1, state=TARGET_STATE_REFUSED, vendor_code=6),
    ]
    sidecar.answer = answer_with(outcome=OUTCOME_PARTIAL, push_id="1", vendor_code=10304, results=results)
    assert run("--to-token", "a", "--to-token", "b", *ANDROID, "--json") == 0
    assert json.loads(capsys.readouterr().out)["response"] == {
        "push_id": "1",
        "outcome": "OUTCOME_PARTIAL",
        "vendor_code": 10304,
        "results": [
            {"index": 0, "state": "TARGET_STATE_ACCEPTED", "vendor_code": 0},
            {"index": 1, "state": "TARGET_STATE_REFUSED", "vendor_code": 6},
        ],
    }


ERRORS = [
    pytest.param(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_REQUEST", 1, id="refused"),
    pytest.param(grpc.StatusCode.UNAVAILABLE, "no", "VENDOR_BUSY", 1, id="not sent"),
    pytest.param(grpc.StatusCode.UNKNOWN, "maybe", "OUTCOME_UNKNOWN", 3, id="unknown"),
    pytest.param(grpc.StatusCode.DEADLINE_EXCEEDED, "no", "DEADLINE", 1, id="deadline before sending"),
    pytest.param(grpc.StatusCode.DEADLINE_EXCEEDED, "maybe", "DEADLINE", 3, id="deadline after sending"),
    pytest.param(grpc.StatusCode.INTERNAL, "maybe", "SIDECAR_BUG", 3, id="bug"),
]


@pytest.mark.parametrize(("code", "sent", "reason", "expected"), ERRORS)
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_exit_code_of_an_error(run, sidecar, capsys, code, sent, reason, expected, flags):
    sidecar.answer = failing(code, sent, reason)
    assert run("--to-token", "a", *ANDROID, *flags) == expected
    output = capsys.readouterr()
    assert (output.out == "") == (flags == ())


def test_error_says_what_is_wrong_and_what_to_do(run, sidecar, capsys):
    broken = error_details_pb2.BadRequest(
        field_violations=[{"field": "token", "reason": "string.max_len", "description": "too long"}]
    )
    sidecar.answer = failing(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_REQUEST", broken)
    run("--to-token", "a", *ANDROID)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "error: INVALID_ARGUMENT INVALID_REQUEST",
        "sent: no",
        "field: token: too long (string.max_len)",
        "next: correct the fields above",
    ]


def test_error_of_the_vendor_and_its_wait_are_shown(run, sidecar, capsys):
    wait = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=7))
    sidecar.answer = failing(
        *(grpc.StatusCode.RESOURCE_EXHAUSTED, "no", "QUOTA_EXCEEDED", wait),
        vendor_code="10999",
        vendor_message="limit",
        http_status="429",
        attempts="1",
    )
    run("--to-token", "a", *ANDROID)
    assert capsys.readouterr().err.splitlines()[3:] == [
        "vendor: 10999 limit",
        "http status: 429",
        "attempts: 1",
        "retry after: 7 s",
        "next: send it again when the vendor's quota allows it",
    ]


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("caller:orders", "this caller's own rate in the sidecar's `callers` is used up"),
        ("app:shop", "when the vendor's quota allows it"),
    ],
)
def test_next_step_of_a_spent_quota_says_whose_it_is(run, sidecar, capsys, subject, said):
    quota = error_details_pb2.QuotaFailure(violations=[{"subject": subject}])
    sidecar.answer = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "no", "QUOTA_EXCEEDED", quota)
    run("--to-token", "a", *ANDROID)
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_next_step_of_a_message_that_is_too_large_is_no_check_that_refuses_it_too():
    assert "--validate-only" not in NEXT_STEP["MESSAGE_TOO_LARGE"]
    assert "shorten title, content or data" in NEXT_STEP["MESSAGE_TOO_LARGE"]


def test_next_step_of_an_unknown_app_names_those_of_the_simulator():
    assert ANDROID_APP in NEXT_STEP["UNKNOWN_APP"]
    assert IOS_APP in NEXT_STEP["UNKNOWN_APP"]


def test_json_of_an_error(run, sidecar, capsys):
    sidecar.answer = failing(grpc.StatusCode.UNKNOWN, "maybe", "OUTCOME_UNKNOWN", http_status="502", attempts="1")
    run("--to-token", "a", *ANDROID, "--json")
    assert json.loads(capsys.readouterr().out) == {
        "code": "UNKNOWN",
        "response": None,
        "error": {
            "reason": "OUTCOME_UNKNOWN",
            "sent": "maybe",
            "message": "it failed",
            "vendor_code": None,
            "vendor_message": "",
            "http_status": 502,
            "attempts": 1,
            "retry_after_s": None,
            "violations": [],
            "push_id": "",
            "next": "look in the vendor's console, or at the phone, before you send it again",
        },
    }


def test_every_reason_that_was_not_sent_has_a_next_step():
    never_seen_as_not_sent = {"UNSPECIFIED", "OUTCOME_UNKNOWN", "VENDOR_INTERNAL", "CANCELLED"}
    reasons = {value.name.removeprefix("ERROR_REASON_") for value in ErrorReason.DESCRIPTOR.values}
    assert set(NEXT_STEP) == reasons - never_seen_as_not_sent


def test_no_sidecar_is_exit_1_and_says_how_to_start_one(run, sidecar, capsys, tmp_path):
    target = f"unix:{tmp_path / 'nobody.sock'}"
    assert run("--to-token", "a", *ANDROID, "--target", target, "--timeout", "0.2") == 1
    error = capsys.readouterr().err
    assert f"no sidecar answers at {target}" in error
    assert "sent: no" in error
    assert "push-sidecar serve" in error


def test_interrupt_in_mid_call_is_an_unknown_outcome(run, sidecar, capsys):
    ended = threading.Event()

    def interrupt(context: grpc.ServicerContext) -> PushResponse:
        context.add_callback(ended.set)
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait(20)
        return PushResponse()

    sidecar.answer = interrupt
    assert run("--to-token", "a", *ANDROID) == 3
    assert "may have gone out" in capsys.readouterr().err
    assert ended.wait(20)


def test_trace_is_asked_for_and_drawn(run, sidecar, capsys):
    assert run("--to-token", "a", *ANDROID, "--trace") == 0
    version, trace_id, _, flags = sidecar.metadata["traceparent"].split("-")
    assert (version, flags, len(trace_id)) == ("00", "01", 32)
    lines = capsys.readouterr().out.splitlines()
    assert f"trace: {trace_id}" in lines
    assert lines[-2].startswith("Push ")
    assert lines[-1].startswith("└ POST ")


def test_trace_is_not_asked_for_unless_wanted(run, sidecar):
    run("--to-token", "a", *ANDROID)
    assert not {"push-sidecar-trace", "traceparent"} & set(sidecar.metadata)


def test_trace_of_a_failure_is_in_its_json(run, sidecar, capsys):
    sidecar.answer = failing(grpc.StatusCode.UNKNOWN, "maybe", "OUTCOME_UNKNOWN")
    assert run("--to-token", "a", *ANDROID, "--trace", "--json") == 3
    output = json.loads(capsys.readouterr().out)
    assert output["trace"] == TRACE
    assert output["trace_id"] == sidecar.metadata["traceparent"].split("-")[1]


def test_other_verbs_do_not_pay_for_this_one():
    code = (
        "import sys, sidecar.cli.send, sidecar.cli.waterfall; "
        "print(sorted({'grpc', 'rich', 'pushsidecar'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
