"""Prints what became of a push: a table on a terminal, plain lines when piped, or JSON.

It owns the words that say what to do next. The picture of a trace lives in waterfall.py.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2

from pushsidecar.client import PushError
from pushsidecar.type.v1 import TargetState
from pushsidecar.xg.v1 import Environment, Outcome, PushResponse

_NAMED_TARGETS: Final = 10
BODY: Final = "body"

NEXT_STEP: Final[Mapping[str, str]] = {
    "INVALID_REQUEST": "correct the fields above",
    "MESSAGE_TOO_LARGE": (
        "shorten title, content or data: the bytes above are those of the whole message as the vendor gets it, in UTF-8"
    ),
    "UNKNOWN_APP": (
        "name a configured app with --app: `push-sidecar check` lists them; `serve --simulate` has demo-android and "
        "demo-ios"
    ),
    "VENDOR_REJECTED": "correct what the vendor refuses; the same request fails again",
    "CREDENTIALS_REFUSED": "check app_id and secret key of the app in the sidecar's configuration",
    "CERTIFICATE_INVALID": "renew the app's push certificate in the vendor's console",
    "APP_NOT_REGISTERED": "register the app with the vendor, or correct its app_id",
    "ENDPOINT_REFUSED": "correct base_url of the app in the sidecar's configuration",
    "PUSH_TASK_EXPIRED": "leave out --push-id: that makes a new list task",
    "TARGET_UNKNOWN": "check the token or account; the vendor does not know it (any more)",
    "VENDOR_BUSY": "send it again in a moment",
    "NOT_SENT": "check that the sidecar reaches base_url of the app, then send it again",
    "SHUTTING_DOWN": "send it again: the sidecar is restarting",
    "STORE_UNAVAILABLE": "check the sidecar's store of request ids, then send it again with the same id",
    "OVERLOADED": "send it again later; the sidecar's operator can raise the limit that the message tells of",
    "QUOTA_EXCEEDED": "send it again when the vendor's quota allows it",
    "DEADLINE": "send it again with a longer --timeout",
    "REQUEST_ID_REUSED": "give another push another request_id",
    "CALLER_NOT_ALLOWED": "let the sidecar's operator name this caller in `callers`, and allow it the app",
    "SIDECAR_BUG": "report it with the sidecar's log; the push itself may be sent again",
}
_CALLERS_RATE: Final = "send it again after that time: this caller's own rate in the sidecar's `callers` is used up"
_LOOK_FIRST: Final = "look in the vendor's console, or at the phone, before you send it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call ended: with a response or an error; `trace` is the sidecar's JSON, or ""."""

    response: PushResponse | None = None
    error: PushError | None = None
    trace_id: str = ""
    trace: str = ""


def next_step(error: PushError) -> str:
    """Return what to do now."""
    if not error.was_not_sent:
        return _LOOK_FIRST
    if not error.reason:
        return "start one with `push-sidecar serve`, or name another with --target"
    if error.reason == "QUOTA_EXCEEDED" and _is_of_a_caller(error):
        return _CALLERS_RATE
    return NEXT_STEP.get(error.reason, "see docs/errors.md")


def _is_of_a_caller(error: PushError) -> bool:
    """Whether the quota that is spent is a caller's rate, and not the vendor's."""
    for packed in error.status.details if error.status else ():
        quota = error_details_pb2.QuotaFailure()
        with suppress(DecodeError):
            if packed.Unpack(quota) and any(each.subject.startswith("caller:") for each in quota.violations):
                return True
    return False


def report(ending: Ending, *, as_json: bool) -> None:
    """Print the ending: a response on stdout, an error on stderr, both as JSON on stdout."""
    if as_json:
        sys.stdout.write(json.dumps(to_json(ending)) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415  # JSON does not need it

    from sidecar.cli.waterfall import print_waterfall  # noqa: PLC0415

    console = Console(stderr=ending.error is not None, highlight=False)
    rows = list(error_rows(ending.error) if ending.error else response_rows(ending.response or PushResponse()))
    if ending.trace_id:
        rows.append(("trace", ending.trace_id))
    if console.is_terminal:
        _print_table(rows, console, is_error=ending.error is not None)
    else:
        for name, value in rows:
            console.out(f"{name}: {_printable(value)}")
    if ending.trace:
        print_waterfall(json.loads(ending.trace), console)


def response_rows(response: PushResponse) -> Iterator[tuple[str, str]]:
    """Return names and values of what the vendor said."""
    again = " (pushed before: the answer to this request id, given again)" if response.replayed else ""
    yield "outcome", Outcome.Name(response.outcome).removeprefix("OUTCOME_").lower() + again
    if response.push_id:
        yield "push_id", response.push_id
    if response.seq:
        yield "seq", str(response.seq)
    if response.environment:
        yield "environment", Environment.Name(response.environment).removeprefix("ENVIRONMENT_").lower()
    if response.vendor_code or response.vendor_message:
        yield "vendor", f"{response.vendor_code} {response.vendor_message}".rstrip()
    if response.results:
        yield from _target_rows(response)
    if response.attempts:
        yield "attempts", str(response.attempts)
    if response.HasField("vendor_latency"):
        yield "vendor took", f"{response.vendor_latency.ToTimedelta().total_seconds() * 1000:.1f} ms"
    if response.result_json:
        yield "result", response.result_json
    if response.rendered_request:
        yield BODY, response.rendered_request


def error_rows(error: PushError) -> Iterator[tuple[str, str]]:
    """Return names and values of an error, the next step last."""
    yield "error", f"{error.code.name} {error.reason}".rstrip()
    if not error.violations:
        yield "message", error.message
    yield "sent", "no" if error.was_not_sent else "maybe: it may have gone out"
    for broken in error.violations:
        yield "field", f"{broken.field}: {broken.description} ({broken.rule})"
    if error.vendor_code is not None:
        yield "vendor", f"{error.vendor_code} {error.vendor_message}".rstrip()
    if error.http_status is not None:
        yield "http status", str(error.http_status)
    if error.attempts:
        yield "attempts", str(error.attempts)
    if error.push_id not in {"", "0"}:
        yield "push_id", error.push_id
    if error.retry_after_s is not None:
        yield "retry after", f"{error.retry_after_s:g} s"
    if error.response is not None and error.response.results:
        yield from _target_rows(error.response)
    yield "next", next_step(error)


def to_json(ending: Ending) -> dict[str, Any]:
    """Return the ending as one JSON object."""
    trace = {"trace_id": ending.trace_id, "trace": json.loads(ending.trace or "null")} if ending.trace_id else {}
    error = ending.error
    answer = ending.response if error is None else error.response
    response = None if answer is None else _response_to_json(answer)
    if error is None:
        return {"code": "OK", "response": response, "error": None, **trace}
    facts = {
        "reason": error.reason,
        "sent": str(error.sent),
        "message": error.message,
        "vendor_code": error.vendor_code,
        "vendor_message": error.vendor_message,
        "http_status": error.http_status,
        "attempts": error.attempts,
        "retry_after_s": error.retry_after_s,
        "violations": [
            {"field": broken.field, "rule": broken.rule, "description": broken.description}
            for broken in error.violations
        ],
        "push_id": error.push_id,
        "next": next_step(error),
    }
    return {"code": error.code.name, "response": response, "error": facts, **trace}


def _response_to_json(response: PushResponse) -> dict[str, Any]:
    """Return a response with the names that the contract has; each target with its index and code, though they be 0."""
    named = json_format.MessageToDict(response, preserving_proto_field_name=True)
    if response.results:
        named["results"] = [
            json_format.MessageToDict(
                result, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for result in response.results
        ]
    return named


def _target_rows(response: PushResponse) -> Iterator[tuple[str, str]]:
    states = Counter(result.state for result in response.results)
    names = {state: TargetState.Name(state).removeprefix("TARGET_STATE_").lower() for state in states}
    yield "targets", ", ".join(f"{count} {names[state]}" for state, count in states.most_common())
    others = [result for result in response.results if result.vendor_code]
    for result in others[:_NAMED_TARGETS]:
        yield f"target {result.index}", f"{names[result.state]} (vendor {result.vendor_code})"
    if len(others) > _NAMED_TARGETS:
        yield "", f"and {len(others) - _NAMED_TARGETS} more: --json lists all"


def _print_table(rows: list[tuple[str, str]], console: Any, *, is_error: bool) -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    colour = "red" if is_error else "green"
    table = Table(box=box.ROUNDED, border_style=colour, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for number, (name, value) in enumerate(rows):
        if name == BODY:
            continue
        style = f"bold {colour}" if number == 0 else "yellow" if name in {"next", "sent"} else ""
        table.add_row(name, Text(_printable(value), style=style))
    console.print(table)
    for name, value in rows:
        if name == BODY:
            # Below the table, where nothing breaks its line: it is meant to be copied.
            console.out(_printable(value))


def _printable(text: str) -> str:
    """Return the text without characters that could steer a terminal: a part of it is the vendor's."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
