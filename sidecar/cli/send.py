"""`push-sidecar send`: one push through a running sidecar, from the terminal.

It owns the flags, the call and the exit code. How flags become a request lives in send_request.py, what is
printed in send_report.py.
"""

import argparse
import asyncio
import math
import secrets
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from sidecar.cli.exits import EXIT_OK, EXIT_REFUSED, EXIT_UNKNOWN, EXIT_USAGE

if TYPE_CHECKING:
    from sidecar.cli.send_report import Ending

DEFAULT_TARGET: Final = "127.0.0.1:50051"
TRACE_KEY: Final = "push-sidecar-trace"
_CONNECT_TIMEOUT_S: Final = 5.0

EPILOG: Final = """examples:
  push-sidecar send --platform android --to-token TOKEN --title Hello --content "It works."
  push-sidecar send --platform ios --silent --to-account alice --data sync=orders
  push-sidecar send --platform android --to-tag vip --to-tag beta --tag-op and --title Sale --content Today
  push-sidecar send --platform android --to-all --title Hello --content All --validate-only
  push-sidecar send request.json --trace       the JSON form of PushRequest; - reads standard input

exit code: 0 accepted, 1 refused or not sent, 2 wrong use, 3 it may have gone out
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the command line."""
    parser = commands.add_parser(
        "send",
        help="make one push through a running sidecar",
        description="Make one push through a running sidecar and say what became of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="a PushRequest as JSON instead of the flags below; - is stdin"
    )
    parser.add_argument("--app", metavar="NAME", help="configured app (default: the platform's only one)")
    _add_audience(parser.add_argument_group("to whom"))
    _add_message(parser.add_argument_group("what"))
    _add_options(parser.add_argument_group("how"))
    _add_call(parser.add_argument_group("call and output"))
    parser.set_defaults(run=run)


def _add_audience(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--to-token", action="append", metavar="TOKEN", help="a device; several make a list")
    group.add_argument("--to-account", action="append", metavar="ACCOUNT", help="an account; several make a list")
    group.add_argument("--to-tag", action="append", metavar="TAG", help="devices that carry a tag, or several")
    group.add_argument("--tag-op", choices=("and", "or"), help="every tag, or any of them")
    group.add_argument("--to-all", action="store_true", default=None, help="every device of the app")


def _add_message(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--platform", choices=("android", "ios"), help="a notification of this platform")
    group.add_argument(
        "--silent", action="store_true", default=None, help="with --platform: for the app, nothing is shown"
    )
    group.add_argument(
        "--message-type",
        choices=("android_notification", "android_message", "ios_notification", "ios_silent"),
        help="the same by its name in PushRequest",
    )
    group.add_argument("--title", metavar="TEXT")
    group.add_argument("--content", metavar="TEXT")
    group.add_argument("--data", action="append", metavar="KEY=VALUE", help="for the app; may be repeated")


def _add_options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--expire", metavar="TIME", help="how long the vendor tries: 90, 90s, 10m, 2h or 3d (default 3d)"
    )
    group.add_argument("--environment", choices=("product", "dev"), help="of an iOS message")
    group.add_argument("--push-id", metavar="ID", help="continue this list task")
    group.add_argument("--seq", type=int, metavar="N", help="number that the vendor echoes")


def _add_call(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--target",
        default=DEFAULT_TARGET,
        help="the sidecar: HOST:PORT or unix:/path (default %(default)s)",
    )
    group.add_argument("--timeout", type=_read_timeout, default=30.0, metavar="SECONDS", help="deadline (default 30)")
    group.add_argument("--validate-only", action="store_true", help="check, show the body, and send nothing")
    group.add_argument("--yes", action="store_true", help="do not ask before a push to every device")
    group.add_argument("--trace", action="store_true", help="show where the time went")
    group.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _read_timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError("must be a number of seconds above 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Make the push; returns the exit code."""
    from sidecar.cli.send_report import report  # noqa: PLC0415  # only this verb needs it
    from sidecar.cli.send_request import UsageError, read_request  # noqa: PLC0415

    try:
        request = read_request(args)
        if request.HasField("all") and not request.validate_only and not args.yes and not _confirm(args):
            sys.stderr.write("push-sidecar send: nothing was sent\n")
            return EXIT_REFUSED
    except UsageError as error:
        sys.stderr.write(f"push-sidecar send: {error}\npush-sidecar send: see `push-sidecar send --help`\n")
        return EXIT_USAGE
    try:
        ending = asyncio.run(_push(args, request))
    except KeyboardInterrupt:
        sys.stderr.write("\npush-sidecar send: interrupted; the push may have gone out\n")
        return EXIT_UNKNOWN
    report(ending, as_json=args.json)
    if ending.error is None:
        return EXIT_OK
    return EXIT_REFUSED if ending.error.was_not_sent else EXIT_UNKNOWN


def _confirm(args: argparse.Namespace) -> bool:
    from sidecar.cli.send_request import UsageError  # noqa: PLC0415

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("a push to every device needs --yes, or a terminal to ask at")
    sys.stderr.write(f"This pushes to every device of {args.app or 'the app'}. Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _push(args: argparse.Namespace, request: Any) -> "Ending":
    import grpc  # noqa: PLC0415  # so that other verbs start without it

    from pushsidecar.client import PushError, Sent, connect_async, error_of  # noqa: PLC0415
    from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub  # noqa: PLC0415
    from sidecar.cli.send_report import Ending  # noqa: PLC0415

    trace_id = secrets.token_hex(16) if args.trace else ""
    metadata = ((TRACE_KEY, "1"), ("traceparent", f"00-{trace_id}-{secrets.token_hex(8)}-01")) if trace_id else ()
    async with connect_async(args.target) as channel:
        # Without a connection nothing is sent: here that is known, and from the call it would be "maybe".
        try:
            async with asyncio.timeout(min(args.timeout, _CONNECT_TIMEOUT_S)):
                await channel.channel_ready()
        except TimeoutError:
            text = f"no sidecar answers at {args.target}"
            return Ending(error=PushError(code=grpc.StatusCode.UNAVAILABLE, message=text, sent=Sent.NO))
        call = PushServiceStub(channel).Push(request, timeout=args.timeout, metadata=metadata)
        try:
            response = await call
        except grpc.aio.AioRpcError as failure:
            return Ending(error=error_of(failure), trace_id=trace_id, trace=_trace(failure.trailing_metadata()))
        return Ending(response=response, trace_id=trace_id, trace=_trace(await call.trailing_metadata()))


def _trace(trailers: Iterable[tuple[str, str | bytes]] | None) -> str:
    return next((value for key, value in trailers or () if key == TRACE_KEY and isinstance(value, str)), "")
