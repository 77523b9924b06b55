"""Reads the error of a failed call, by hand and not with the code under test."""

from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status


@dataclass(frozen=True)
class Failure:
    """What a caller can know. `reason` is "" where the error is not the sidecar's own."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    sent: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    status: Status | None = None


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            status = Status.FromString(value)
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info)
            assert status.code == error.code().value[0]
            metadata = dict(info.metadata)
            return Failure(error.code(), error.details() or "", info.reason, metadata.pop("sent"), metadata, status)
    return Failure(error.code(), error.details() or "")
