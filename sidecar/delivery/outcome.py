"""What became of a push, as the bytes that a store keeps under its request id, and back.

Only what is to be given again is kept: the provider's response, or an error of `sent=maybe`.
"""

from base64 import b64decode, b64encode
from typing import TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message

from sidecar.errors import EarlierFailure, OutcomeUnknown, PushError, Reason, VendorAnswer
from sidecar.stores.store import Record, State

M = TypeVar("M", bound=Message)


class _Failure(msgspec.Struct, omit_defaults=True):
    """An error, as it is kept. `response` is the provider's message in base64."""

    reason: Reason
    description: str
    attempts: int = 0
    code: int | None = None
    message: str = ""
    http_status: int | None = None
    push_id: str = ""
    seq: int = 0
    environment: str = ""
    response: str | None = None


_decoder = msgspec.json.Decoder(_Failure)


def encode_failure(error: PushError) -> bytes:
    """Return an error of `sent=maybe` as bytes."""
    vendor = error.vendor or VendorAnswer()
    response = None if vendor.response is None else b64encode(vendor.response.SerializeToString()).decode("ascii")
    return msgspec.json.encode(
        _Failure(
            reason=error.reason,
            description=error.description,
            attempts=error.attempts,
            code=vendor.code,
            message=vendor.message,
            http_status=vendor.http_status,
            push_id=vendor.push_id,
            seq=vendor.seq,
            environment=vendor.environment,
            response=response,
        )
    )


def replay(record: Record, response_type: type[M]) -> M:
    """Return the response that a DONE record holds.

    Raises the error that an UNKNOWN one holds, and `OutcomeUnknown` for what cannot be read, or has no answer yet.
    """
    try:
        if record.state is State.DONE:
            return response_type.FromString(record.answer)
        if record.state is State.UNKNOWN:
            raise _decode_failure(record.answer, response_type)
    except (DecodeError, ValueError):  # msgspec's errors and base64's are ValueErrors
        raise OutcomeUnknown(
            "this request id was used before, and what became of it cannot be read: the push may have gone out",
            cause="record_unreadable",
        ) from None
    raise OutcomeUnknown(
        "an earlier call with this request id ended before its answer: the push may have gone out", cause="owner_lost"
    )


def _decode_failure(answer: bytes, response_type: type[Message]) -> EarlierFailure:
    failure = _decoder.decode(answer)
    vendor = VendorAnswer(
        code=failure.code,
        message=failure.message,
        http_status=failure.http_status,
        push_id=failure.push_id,
        seq=failure.seq,
        environment=failure.environment,
        response=None if failure.response is None else response_type.FromString(b64decode(failure.response)),
    )
    return EarlierFailure(failure.reason, failure.description, attempts=failure.attempts, vendor=vendor)
