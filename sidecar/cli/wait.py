"""`push-sidecar wait`: waits until a sidecar is ready, for programs that are started beside it and must not come first.

It owns the flags, the waiting and the exit code. It asks the health listener, as a probe does; it makes no push.
"""

import argparse
import asyncio
import time
from typing import Any, Final

from sidecar.cli.arguments import read_timeout
from sidecar.cli.exits import EXIT_OK, EXIT_REFUSED, EXIT_USAGE
from sidecar.cli.streams import allow_every_character, give_up_unwritten, say

DEFAULT_TARGET: Final = "127.0.0.1:50053"
DEFAULT_TIMEOUT_S: Final = 60.0

_ASK_TIMEOUT_S: Final = 1.0
_PAUSE_S: Final = 0.1
_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # `http_proxy` and its like are for the network, and the sidecar is in this pod.
    ("grpc.enable_http_proxy", 0),
)

EPILOG: Final = """examples:
  push-sidecar wait                                   until the sidecar beside me takes calls, at most a minute
  push-sidecar wait --timeout 120 && exec my-service  start a service only then
  push-sidecar wait --target "$POD_IP:50053"          where health.listen is the pod's address alone
  push-sidecar wait --service liveness                until it is up, ready or draining

exit code: 0 it is ready, 1 it was not within the time, 2 wrong use
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the command line."""
    parser = commands.add_parser(
        "wait",
        help="wait until a sidecar is ready",
        description="Wait until a sidecar is ready, by asking its health listener (health.listen).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target",
        type=_read_target,
        default=DEFAULT_TARGET,
        metavar="HOST:PORT",
        help="the health listener (default %(default)s)",
    )
    parser.add_argument(
        "--service", default="", metavar="NAME", help="name to ask for (default: the sidecar as a whole)"
    )
    parser.add_argument(
        "--timeout",
        type=read_timeout,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long to wait (default {DEFAULT_TIMEOUT_S:g})",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Wait; returns the exit code."""
    allow_every_character()
    try:
        try:
            code, became = asyncio.run(_wait(args.target, args.service, args.timeout))
        except KeyboardInterrupt:
            code, became = EXIT_REFUSED, "interrupted"
        say(f"push-sidecar wait: {became}")
    finally:
        give_up_unwritten()
    return code


def _read_target(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit()):
        raise argparse.ArgumentTypeError("must be HOST:PORT of the sidecar's health.listen")
    return text


async def _wait(target: str, service: str, timeout_s: float) -> tuple[int, str]:
    """Ask until the sidecar is ready, or never will be; returns the exit code and what became of it."""
    import grpc  # noqa: PLC0415  # so that other verbs start without it
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse  # noqa: PLC0415
    from grpc_health.v1.health_pb2_grpc import HealthStub  # noqa: PLC0415

    named = f" ({service})" if service else ""
    say(f"push-sidecar wait: for the sidecar at {target} to be ready{named}, at most {timeout_s:g} s")
    began = time.monotonic()
    last = "nobody answers there"
    try:
        async with asyncio.timeout(timeout_s), grpc.aio.insecure_channel(target, _OPTIONS) as channel:
            stub: Any = HealthStub(channel)  # its hints know the blocking stub only
            while True:
                try:
                    answer = await stub.Check(HealthCheckRequest(service=service), timeout=_ASK_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    # The sidecar knows all names before it listens, so neither of the two comes right by waiting.
                    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                        return (
                            EXIT_USAGE,
                            "what listens there answers no health checks; its port is that of health.listen",
                        )
                    if error.code() is grpc.StatusCode.NOT_FOUND:
                        return EXIT_USAGE, f"the sidecar has no service {service!r}"
                    last = "nobody answers there"
                else:
                    if answer.status == HealthCheckResponse.SERVING:
                        return EXIT_OK, f"ready after {time.monotonic() - began:.1f} s"
                    last = "it is up and takes no calls: it starts, or it stops"
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        return EXIT_REFUSED, f"not ready after {timeout_s:g} s: {last}"
