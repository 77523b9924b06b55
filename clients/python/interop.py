"""Makes the pushes that stdin names, one JSON object a line, and prints what this language sees of each.

`python interop.py TARGET [IN_FLIGHT]`, so many at the same time, 1 unless given; a line in: {"name", "request":
PushRequest, "timeout_s"}. The lines out are compared with those of the other languages. `PUSH_TLS` names a folder with
ca.pem, cert.pem and key.pem, for mutual TLS.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from pushsidecar.client import connect, error_of
from pushsidecar.xg.v1 import PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub


def push(stub: PushServiceStub, case: dict[str, Any]) -> dict[str, Any]:
    """Make one push and describe its end."""
    request = json_format.ParseDict(case["request"], PushRequest())
    try:
        response, call = stub.Push.with_call(request, timeout=case.get("timeout_s"))
    except grpc.RpcError as failure:
        return {"name": case["name"], **describe(failure)}
    return {
        "name": case["name"],
        "code": call.code().name,
        "message": call.details(),
        "response": json_format.MessageToDict(response),
        "error": None,
        "details": [],
        "trailers": [key for key, _ in call.trailing_metadata() or ()],
    }


def describe(failure: grpc.RpcError) -> dict[str, Any]:
    """Describe a failed call."""
    error = error_of(failure)
    details = error.status.details if error.status else ()
    return {
        "code": error.code.name,
        "message": error.message,
        "response": None,
        "error": {
            "reason": error.reason,
            "sent": error.sent,
            "vendor_code": error.vendor_code,
            "http_status": error.http_status,
            "attempts": error.attempts,
            "push_id": error.push_id,
            "retry_after_s": error.retry_after_s,
            "violations": [
                {"field": broken.field, "rule": broken.rule, "description": broken.description}
                for broken in error.violations
            ],
        },
        "details": [detail.type_url.rpartition("/")[2] for detail in details],
        "trailers": [pair.key for pair in failure.trailing_metadata() or ()],
    }


def tls_credentials(folder: str | None) -> grpc.ChannelCredentials | None:
    """Return what a connection with mutual TLS needs, from a folder with ca.pem, cert.pem and key.pem."""
    if folder is None:
        return None
    files = {name: Path(folder, f"{name}.pem").read_bytes() for name in ("ca", "cert", "key")}
    return grpc.ssl_channel_credentials(files["ca"], files["key"], files["cert"])


def main(target: str, in_flight: int) -> None:
    """Make the pushes, so many at the same time."""
    with (
        connect(target, credentials=tls_credentials(os.environ.get("PUSH_TLS"))) as channel,
        ThreadPoolExecutor(in_flight) as threads,
    ):
        stub = PushServiceStub(channel)

        def make(line: str) -> None:
            # One write a line: lines of several threads do not mix.
            sys.stdout.write(json.dumps(push(stub, json.loads(line))) + "\n")
            sys.stdout.flush()

        pushes = [threads.submit(make, line) for line in sys.stdin]
        for made in pushes:
            made.result()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)  # noqa: PLR2004  # the program and the target
