"""The early headers: one operation of gRPC a call, whatever becomes of its attempts and its caller."""

import asyncio
import time

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from sidecar.delivery.call import Call
from sidecar.errors import NotSent
from sidecar.server.early_headers import HeadersNotSentError
from tests.server.test_handler import PATH, echo, fail, serving
from tests.support.raw_http2 import Deaf
from tests.support.waiting import until

DO = f"/{PATH}".encode()
BIG = "big"
# More than the kernel takes for a connection whose other end does not read.
BIG_ANSWER_CHARS = 8 << 20


async def test_attempt_that_is_cut_short_leaves_them_under_way_and_its_caller_gets_the_answer() -> None:
    """As it is when the vendor's connection ends just then: the HTTP library cancels what asks for the body."""

    async def attempts(_request: StringValue, call: Call) -> StringValue:
        first = asyncio.create_task(call.before_first_byte())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        assert first.cancelled(), "nothing was cut short"
        raise NotSent("the connection ended", cause="connection_lost")

    async with serving(attempts) as served:
        failure = await fail(served.call())
        assert (failure.code, failure.reason, failure.sent) == (grpc.StatusCode.UNAVAILABLE, "NOT_SENT", "no")


async def test_whoever_cancels_every_task_does_not_cut_them_short() -> None:
    """As the end of a loop does: gRPC would lose memory, and take neither later headers nor the answer."""

    async def attempts(request: StringValue, call: Call) -> StringValue:
        before = asyncio.all_tasks()
        first = asyncio.create_task(call.before_first_byte())
        for _ in range(2):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - before:
            task.cancel()
        await asyncio.wait({first})
        await call.before_first_byte()
        return await echo(request, call)

    async with serving(attempts) as served:
        assert (await served.call()).value == "hello!"


async def test_later_attempt_waits_for_those_of_the_first() -> None:
    async def attempts(request: StringValue, call: Call) -> StringValue:
        first = asyncio.create_task(call.before_first_byte())
        await asyncio.sleep(0)
        first.cancel()
        await call.before_first_byte()
        return await echo(request, call)

    async with serving(attempts) as served:
        assert (await served.call()).value == "hello!"


async def test_answer_waits_for_those_that_an_attempt_left_under_way() -> None:
    """As it is when another process has pushed meanwhile, and its answer is given again."""

    async def answer_again(request: StringValue, call: Call) -> StringValue:
        first = asyncio.create_task(call.before_first_byte())
        for _ in range(2):
            await asyncio.sleep(0)
        first.cancel()
        return await echo(request, call)

    async with serving(answer_again) as served:
        assert (await served.call()).value == "hello!"


async def test_none_are_sent_when_the_call_is_over() -> None:
    """An attempt that outlives its call, in a slow step of its request id: gRPC has freed the call by then."""
    calls: list[Call] = []

    async def wait(_request: StringValue, call: Call) -> StringValue:
        calls.append(call)
        await asyncio.sleep(30)
        raise AssertionError("not reached")

    async with serving(wait) as served:
        hung_up = served.call()
        await until(lambda: len(calls) == 1)
        hung_up.cancel()
        await until(lambda: served.counted("CANCELLED", "no") == 1)
        with pytest.raises(HeadersNotSentError):
            await calls[0].before_first_byte()


class Pushes:
    """A method that answers BIG with more than a connection takes, and of others notes how their headers ended."""

    def __init__(self) -> None:
        self.big_answers = 0
        self.waits_s: list[float] = []

    async def serve(self, request: StringValue, call: Call) -> StringValue:
        if request.value == BIG:
            self.big_answers += 1
            return StringValue(value="x" * BIG_ANSWER_CHARS)
        started = time.perf_counter()
        with pytest.raises(HeadersNotSentError):
            await call.before_first_byte()
        self.waits_s.append(time.perf_counter() - started)
        raise NotSent("the caller does not read", cause="early_headers")


async def test_caller_that_does_not_read_is_waited_for_a_second_and_told_when_it_reads() -> None:
    pushes = Pushes()
    async with serving(pushes.serve) as served, Deaf(served.server.address) as deaf:
        await deaf.call(DO, StringValue(value=BIG).SerializeToString())
        await until(lambda: pushes.big_answers == 1)
        await deaf.call(DO, b"")
        await until(lambda: served.counted("NOT_SENT", "no") == 1)
        assert 0.9 < pushes.waits_s[0] < 5
        assert served.active == 0, "a stop would wait for it"
        await deaf.hear(b"grpc-retry-pushback-ms")
