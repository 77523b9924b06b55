"""One push to one Android phone: `python example.py [TARGET [TOKEN]]`, TARGET = host:port or unix:/path."""

import sys

import grpc

from pushsidecar.client import DEFAULT_TARGET, connect, error_of
from pushsidecar.xg.v1 import AndroidNotification, PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub


def main(target: str = DEFAULT_TARGET, token: str = "device-1") -> int:
    """Push, and say what became of it."""
    request = PushRequest(
        token=token,
        android_notification=AndroidNotification(title="Order 1042", content="Your parcel is on its way."),
    )
    with connect(target) as channel:
        try:
            response = PushServiceStub(channel).Push(request, timeout=10)
        except grpc.RpcError as failure:
            error = error_of(failure)
            print(error, "- send it again" if error.may_be_sent_again else "- it may have gone out", file=sys.stderr)
            return 1
    print("push_id", response.push_id)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
