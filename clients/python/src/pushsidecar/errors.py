"""Turns a failed call into an answer to "may it have gone out?".

It owns the reading of `google.rpc.Status` from an exception. Channels and deadlines live in client.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from pushsidecar.xg.v1.push_service_pb2 import PushResponse

DOMAIN: Final = "push-sidecar"
_STATUS_KEY: Final = "grpc-status-details-bin"
_M = TypeVar("_M", bound=Message)


class Sent(StrEnum):
    """Whether the push may have gone out."""

    NO = "no"
    """Provably not: sending it again cannot push twice. Whether it would succeed, the reason says."""
    MAYBE = "maybe"
    """It may have: sending it again may push twice."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of the contract."""

    field: str
    """Path of the field, such as `token_list.tokens[3]`."""
    rule: str
    """Id of the rule, such as `string.max_len`."""
    description: str
    """What is wrong, without the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushError:
    """What a failed call says. What the sidecar did not tell is "", None or empty.

    Its text form has nothing of the request and nothing that the vendor said: those are in the fields.
    """

    code: grpc.StatusCode
    message: str
    sent: Sent
    reason: str = ""
    """Name in `pushsidecar.type.v1.ErrorReason`, without its prefix. "": a gRPC library made the error, and
    not the sidecar."""
    vendor_code: int | None = None
    vendor_message: str = field(default="", repr=False)
    http_status: int | None = None
    attempts: int | None = None
    """Calls that the sidecar made to the vendor."""
    retry_after_s: float | None = None
    violations: tuple[Violation, ...] = ()
    push_id: str = ""
    seq: int | None = None
    environment: str = ""
    response: PushResponse | None = field(default=None, repr=False, hash=False)
    """The vendor's answer for a list of which every target failed."""
    status: status_pb2.Status | None = field(default=None, repr=False, hash=False)
    """Everything that came, for what has no field here."""

    @property
    def was_not_sent(self) -> bool:
        """Whether it is proved that nothing was pushed. The same request may fail again: see `reason`."""
        return self.sent is Sent.NO

    def __str__(self) -> str:
        reason = f" {self.reason}" if self.reason else ""
        return f"{self.code.name}{reason} (sent={self.sent}): {self.message}"


def error_of(error: BaseException) -> PushError:
    """Read the exception of a failed call: `grpc.RpcError`, `grpc.aio.AioRpcError`, or any other.

    `sent` is "no" only where the sidecar itself says so.
    """
    call = cast("_Failed", error) if isinstance(error, grpc.RpcError) and hasattr(error, "code") else None
    if call is None:
        return PushError(code=grpc.StatusCode.UNKNOWN, message=type(error).__name__, sent=Sent.MAYBE)
    code, message = call.code(), call.details() or ""
    status = _read_status(call.trailing_metadata() or (), code)
    if status is None:
        return PushError(code=code, message=message, sent=Sent.MAYBE)
    infos = _details(status, error_details_pb2.ErrorInfo)
    info = next((info for info in infos if info.domain == DOMAIN), error_details_pb2.ErrorInfo())
    facts = info.metadata
    return PushError(
        code=code,
        message=message,
        sent=Sent.NO if facts.get("sent") == Sent.NO else Sent.MAYBE,
        reason=info.reason,
        vendor_code=_integer(facts, "vendor_code"),
        vendor_message=facts.get("vendor_message", ""),
        http_status=_integer(facts, "http_status"),
        attempts=_integer(facts, "attempts"),
        retry_after_s=next(
            (
                retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
                for retry in _details(status, error_details_pb2.RetryInfo)
            ),
            None,
        ),
        violations=tuple(
            Violation(field=violation.field, rule=violation.reason, description=violation.description)
            for request in _details(status, error_details_pb2.BadRequest)
            for violation in request.field_violations
        ),
        push_id=facts.get("push_id", ""),
        seq=_integer(facts, "seq"),
        environment=facts.get("environment", ""),
        response=next(_details(status, PushResponse), None),
        status=status,
    )


class _Failed(Protocol):
    """What the exceptions of both flavours of gRPC have."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def _read_status(trailers: Iterable[tuple[str, str | bytes]], code: grpc.StatusCode) -> status_pb2.Status | None:
    """Return the status in the trailers, unless it contradicts the code of the call."""
    for key, value in trailers:
        if key == _STATUS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                return None
            return status if status.code == code.value[0] else None
    return None


def _details(status: status_pb2.Status, kind: type[_M]) -> Iterator[_M]:
    """Return the details of one kind; those that cannot be read are left out."""
    for packed in status.details:
        detail = kind()
        if packed.TypeName() != detail.DESCRIPTOR.full_name:
            continue
        try:
            packed.Unpack(detail)
        except DecodeError:
            continue
        yield detail


def _integer(facts: Mapping[str, str], name: str) -> int | None:
    try:
        return int(facts[name])
    except (KeyError, ValueError):
        return None
