"""What became of a push, as the bytes that a store keeps under its request id, and back.

Only what is to be given again is kept: the provider's response, or an error of `sent=maybe`.
"""

from dataclasses import replace
from typing import TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message

from sidecar.errors import EarlierFailure, OutcomeUnknown, PushError, Reason, VendorAnswer
from sidecar.stores.store import Record, State

M = TypeVar("M", bound=Message)


class _Failure(msgspec.Struct, omit_defaults=True):
    """An error, as it is kept. `response` is the provider's message, which `vendor` then has not."""

    reason: Reason
    description: str
    attempts: int = 0
    vendor: VendorAnswer = VendorAnswer()
    response: bytes | None = None


_decoder = msgspec.json.Decoder(_Failure)


def encode_failure(error: PushError) -> bytes:
    """Return an error of `sent=maybe` as bytes."""
    vendor = error.vendor or VendorAnswer()
    response = None if vendor.response is None else vendor.response.SerializeToString()
    kept = replace(vendor, response=None)
    return msgspec.json.encode(_Failure(error.reason, error.description, error.attempts, kept, response))


def replay(record: Record, response_type: type[M]) -> M:
    """Return the response that a DONE record holds.

    Raises the error that an UNKNOWN one holds, and `OutcomeUnknown` for what cannot be read, or has no answer yet.
    """
    try:
        if record.state is State.DONE:
            return response_type.FromString(record.answer)
        if record.state is State.UNKNOWN:
            raise _decode_failure(record.answer, response_type)
    except (DecodeError, ValueError):  # msgspec's errors are ValueErrors
        raise OutcomeUnknown(
            "this request id was used before, and what became of it cannot be read: the push may have gone out",
            cause="record_unreadable",
        ) from None
    raise OutcomeUnknown(
        "an earlier call with this request id ended before its answer: the push may have gone out", cause="owner_lost"
    )


def _decode_failure(answer: bytes, response_type: type[Message]) -> EarlierFailure:
    failure = _decoder.decode(answer)
    vendor = failure.vendor
    if failure.response is not None:
        vendor = replace(vendor, response=response_type.FromString(failure.response))
    return EarlierFailure(failure.reason, failure.description, attempts=failure.attempts, vendor=vendor)
