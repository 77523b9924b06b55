"""`error_of`, on statuses as a sidecar sends them, and on those that it did not send."""

import asyncio
import threading

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from pushsidecar.client import PushError, Sent, Violation, error_of
from pushsidecar.type.v1 import ErrorReason
from pushsidecar.xg.v1 import PushResponse


@pytest.fixture
def failure_of(serve, push):
    """Call a server that fails so, and read the exception."""

    async def read(handler) -> PushError:
        with pytest.raises(grpc.RpcError) as failure:
            await push(serve(handler).target)
        return error_of(failure.value)

    return read


async def test_every_fact_of_the_sidecar_is_read(failure_of, crafted):
    fail, info = crafted
    facts = {
        "vendor_code": "10110",
        "vendor_message": "token no found",
        "http_status": "200",
        "attempts": "2",
        "push_id": "3000000000",
        "seq": "9",
        "environment": "product",
    }
    error = await failure_of(
        lambda _, context: fail(context, grpc.StatusCode.NOT_FOUND, info("no", "TARGET_UNKNOWN", **facts))
    )
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert error.message == "no luck"
    assert error.sent is Sent.NO
    assert error.was_not_sent
    assert error.reason == "TARGET_UNKNOWN"
    assert ErrorReason.Value(f"ERROR_REASON_{error.reason}") == 10
    assert (error.vendor_code, error.vendor_message) == (10110, "token no found")
    assert (error.http_status, error.attempts) == (200, 2)
    assert (error.push_id, error.seq, error.environment) == ("3000000000", 9, "product")
    assert error.retry_after_s is error.response is None
    assert error.violations == ()


async def test_violations_are_read(failure_of, crafted):
    fail, info = crafted
    broken = error_details_pb2.BadRequest(
        field_violations=[
            {
                "field": "token_list.tokens[3]",
                "reason": "string.max_len",
                "description": "at most 64 characters",
            },
            {
                "field": "environment",
                "reason": "environment.ios_only",
                "description": "for iOS messages only",
            },
        ]
    )
    error = await failure_of(
        lambda _, context: fail(context, grpc.StatusCode.INVALID_ARGUMENT, info("no", "INVALID_REQUEST"), broken)
    )
    assert error.violations == (
        Violation("token_list.tokens[3]", "string.max_len", "at most 64 characters"),
        Violation("environment", "environment.ios_only", "for iOS messages only"),
    )


async def test_wait_is_read_in_seconds(failure_of, crafted):
    fail, info = crafted
    wait = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000))
    quota = error_details_pb2.QuotaFailure()
    error = await failure_of(
        lambda _, context: fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, info("no", "QUOTA_EXCEEDED"), wait, quota)
    )
    assert error.retry_after_s == 2.5


async def test_answer_for_a_list_that_failed_as_a_whole_is_read(failure_of, crafted):
    fail, info = crafted
    response = PushResponse(push_id="5", vendor_code=10303, result_json="[6,6]")
    error = await failure_of(
        lambda _, context: fail(context, grpc.StatusCode.NOT_FOUND, info("no", "TARGET_UNKNOWN"), response)
    )
    assert error.response == response


@pytest.mark.parametrize("sent", ["maybe", "", "NO", "yes"])
async def test_anything_but_no_is_maybe(failure_of, crafted, sent):
    fail, info = crafted
    error = await failure_of(lambda _, context: fail(context, grpc.StatusCode.INTERNAL, info(sent, "VENDOR_INTERNAL")))
    assert error.sent is Sent.MAYBE
    assert not error.was_not_sent
    assert error.reason == "VENDOR_INTERNAL"


async def test_error_info_of_another_domain_is_not_believed(failure_of, crafted):
    fail, info = crafted
    error = await failure_of(
        lambda _, context: fail(
            context, grpc.StatusCode.INTERNAL, info("no", "NOT_SENT", domain="example.com", vendor_code="1")
        )
    )
    assert (error.sent, error.reason, error.vendor_code) == (Sent.MAYBE, "", None)


async def test_ours_is_found_behind_another_domain(failure_of, crafted):
    fail, info = crafted
    error = await failure_of(
        lambda _, context: fail(
            context,
            grpc.StatusCode.INTERNAL,
            info("maybe", "OTHER", domain="example.com"),
            info("no", "SIDECAR_BUG"),
        )
    )
    assert (error.sent, error.reason) == (Sent.NO, "SIDECAR_BUG")


async def test_status_without_details_is_maybe(failure_of):
    error = await failure_of(lambda _, context: context.abort(grpc.StatusCode.INTERNAL, "bare"))
    assert error == PushError(code=grpc.StatusCode.INTERNAL, message="bare", sent=Sent.MAYBE)


async def test_status_that_contradicts_the_code_is_not_believed(failure_of, crafted):
    _, info = crafted

    def handler(_request, context):
        status = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0])
        status.details.add().Pack(info("no", "NOT_SENT"))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.INTERNAL, "other")

    error = await failure_of(handler)
    assert (error.sent, error.reason, error.status) == (Sent.MAYBE, "", None)


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b""], ids=["garbage", "empty"])
async def test_unreadable_status_is_maybe(failure_of, garbage):
    def handler(_request, context):
        context.set_trailing_metadata((("grpc-status-details-bin", garbage),))
        context.abort(grpc.StatusCode.INTERNAL, "cut")

    error = await failure_of(handler)
    assert (error.sent, error.message) == (Sent.MAYBE, "cut")


async def test_unreadable_detail_does_not_hide_the_others(failure_of, crafted):
    _, info = crafted

    def handler(_request, context):
        status = status_pb2.Status(code=grpc.StatusCode.INTERNAL.value[0])
        status.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff")
        status.details.add().Pack(info("no", "SIDECAR_BUG", vendor_code="x"))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.INTERNAL, "other")

    error = await failure_of(handler)
    assert (error.sent, error.reason, error.violations, error.vendor_code) == (
        Sent.NO,
        "SIDECAR_BUG",
        (),
        None,
    )


async def test_broken_connection_is_maybe(serve, push):
    def handler(_request, context):
        context.send_initial_metadata(())
        ended = threading.Event()
        context.add_callback(ended.set)
        sidecar.server.stop(None)
        ended.wait(20)
        return PushResponse()

    sidecar = serve(handler)
    with pytest.raises(grpc.RpcError) as failure:
        await push(sidecar.target)
    error = error_of(failure.value)
    assert (error.sent, error.reason) == (Sent.MAYBE, "")


@pytest.mark.parametrize(
    "exception", [grpc.RpcError(), asyncio.CancelledError(), ValueError("secret"), TimeoutError()], ids=repr
)
def test_any_other_exception_is_maybe(exception):
    error = error_of(exception)
    assert (error.sent, error.code) == (Sent.MAYBE, grpc.StatusCode.UNKNOWN)
    assert "secret" not in str(error)


async def test_text_forms_hold_nothing_that_the_vendor_said(failure_of, crafted):
    fail, info = crafted
    error = await failure_of(
        lambda _, context: fail(
            context,
            grpc.StatusCode.NOT_FOUND,
            info("no", "TARGET_UNKNOWN", vendor_message="secret-1", push_id="5"),
            PushResponse(result_json='["secret-2"]', vendor_message="secret-3"),
        )
    )
    assert str(error) == "NOT_FOUND TARGET_UNKNOWN (sent=no): no luck"
    assert "secret" not in repr(error)
    assert error.response is not None
    assert hash(error) == hash(error)
