"""The retry policy: UNAVAILABLE of a push is repeated until headers were received, or the sidecar says not to."""

import time

import grpc
import pytest

from pushsidecar.client import Sent, error_of
from pushsidecar.xg.v1 import PushResponse


async def test_unavailable_without_early_headers_is_retried(serve, push, crafted):
    fail, info = crafted

    def handler(_request, context):
        if sidecar.calls < 3:
            return fail(context, grpc.StatusCode.UNAVAILABLE, info("no", "SHUTTING_DOWN"))
        return PushResponse(push_id="7")

    sidecar = serve(handler)
    response = await push(sidecar.target)

    assert response.push_id == "7"
    assert sidecar.calls == 3


async def test_unavailable_after_initial_metadata_is_not_retried(serve, push, crafted):
    fail, info = crafted

    def handler(_request, context):
        context.send_initial_metadata(())
        # gRPC's core may see the end of a call before its headers, where both come in one read. (What then is repeated
        # was not pushed, by the word of UNAVAILABLE.)
        time.sleep(0.1)
        return fail(context, grpc.StatusCode.UNAVAILABLE, info("no", "VENDOR_BUSY"))

    sidecar = serve(handler)
    with pytest.raises(grpc.RpcError) as failure:
        await push(sidecar.target)

    assert sidecar.calls == 1
    assert error_of(failure.value).reason == "VENDOR_BUSY"


async def test_what_the_sidecar_has_repeated_itself_is_not_retried(serve, push, crafted):
    fail, info = crafted

    def handler(_request, context):
        trailers = (("grpc-retry-pushback-ms", "-1"),)
        return fail(context, grpc.StatusCode.UNAVAILABLE, info("no", "NOT_SENT"), trailers=trailers)

    sidecar = serve(handler)
    with pytest.raises(grpc.RpcError) as failure:
        await push(sidecar.target)

    assert sidecar.calls == 1
    assert error_of(failure.value).reason == "NOT_SENT"


async def test_unavailable_is_given_up_after_four_attempts(serve, push, crafted):
    fail, info = crafted
    sidecar = serve(lambda _, context: fail(context, grpc.StatusCode.UNAVAILABLE, info("no", "SHUTTING_DOWN")))
    with pytest.raises(grpc.RpcError) as failure:
        await push(sidecar.target)

    assert sidecar.calls == 4
    assert error_of(failure.value).sent is Sent.NO


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code.name not in {"OK", "UNAVAILABLE"}],
    ids=lambda code: code.name,
)
async def test_no_other_code_is_retried(serve, push, crafted, code):
    fail, info = crafted
    sidecar = serve(lambda _, context: fail(context, code, info("no", "ANY")))
    with pytest.raises(grpc.RpcError) as failure:
        await push(sidecar.target)

    assert sidecar.calls == 1
    assert error_of(failure.value).code is code


async def test_method_that_promises_no_early_headers_is_not_retried(serve, call_unknown_method, crafted):
    fail, info = crafted
    sidecar = serve(lambda _, context: fail(context, grpc.StatusCode.UNAVAILABLE, info("no", "NOT_SENT")))
    with pytest.raises(grpc.RpcError) as failure:
        await call_unknown_method(sidecar.target)

    assert sidecar.calls == 1
    assert error_of(failure.value).code is grpc.StatusCode.UNAVAILABLE


async def test_options_of_the_caller_win(serve, push, crafted):
    fail, info = crafted
    sidecar = serve(lambda _, context: fail(context, grpc.StatusCode.UNAVAILABLE, info("no", "NOT_SENT")))
    with pytest.raises(grpc.RpcError):
        await push(sidecar.target, options={"grpc.enable_retries": 0})

    assert sidecar.calls == 1
