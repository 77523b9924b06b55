"""The channels: addresses, default deadline, waiting for a sidecar that starts, hang-up."""

import asyncio
import threading

import grpc
import pytest

from pushsidecar.client import Sent, connect, connect_async, error_of
from pushsidecar.xg.v1 import PushRequest, PushResponse
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub

# So that it is the waiting that a test sees, and not the retry policy.
NO_RETRIES = {"grpc.enable_retries": 0}


def echo(request, _context):
    return PushResponse(push_id=f"for {request.token}")


async def test_push_over_tcp(serve, push):
    assert (await push(serve(echo).target, PushRequest(token="t"))).push_id == "for t"


async def test_push_over_a_unix_socket(serve, push, tmp_path):
    sidecar = serve(echo, f"unix:{tmp_path / 'push.sock'}")
    assert (await push(sidecar.target, PushRequest(token="t"))).push_id == "for t"


@pytest.mark.parametrize(
    ("timeout_s", "how", "expected_s"),
    [
        pytest.param(None, {}, 30, id="none given"),
        pytest.param(None, {"default_timeout_s": 7}, 7, id="another default"),
        pytest.param(5, {}, 5, id="a shorter one of the call"),
        pytest.param(90, {}, 90, id="a longer one of the call"),
    ],
)
async def test_every_call_has_a_deadline(serve, push, timeout_s, how, expected_s):
    left: list[float] = []

    def handler(_request, context):
        left.append(context.time_remaining())
        return PushResponse()

    await push(serve(handler).target, timeout_s=timeout_s, **how)

    assert left[0] == pytest.approx(expected_s, abs=2)


async def test_default_deadline_ends_a_call_that_hangs(serve, push):
    ended = threading.Event()

    def handler(_request, _context):
        ended.wait(20)
        return PushResponse()

    with pytest.raises(grpc.RpcError) as failure:
        await push(serve(handler).target, default_timeout_s=0.3)
    ended.set()

    error = error_of(failure.value)
    assert (error.code, error.sent, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, Sent.MAYBE, "")


async def test_metadata_passes_beside_the_default_deadline(serve):
    seen: dict[str, str] = {}

    def handler(_request, context):
        seen.update(context.invocation_metadata())
        return PushResponse()

    target = serve(handler).target
    with connect(target) as channel:
        stub = PushServiceStub(channel)
        await asyncio.to_thread(lambda: stub.Push(PushRequest(), metadata=(("k", "sync"),)))
    assert seen["k"] == "sync"
    async with connect_async(target) as channel:
        await PushServiceStub(channel).Push(PushRequest(), metadata=(("k", "aio"),))
    assert seen["k"] == "aio"


async def test_blocking_call_waits_for_a_sidecar_that_starts(serve, tmp_path, any_method):
    target = f"unix:{tmp_path / 'late.sock'}"
    failed = threading.Event()

    def watch(state):
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            failed.set()

    with connect(target, options=NO_RETRIES) as channel:
        channel.subscribe(watch)
        call = any_method(channel).future(PushRequest(token="t"))
        assert await asyncio.to_thread(failed.wait, 20)
        serve(echo, target)
        response = await asyncio.to_thread(call.result)
        channel.unsubscribe(watch)
    assert response.push_id == "for t"


async def test_asyncio_call_waits_for_a_sidecar_that_starts(serve, tmp_path, any_method):
    target = f"unix:{tmp_path / 'late.sock'}"
    async with connect_async(target, options=NO_RETRIES) as channel:
        call = asyncio.ensure_future(any_method(channel)(PushRequest(token="t")))
        while (state := channel.get_state()) is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(state)
        serve(echo, target)
        assert (await call).push_id == "for t"


@pytest.mark.parametrize(
    ("wait_for_ready", "code"),
    [(None, grpc.StatusCode.DEADLINE_EXCEEDED), (False, grpc.StatusCode.UNAVAILABLE)],
    ids=["waits", "told not to wait"],
)
async def test_sidecar_that_stays_down_is_an_error_of_the_library_and_maybe(push, tmp_path, wait_for_ready, code):
    with pytest.raises(grpc.RpcError) as failure:
        await push(f"unix:{tmp_path / 'nobody.sock'}", timeout_s=0.5, wait_for_ready=wait_for_ready, options=NO_RETRIES)
    error = error_of(failure.value)
    assert (error.code, error.sent, error.reason) == (code, Sent.MAYBE, "")


async def test_hang_up_of_an_asyncio_caller_reaches_the_sidecar(serve):
    arrived, hung_up = threading.Event(), threading.Event()

    def handler(_request, context):
        context.add_callback(hung_up.set)
        arrived.set()
        hung_up.wait(20)
        return PushResponse()

    async with connect_async(serve(handler).target) as channel:

        async def push_once():
            await PushServiceStub(channel).Push(PushRequest())

        task = asyncio.create_task(push_once())
        assert await asyncio.to_thread(arrived.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(hung_up.wait, 20)


async def test_proxy_of_the_environment_is_not_used(serve, push, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    response = await push(serve(echo).target, PushRequest(token="t"), timeout_s=20)
    assert response.push_id == "for t"
