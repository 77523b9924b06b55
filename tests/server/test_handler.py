"""Deadlines, hang-ups, early headers and our own bugs, as a caller of an invented service sees them."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from sidecar.config import Config, ServerConfig
from sidecar.delivery.call import Call
from sidecar.errors import DeadlineExceeded, NotSent, Overloaded, Sent, ShuttingDown
from sidecar.providers.provider import Method
from sidecar.server.server import PushServer
from sidecar.telemetry.metrics import Metrics
from tests.support.failures import failure_of
from tests.support.raw_http2 import raw_push
from tests.support.tracing import Tracing
from tests.support.waiting import until

PATH = "test.v1.TestService/Do"
Serve = Callable[[StringValue, Call], Awaitable[Message]]


class Provider:
    """One service with one method."""

    name = "test"

    def __init__(self, serve: Serve) -> None:
        self.services: Mapping[str, Mapping[str, Method]] = {"test.v1.TestService": {"Do": Method(StringValue, serve)}}

    def stop(self) -> None:
        """Nothing waits."""

    async def aclose(self) -> None:
        """Nothing is open."""


class Served:
    """A running server, its telemetry, and a caller without retries."""

    def __init__(self, server: PushServer, channel: grpc.aio.Channel, tracing: Tracing, metrics: Metrics) -> None:
        self.server = server
        self.tracing = tracing
        self.metrics = metrics
        self.channel = channel
        self._do = channel.unary_unary(
            f"/{PATH}", request_serializer=StringValue.SerializeToString, response_deserializer=StringValue.FromString
        )

    def call(self, timeout_s: float | None = 5, metadata: Any = ()) -> Any:
        return self._do(StringValue(value="hello"), timeout=timeout_s, metadata=metadata)

    def counted(self, reason: str, sent: str) -> float | None:
        labels = {"app": "", "provider": "", "audience": "", "reason": reason, "sent": sent}
        return self.metrics.registry.get_sample_value("push_sidecar_pushes_total", labels)

    @property
    def active(self) -> float | None:
        return self.metrics.registry.get_sample_value("rpc_server_active_calls", {"rpc_method": PATH})

    @property
    def codes(self) -> list[Any]:
        return [(span.attributes or {})["rpc.status_code"] for span in self.tracing.spans]


@asynccontextmanager
async def serving(serve: Serve, **config: Any) -> AsyncIterator[Served]:
    tracing, metrics = Tracing(), Metrics("test")
    server = PushServer(
        Config(server=ServerConfig(listen="127.0.0.1:0", reflection=False, **config), apps={}),
        [Provider(serve)],
        tracers=tracing.tracers,
        metrics=metrics,
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address, (("grpc.enable_retries", 0),)) as channel:
            yield Served(server, channel, tracing, metrics)
    finally:
        await server.stop(5)


async def echo(request: StringValue, _call: Call) -> StringValue:
    return StringValue(value=request.value + "!")


async def fail(call: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return failure_of(caught.value)


async def test_answer_comes_back_without_trailers() -> None:
    async with serving(echo) as served:
        call = served.call()
        assert (await call).value == "hello!"
        assert list(await call.trailing_metadata()) == []
        assert served.counted("OK", "yes") == 1
    assert served.codes == ["OK"]


# Deadlines.


async def remaining(_request: StringValue, call: Call) -> StringValue:
    return StringValue(value=str(call.deadline.remaining_s()))


@pytest.mark.parametrize(
    ("timeout_s", "least", "most"),
    [
        (10, 9.0, 9.95),  # the margin of 50 ms
        (30, 29.0, 29.95),  # which grpcio tells the server as 30.1 s
        (0.3, 0.1, 0.27),  # the margin is a tenth of the time at most
        (None, 6.0, 6.95),  # the configured default
    ],
)
async def test_answer_is_due_a_margin_before_the_callers_deadline(
    timeout_s: float | None, least: float, most: float
) -> None:
    async with serving(remaining, default_timeout_s=7.0) as served:
        left_s = float((await served.call(timeout_s)).value)
    assert least < left_s <= most


async def test_margin_is_configured() -> None:
    async with serving(remaining, deadline_margin_s=2.0) as served:
        assert float((await served.call(30)).value) <= 28


@pytest.mark.parametrize("sent", list(Sent))
async def test_deadline_that_we_notice_is_answered_with_what_was_sent(sent: Sent) -> None:
    async def late(_request: StringValue, _call: Call) -> StringValue:
        raise DeadlineExceeded("too late", sent=sent)

    async with serving(late) as served:
        failure = await fail(served.call())
        assert (failure.code, failure.reason, failure.sent) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE", sent)
        assert served.counted("DEADLINE", sent) == 1


@pytest.mark.parametrize("sent", list(Sent))
async def test_deadline_that_we_miss_is_recorded_as_deadline(sent: Sent) -> None:
    async def too_slow(_request: StringValue, call: Call) -> StringValue:
        call.sent = sent
        await asyncio.sleep(30)
        raise AssertionError("not reached")

    async with serving(too_slow) as served:
        # A caller with a clock of its own might hang up before the server's deadline, which begins when a call arrives.
        await raw_push(served.server.address, b"", (b"grpc-timeout", b"300m"), path=f"/{PATH}".encode())
        await until(lambda: served.counted("DEADLINE", sent) == 1)
        assert served.counted("CANCELLED", sent) is None
    assert served.codes == ["DEADLINE_EXCEEDED"]


# Hang-ups.


@pytest.mark.parametrize("sent", list(Sent))
@pytest.mark.parametrize("timeout_s", [None, 30])
async def test_hang_up_is_recorded_with_what_was_sent_and_leaves_nothing(sent: Sent, timeout_s: float | None) -> None:
    started = asyncio.Event()
    was_cancelled = asyncio.Event()

    async def wait(_request: StringValue, call: Call) -> StringValue:
        call.sent = sent
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            was_cancelled.set()
            raise
        raise AssertionError("not reached")

    async with serving(wait) as served:
        call = served.call(timeout_s, metadata=(("push-sidecar-trace", "1"),))
        await started.wait()
        assert served.tracing.kept == 1
        call.cancel()
        await was_cancelled.wait()
        await until(lambda: served.counted("CANCELLED", sent) == 1)
        assert served.tracing.kept == 0
    assert served.codes == ["CANCELLED"]


# Early headers.


async def test_headers_come_before_the_vendor_answers() -> None:
    is_committed, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_request: StringValue, call: Call) -> StringValue:
        await call.before_first_byte()
        await call.before_first_byte()  # of a second attempt: sends nothing more
        is_committed.set()
        await may_answer.wait()
        return StringValue(value="done")

    async with serving(slow) as served:
        # The same bytes to the server; but grpc.aio shows the headers of a unary call only together with its answer.
        call = served.channel.unary_stream(f"/{PATH}")(StringValue().SerializeToString(), timeout=5)
        await is_committed.wait()
        async with asyncio.timeout(2):
            assert list(await call.initial_metadata()) == []
        assert not call.done()
        may_answer.set()
        assert StringValue.FromString(await call.read()).value == "done"


async def test_call_that_a_stop_refused_is_repeated_by_the_callers_library() -> None:
    """It has no headers before its error, and no word against it."""
    attempts = 0

    async def refuse_once(request: StringValue, call: Call) -> StringValue:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ShuttingDown("not here any more")
        return await echo(request, call)

    assert await repeated_by_the_library(refuse_once) == "hello!"
    assert attempts == 2


async def test_call_that_the_sidecar_has_repeated_is_not_repeated_by_the_callers_library() -> None:
    attempts = 0

    async def refuse(_request: StringValue, _call: Call) -> StringValue:
        nonlocal attempts
        attempts += 1
        raise NotSent("nobody there", cause="connect")

    assert await repeated_by_the_library(refuse) == "UNAVAILABLE"
    assert attempts == 1


async def test_error_after_the_first_byte_is_never_repeated_by_the_callers_library() -> None:
    attempts = 0

    async def fail_after_sending(_request: StringValue, call: Call) -> StringValue:
        nonlocal attempts
        attempts += 1
        await call.before_first_byte()
        raise ShuttingDown("only for its code, and since it has no word against a repetition")

    assert await repeated_by_the_library(fail_after_sending) == "UNAVAILABLE"
    assert attempts == 1


async def repeated_by_the_library(serve: Serve) -> str:
    """Call with a library that repeats UNAVAILABLE by itself; returns the answer, or the name of the code."""
    config = {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }  # fmt: skip
    server = PushServer(
        Config(server=ServerConfig(listen="127.0.0.1:0"), apps={}),
        [Provider(serve)],
        tracers=Tracing().tracers,
        metrics=Metrics("test"),
    )
    await server.start()
    options = (("grpc.enable_retries", 1), ("grpc.service_config", json.dumps(config)))
    try:
        async with grpc.aio.insecure_channel(server.address, options) as channel:
            do = channel.unary_unary(
                f"/{PATH}", request_serializer=StringValue.SerializeToString,
                response_deserializer=StringValue.FromString,
            )  # fmt: skip
            try:
                return str((await do(StringValue(value="hello"), timeout=5)).value)
            except grpc.aio.AioRpcError as error:
                return error.code().name
    finally:
        await server.stop(5)


# Errors.


@pytest.mark.parametrize("sent", list(Sent))
async def test_bug_of_ours_is_told_with_what_was_sent_and_without_its_text(
    sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_request: StringValue, call: Call) -> StringValue:
        call.sent = sent
        raise KeyError("planted-secret")

    async with serving(broken) as served:
        with caplog.at_level(logging.DEBUG):
            failure = await fail(served.call())
        assert (failure.code, failure.reason, failure.sent) == (grpc.StatusCode.INTERNAL, "SIDECAR_BUG", sent)
        assert "KeyError" in failure.message
        assert "planted-secret" not in failure.message
        assert served.counted("SIDECAR_BUG", sent) == 1
    (bug,) = [record for record in caplog.records if record.message == "bug"]
    assert bug.levelno == logging.ERROR
    (span,) = served.tracing.spans
    assert "planted-secret" not in span.to_json()


async def test_error_has_its_details_and_its_trace_in_the_trailers() -> None:
    async def refuse(_request: StringValue, _call: Call) -> StringValue:
        raise Overloaded("full", retry_after_s=2.5)

    async with serving(refuse) as served:
        call = served.call(metadata=(("push-sidecar-trace", "1"),))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(list(await call.trailing_metadata()))
        assert set(trailers) == {"push-sidecar-trace", "grpc-status-details-bin", "grpc-retry-pushback-ms"}
        assert json.loads(trailers["push-sidecar-trace"])[0][5]["push_sidecar.reason"] == "OVERLOADED"
        assert served.tracing.kept == 0
        assert await call.details() == "full"


@pytest.mark.parametrize(("sent", "level"), [(Sent.NO, logging.INFO), (Sent.MAYBE, logging.WARNING)])
async def test_failure_is_logged_louder_when_the_push_may_have_gone_out(
    sent: Sent, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def late(_request: StringValue, call: Call) -> StringValue:
        call.app, call.audience = "shop", "token"
        raise DeadlineExceeded("too late", sent=sent)

    async with serving(late) as served:
        with caplog.at_level(logging.INFO):
            await fail(served.call())
    (line,) = [record for record in caplog.records if record.message == "push failed"]
    assert line.levelno == level
    (span,) = served.tracing.spans
    assert span.context is not None
    expected = {"app": "shop", "audience": "token", "reason": "DEADLINE", "sent": sent, "attempts": 0}
    expected |= {"trace_id": f"{span.context.trace_id:032x}", "span_id": f"{span.context.span_id:016x}"}
    assert expected.items() <= vars(line).items()


async def test_request_that_is_no_protobuf_is_refused_like_any_other() -> None:
    async with serving(echo) as served:
        failure = await fail(served.channel.unary_unary(f"/{PATH}")(b"\xff\xff\xff", timeout=5))
        assert (failure.code, failure.sent) == (grpc.StatusCode.INVALID_ARGUMENT, "no")
        assert failure.message == "request: is no google.protobuf.StringValue [request.protobuf]"
        assert served.counted("INVALID_REQUEST", "no") == 1
    assert served.codes == ["INVALID_ARGUMENT"]


async def test_request_over_the_limit_is_refused_by_grpc_itself() -> None:
    async with serving(echo, max_message_bytes=2048) as served:
        assert len(await served.channel.unary_unary(f"/{PATH}")(b"\n\x80\x0f" + b"x" * 1920, timeout=5)) > 1920
        failure = await fail(served.channel.unary_unary(f"/{PATH}")(b"x" * 2049, timeout=5))
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "")
        assert "larger than max" in failure.message
        assert "2048" in failure.message


async def test_unknown_method_is_refused_by_grpc_itself() -> None:
    async with serving(echo) as served:
        failure = await fail(served.channel.unary_unary("/test.v1.TestService/Undo")(b"", timeout=5))
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNIMPLEMENTED, "")
