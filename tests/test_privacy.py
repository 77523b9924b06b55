"""One run through everything that can happen to a push, with words planted in all that is private: none of them shows.

Looked through are the log at its most talkative, spans, metrics, error texts and error details, and the trace that a
caller asks for. What a caller sent is given back to him in answers only, never in errors.
"""

import asyncio
import base64
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from pushsidecar.xg.v1 import (
    TAG_OP_OR,
    Account,
    AccountList,
    AllDevices,
    AndroidMessage,
    AndroidNotification,
    CustomContent,
    IosNotification,
    PushRequest,
    PushResponse,
    StringMap,
    TagAudience,
    TokenList,
)
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.config import load
from sidecar.errors import Reason
from sidecar.simulator import Fault, Kind, Simulator
from tests.support.collector import grpc_collector
from tests.support.failures import failure_of
from tests.support.process import ServeProcess, serve_process
from tests.support.raw_http2 import raw_push
from tests.support.running import write_config
from tests.support.waiting import until, until_metric

TOKEN = "sim-zqtoken"
ACCOUNT = "sim-zqaccount"
TITLE = 'zqtitle "quoted" \u6807\u9898'
CONTENT = "zqcontent\nsecond line"
TAG = "zqtag"
VALUE = "zqvalue"
KEY = "zqkey"
REQUEST_ID = "zqrequest-1"
WORDS = (
    "zqrequest",
    "zqtoken",
    "zqaccount",
    "zqtitle",
    "zqcontent",
    "zqtag",
    "zqvalue",
    "zqkey",
    "zqmeta",
    "zqheader",
    "zqhashkey",
)
METADATA = (("x-user", "zqmeta"), ("push-sidecar-trace", "1"))

# Libraries log metadata that is no text, with its value.
NO_TEXT = (
    ((b"x-secret", b"\xff\xfezqmeta"),),
    ((b"push-sidecar-trace", b"\xffzqmeta"),),
    ((b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"), (b"tracestate", b"a=\xffzqmeta")),
    ((b"traceparent", b"\xffzqmeta"),),
)

NEVER_HERE = {Reason.SIDECAR_BUG}  # its own test: tests/server/test_handler.py


def note(**fields: Any) -> PushRequest:
    if not {"all", "tag", "token_list", "account", "account_list", "token"} & fields.keys():
        fields["token"] = TOKEN
    content = CustomContent(fields=StringMap(entries={KEY: VALUE}))
    message = AndroidNotification(title=TITLE, content=CONTENT, custom_content=content)
    return PushRequest(**{"android_notification": message, **fields})


def custom(text: str) -> PushRequest:
    return PushRequest(
        token=TOKEN,
        android_message=AndroidMessage(title=TITLE, content=CONTENT, custom_content=CustomContent(json=text)),
    )


SUCCEEDING = [
    note(),
    note(account=Account(account=ACCOUNT)),
    note(token_list=TokenList(tokens=[TOKEN, "zqtoken-unknown"])),
    note(account_list=AccountList(accounts=[ACCOUNT, "zqaccount-unknown"])),
    note(tag=TagAudience(tags=[TAG], op=TAG_OP_OR)),
    note(all=AllDevices()),
    note(validate_only=True),
    custom(f'{{"{KEY}": "{VALUE}"}}'),
]

FAILING = [
    # Broken rules, each with a planted value that must not be quoted.
    note(token="zqtoken" * 10),
    note(token_list=TokenList(tokens=["zqtoken" * 10, ""])),
    note(tag=TagAudience(tags=["zqtag" * 200])),
    note(account=Account(account=ACCOUNT, account_type=-1)),
    note(push_id="zqvalue"),
    note(app="zqvalue"),
    custom(f'{{"{KEY}": zqvalue'),
    note(android_notification=AndroidNotification(title=TITLE, content="zqcontent" * 1000)),
    PushRequest(token=TOKEN, ios_notification=IosNotification(title=TITLE)),
    # What the vendor refuses or fails at, quoting what it was sent.
    note(token="zqtoken-unknown"),
    note(account=Account(account="zqaccount-unknown")),
    note(token_list=TokenList(tokens=["zqtoken-unknown", "zqtoken-unknown2"])),
    *(
        note(seq=code, **audience)
        for code in (10102, 10104, 10105, 10606, 10205, 10201, 10100, 10204, 99999, 401, 404, 429, 503)
        for audience in (
            {"token": TOKEN},
            {"account": Account(account=ACCOUNT)},
            {"token_list": TokenList(tokens=[TOKEN, f"{TOKEN}-2"])},
            {"account_list": AccountList(accounts=[ACCOUNT])},
            {"tag": TagAudience(tags=[TAG], op=TAG_OP_OR)},
        )
    ),
    # Answers that are lost or make no sense.
    *(note(token=f"fault-{name}:zqtoken") for name in ("reset-after-body", "half-body", "garbage", "garbage-nested")),
]  # fmt: skip


def script(vendor: Simulator, request: PushRequest) -> None:
    """Arm the fault that a request asks for by its `seq`: a code of the vendor, or a status of HTTP."""
    vendor.clear_faults()
    said = f"{TITLE} {CONTENT} {KEY}={VALUE} of {quoted_targets(request)}"
    if request.seq >= 1000:
        vendor.script(Fault(kind=Kind.RET_CODE, ret_code=request.seq, err_msg=said, result=[said], times=None))
    elif request.seq:
        vendor.script(Fault(kind=Kind.HTTP, status=request.seq, body=said, headers={"x-zqheader": "zqheader"}))


def quoted_targets(request: PushRequest) -> str:
    """Return the targets as a vendor may quote them: alone, and as JSON."""
    targets = [request.token, request.account.account, *request.token_list.tokens, *request.account_list.accounts]
    targets = [target for target in [*targets, *request.tag.tags] if target]
    return f"{' or '.join(targets)}, in short {json.dumps(targets)}"


class Seen:
    """What a caller and an operator could read."""

    def __init__(self) -> None:
        self.reasons: set[str] = set()
        self.texts: list[str] = []

    def keep(self, error: grpc.aio.AioRpcError) -> None:
        failure = failure_of(error)
        self.reasons.add(failure.reason)
        self.texts += [failure.message, str(failure.metadata), error.debug_error_string() or ""]
        self.texts += [repr(pair) for pair in error.trailing_metadata() or () if pair[0] != "grpc-status-details-bin"]
        for detail in failure.status.details if failure.status else ():
            answer = PushResponse()
            if detail.Unpack(answer):
                # The vendor's own `result`, as it came: an answer to the caller, inside of an error.
                answer.ClearField("result_json")
                self.texts.append(repr(answer))
            else:
                self.texts.append(repr(detail))

    async def failing(self, call: Any) -> None:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.keep(error)
        else:
            raise AssertionError("it did not fail")


@contextmanager
def no_store(directory: Path) -> Iterator[None]:
    """Keep the sidecar from its store of request ids."""
    other = sqlite3.connect(directory / "ids.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def run_everything(seen: Seen, push: Any, vendor: Simulator, directory: Path) -> None:
    for request in SUCCEEDING:
        call = push(request, timeout=10, metadata=METADATA)
        await call
        seen.texts += [repr(pair) for pair in await call.trailing_metadata()]
    for request in FAILING:
        script(vendor, request)
        await seen.failing(push(request, timeout=10, metadata=METADATA))
    vendor.clear_faults()

    # A request id: pushed, given again, an error given again, used for other content, and no store.
    first = await push(note(request_id=REQUEST_ID), timeout=10, metadata=METADATA)
    again = await push(note(request_id=REQUEST_ID), timeout=10, metadata=METADATA)
    assert (again.push_id, again.replayed) == (first.push_id, True)
    await seen.failing(push(note(request_id=REQUEST_ID, seq=1), timeout=10, metadata=METADATA))
    for _ in range(2):
        unknown = note(token="fault-half-body:zqtoken", request_id="zqrequest-2")
        await seen.failing(push(unknown, timeout=10, metadata=METADATA))
    with no_store(directory):
        await seen.failing(push(note(request_id="zqrequest-3"), timeout=10, metadata=METADATA))

    # The deadline, a hang-up, and no room.
    # Long enough that the sidecar's own answer comes before the library's, also on a busy machine.
    await seen.failing(push(note(token="fault-latency-2:zqtoken"), timeout=1, metadata=METADATA))
    received = vendor.received
    hung_up = push(note(token="fault-latency-0.3:zqtoken"), timeout=10, metadata=METADATA)
    await until(lambda: vendor.received > received)
    hung_up.cancel()
    received = vendor.received
    narrow = push(note(token="fault-latency-1:zqtoken", app="narrow"), timeout=10, metadata=METADATA)
    await until(lambda: vendor.received > received)
    await seen.failing(push(note(app="narrow"), timeout=10, metadata=METADATA))
    await narrow

    await vendor.refuse_connections()
    await seen.failing(push(note(), timeout=10, metadata=METADATA))
    await vendor.accept_connections()


async def test_nothing_private_shows_anywhere(vendor: Simulator, tmp_path: Path) -> None:
    seen = Seen()
    secret = vendor.android.secret_key
    credentials = base64.b64encode(f"{vendor.android.app_id}:{secret}".encode()).decode()
    hash_key_file = tmp_path / "hash.key"
    hash_key_file.write_text("zqhashkey" * 4)
    config = write_config(
        tmp_path, vendor, apps={"narrow": {"max_in_flight": 1, "max_queue": 0}},
        log={"level": "debug", "access": "all", "target_hash_key_file": str(hash_key_file)},
        app={
            "max_in_flight": 2,
            "retry": {"initial_backoff_s": 0.01, "max_backoff_s": 0.01},
            "quota_retry_after_s": 0.001,  # what is refused for its quota pauses the app
            "quotas": {},
        },
        idempotency={"store": "sqlite", "sqlite_file": str(tmp_path / "ids.db")},
    )  # fmt: skip
    with grpc_collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        async with serve_process(config, environment) as process:
            line = await process.wait_for("serving")
            async with grpc.aio.insecure_channel(line["grpc"], (("grpc.enable_retries", 0),)) as channel:
                push = PushServiceStub(channel).Push
                await run_everything(seen, lambda request, **rest: push(named(request), **rest), vendor, tmp_path)
                for metadata in NO_TEXT:
                    assert b"grpc-status" in await raw_push(line["grpc"], named(note()).SerializeToString(), *metadata)
                async with aiohttp.ClientSession(f"http://{line['admin']}") as session:
                    metrics, status = [await (await session.get(page)).text() for page in ("/metrics", "/statusz")]
                await stop_with_one_waiting(seen, push, vendor, process, line["admin"])
            assert await process.wait() == 0
        log = repr(process.lines) + process.text + await refused_to_a_stranger(seen, vendor, tmp_path / "guarded")
        libraries = [line for line in process.lines if "logger" in line]

    assert {Reason(reason) for reason in seen.reasons} == set(Reason) - NEVER_HERE - {Reason.CANCELLED}
    assert 'reason="CANCELLED"' in metrics
    assert {"late vendor answer", "push answered", "push failed"} <= {line["event"] for line in process.lines}
    assert "target_hash" in log
    assert "Invalid encoding on ..." in {line["event"] for line in libraries}, "gRPC logs it otherwise: test that"
    assert any(line["logger"].startswith("opentelemetry") for line in libraries)
    assert len(libraries) == len({(line["logger"], line["event"]) for line in libraries})
    spans = collector.raw.decode("utf-8", "replace")
    errors = "\n".join(seen.texts)
    shown = {"log": log, "spans": spans, "metrics": metrics, "errors": errors, "status": status}
    shown["configuration"] = repr(load(config, {}))
    for name, text in shown.items():
        assert "shop" in text, f"{name} is empty"
        assert secret not in text, f"the secret key is in the {name}"
        assert credentials not in text, f"the credentials are in the {name}"
        for word in WORDS:
            assert word not in text.lower(), f"{word} is in the {name}: {excerpt(text, word)}"


async def refused_to_a_stranger(seen: Seen, vendor: Simulator, directory: Path) -> str:
    """Push to a sidecar that lets in nobody but the caller of a socket; returns its log."""
    directory.mkdir()
    listeners = {"orders": {"listen": f"unix:{directory / 'orders.sock'}"}}
    config = write_config(directory, vendor, listeners=listeners, callers={"orders": {"listener": "orders"}})
    async with serve_process(config) as process:
        address = (await process.wait_for("serving"))["grpc"].partition(", ")[0]
        async with grpc.aio.insecure_channel(address, (("grpc.enable_retries", 0),)) as channel:
            await seen.failing(PushServiceStub(channel).Push(named(note()), timeout=10, metadata=METADATA))
    return repr(process.lines) + process.text


def named(request: PushRequest) -> PushRequest:
    copy = PushRequest()
    copy.CopyFrom(request)
    copy.app = request.app or "shop"
    return copy


async def stop_with_one_waiting(seen: Seen, push: Any, vendor: Simulator, process: ServeProcess, admin: str) -> None:
    # The last late answer's connection is one that the vendor drops: no push may be given it.
    await until_metric(admin, 'push_sidecar_in_flight{app="shop"} 0.0')
    received = vendor.received
    started = [
        push(named(note(token="fault-latency-3:zqtoken", seq=number)), timeout=10, metadata=METADATA)
        for number in range(2)
    ]
    await until(lambda: vendor.received >= received + 2)
    waiting = push(named(note()), timeout=10, metadata=METADATA)
    await until_metric(admin, 'push_sidecar_queued{app="shop"} 1.0')
    process.send_signal(signal.SIGTERM)
    await seen.failing(waiting)
    await asyncio.gather(*started)


def excerpt(text: str, word: str) -> str:
    at = text.lower().index(word)
    return text[max(0, at - 200) : at + 100]
