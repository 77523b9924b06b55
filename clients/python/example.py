"""One push to one Android phone: `python example.py TARGET TOKEN`."""

import sys

import grpc

from pushsidecar.client import connect, error_of
from pushsidecar.xg.v1 import AndroidNotification, PushRequest
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub

USAGE = "usage: python example.py TARGET TOKEN  (TARGET: 127.0.0.1:50051 or unix:/run/push-sidecar/push.sock)"


def main(arguments: list[str]) -> int:
    """Push, and say what became of it."""
    if len(arguments) != 2:  # noqa: PLR2004  # as the usage line says
        print(USAGE, file=sys.stderr)
        return 2
    target, token = arguments
    request = PushRequest(
        token=token,
        android_notification=AndroidNotification(title="Hello", content="Your order is on its way."),
    )
    with connect(target) as channel:
        try:
            response = PushServiceStub(channel).Push(request, timeout=10)
        except grpc.RpcError as failure:
            error = error_of(failure)
            print(error, "-", "nothing was pushed" if error.was_not_sent else "it may have gone out", file=sys.stderr)
            return 1
    print("push_id", response.push_id)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
