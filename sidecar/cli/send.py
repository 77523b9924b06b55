"""`push-sidecar send`: one push through a running sidecar, from the terminal.

It owns the flags, the call and the exit code, which tells of the push alone: output that cannot be written changes
nothing of it. How flags become a request lives in send_request.py, what is printed in send_report.py.
"""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sidecar.cli.arguments import read_timeout
from sidecar.cli.exits import EXIT_OK, EXIT_REFUSED, EXIT_UNKNOWN, EXIT_USAGE
from sidecar.cli.streams import allow_every_character, give_up_unwritten, say

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
  push-sidecar send --target push.example.com:50051 --ca-file ca.crt --cert-file me.crt --key-file me.key request.json
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
    group.add_argument("--ca-file", metavar="PEM", help="connect with TLS, and trust these authorities")
    group.add_argument("--cert-file", metavar="PEM", help="with --ca-file: show this certificate (mutual TLS) ...")
    group.add_argument("--key-file", metavar="PEM", help="... whose key is here")
    group.add_argument("--server-name", metavar="NAME", help="with --ca-file: the host name that its certificate has")
    group.add_argument("--timeout", type=read_timeout, default=30.0, metavar="SECONDS", help="deadline (default 30)")
    group.add_argument(
        "--request-id", metavar="ID", help="make the call safe to repeat: the same id is pushed at most once"
    )
    group.add_argument("--validate-only", action="store_true", help="check, show the body, and send nothing")
    group.add_argument("--yes", action="store_true", help="do not ask before a push to every device")
    group.add_argument("--trace", action="store_true", help="show where the time went")
    group.add_argument(
        "--json", action="store_true", help="print the outcome as JSON, with the names of the contract (push_id)"
    )


@dataclass(slots=True)
class _Progress:
    """How far a push has come, for when the way there breaks."""

    has_begun: bool = False
    ending: "Ending | None" = None


def run(args: argparse.Namespace) -> int:
    """Make the push; returns the exit code."""
    from sidecar.cli.credentials import credentials_of  # noqa: PLC0415  # only this verb needs it
    from sidecar.cli.send_request import UsageError, read_request  # noqa: PLC0415  # as above

    allow_every_character()
    try:
        try:
            request, credentials = read_request(args), credentials_of(args)
            if request.HasField("all") and not request.validate_only and not args.yes and not _confirm(args):
                say("push-sidecar send: nothing was sent")
                return EXIT_REFUSED
        except UsageError as error:
            say(f"push-sidecar send: {error}\npush-sidecar send: see `push-sidecar send --help`")
            return EXIT_USAGE
        return _send(args, request, credentials)
    finally:
        give_up_unwritten()


def _send(args: argparse.Namespace, request: Any, credentials: Any) -> int:
    """Make the push and tell what became of it; the code is decided before anything is written."""
    progress = _Progress()
    failure: BaseException | None = None
    try:
        asyncio.run(_push(args, request, credentials, progress))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # told below, where no answer is known
        failure = error
    code, became = _became(progress)
    try:
        if progress.ending is None:
            say(f"\npush-sidecar send: {_why(failure)}; the push {became}")
        else:
            _report(progress.ending, as_json=args.json)
    except (BrokenPipeError, SystemExit):  # rich exits where a pipe is closed
        pass  # Its reader has read enough, as `head` has.
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # whatever it is, the push is what it is
        say(f"push-sidecar send: the output could not be written: {_why(error)}; the push {became}")
    return code


def _became(progress: _Progress) -> tuple[int, str]:
    """Return the exit code of a push, and what became of it in words."""
    if progress.ending is None:
        return (EXIT_UNKNOWN, "may have gone out") if progress.has_begun else (EXIT_REFUSED, "was not sent")
    if progress.ending.error is None:
        return EXIT_OK, "succeeded"
    if progress.ending.error.was_not_sent:
        return EXIT_REFUSED, "was refused or not sent"
    return EXIT_UNKNOWN, "may have gone out"


def _why(error: BaseException | None) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return getattr(error, "strerror", None) or f"{type(error).__name__} {error}".rstrip()


def _report(ending: "Ending", *, as_json: bool) -> None:
    from sidecar.cli.send_report import report  # noqa: PLC0415  # only this verb needs it

    report(ending, as_json=as_json)
    sys.stdout.flush()
    sys.stderr.flush()


def _confirm(args: argparse.Namespace) -> bool:
    from sidecar.cli.send_request import UsageError  # noqa: PLC0415

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("a push to every device needs --yes, or a terminal to ask at")
    sys.stderr.write(f"This pushes to every device of {args.app or 'the app'}. Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _push(args: argparse.Namespace, request: Any, credentials: Any, progress: _Progress) -> None:
    import grpc  # noqa: PLC0415  # so that other verbs start without it

    from pushsidecar.client import PushError, Sent, connect_async, error_of  # noqa: PLC0415
    from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub  # noqa: PLC0415
    from sidecar.cli.send_report import Ending  # noqa: PLC0415

    trace_id = secrets.token_hex(16) if args.trace else ""
    metadata = ((TRACE_KEY, "1"), ("traceparent", f"00-{trace_id}-{secrets.token_hex(8)}-01")) if trace_id else ()
    options = {"grpc.ssl_target_name_override": args.server_name} if args.server_name else {}
    async with connect_async(args.target, credentials=credentials, options=options) as channel:
        # Without a connection nothing is sent: here that is known, and from the call it would be "maybe".
        try:
            async with asyncio.timeout(min(args.timeout, _CONNECT_TIMEOUT_S)):
                await channel.channel_ready()
        except TimeoutError:
            text = f"no sidecar answers at {args.target}"
            progress.ending = Ending(error=PushError(code=grpc.StatusCode.UNAVAILABLE, message=text, sent=Sent.NO))
            return
        progress.has_begun = True
        call = PushServiceStub(channel).Push(request, timeout=args.timeout, metadata=metadata)
        try:
            response = await call
        except grpc.aio.AioRpcError as failure:
            trace = _trace(failure.trailing_metadata())
            progress.ending = Ending(error=error_of(failure), trace_id=trace_id, trace=trace)
            return
        progress.ending = Ending(response=response, trace_id=trace_id)
        trace = _trace(await call.trailing_metadata())
        progress.ending = Ending(response=response, trace_id=trace_id, trace=trace)


def _trace(trailers: Iterable[tuple[str, str | bytes]] | None) -> str:
    return next((value for key, value in trailers or () if key == TRACE_KEY and isinstance(value, str)), "")
