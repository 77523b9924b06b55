"""The verb `simulate`: a local vendor for developing and testing, until it is told to stop.

Must not live here: what the simulator does.
"""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from sidecar.cli.signals import Signals
from sidecar.cli.streams import write_soon

if TYPE_CHECKING:
    from sidecar.simulator import Simulator

_DEFAULT_HOST = "127.0.0.1"
_DEFAULT_PORT = 8443
_MAX_PORT = 65535
_DEFAULT_QUOTA = 30

_EPILOG = """\
examples:
  push-sidecar simulate                               on https://127.0.0.1:8443
  push-sidecar simulate --listen 127.0.0.1:0 --ca-out ca.pem
  push-sidecar simulate --listen 0.0.0.0:8443 --name simulator    for other containers
  push-sidecar simulate --quota none                  no limit on pushes to all and to tags

ask it and disturb it (CA is the file that it prints):
  curl --cacert CA https://127.0.0.1:8443/_sim/requests
  curl --cacert CA https://127.0.0.1:8443/_sim/faults -d '{"kind": "ret_code", "ret_code": 10101}'

A push to the token fault-http-503, fault-latency-2.5, fault-reset-after-body, ... has that fault by itself;
all faults: docs/simulator.md
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the command's parser."""
    parser = subparsers.add_parser(
        "simulate",
        help="run a local vendor to develop and test against",
        description="Run a local HTTPS server that behaves as the vendor's documents say.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        type=_read_address,
        default=(_DEFAULT_HOST, _DEFAULT_PORT),
        help=f"where to listen; port 0 picks a free one (default {_DEFAULT_HOST}:{_DEFAULT_PORT})",
    )
    parser.add_argument("--no-tls", action="store_true", help="plain HTTP, for looking at the traffic")
    parser.add_argument("--ca-out", metavar="FILE", type=Path, help="also write the throw-away CA to FILE")
    parser.add_argument(
        "--name",
        metavar="NAME",
        action="append",
        default=[],
        help="a further host name or address in the certificate; may be repeated",
    )
    parser.add_argument(
        "--quota",
        metavar="N",
        type=_read_quota,
        default=_DEFAULT_QUOTA,
        help="pushes to all and to tags in an hour per app, or none (default %(default)s, as documented)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the simulator until SIGINT or SIGTERM; returns the exit code: 1 when it cannot start."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from sidecar.simulator import Quota, Simulator  # noqa: PLC0415  # needs `cryptography`, which no other verb does

    host, port = args.listen
    if args.no_tls and args.ca_out is not None:
        print("push-sidecar simulate: --ca-out needs TLS; leave out --no-tls", file=sys.stderr)
        return 1
    simulator = Simulator(host, port, tls=not args.no_tls, names=args.name, quota=Quota(limit=args.quota))
    with Signals() as signals:
        try:
            async with simulator:
                ca_file = None if args.no_tls else _place_ca(simulator, args.ca_out)
                await asyncio.to_thread(write_soon, _describe(simulator, ca_file), sys.stdout)
                await signals.stop.wait()
        except OSError as error:
            write_soon(f"push-sidecar simulate: cannot run on {host} port {port}: {error}", sys.stderr)
            return 1
    return signals.exit_code


def _place_ca(simulator: "Simulator", ca_out: Path | None) -> Path:
    if ca_out is None:
        return simulator.ca_file
    shutil.copyfile(simulator.ca_file, ca_out)
    return ca_out.absolute()


def _describe(simulator: "Simulator", ca_file: Path | None) -> str:
    """Return what to know and what to do next; the secret keys are no secrets."""
    tls = "" if ca_file is None else f"\n  CA       {ca_file}"
    apps = "".join(
        f"\n  {app.platform:8} app_id {app.app_id}  secret_key {app.secret_key}" for app in simulator.apps.values()
    )
    curl = "curl" if ca_file is None else f"curl --cacert {ca_file}"
    return f"""\
The simulator is up: nothing that is sent to it leaves this machine.
  address  {simulator.base_url}{tls}{apps}
  known    token1 to token3, account1, account2, tag1, tag2; and all tokens and accounts that start with sim-

{_advice(simulator, ca_file)}
What it received:  {curl} {simulator.base_url}/_sim/requests
Stop it:           Ctrl-C"""


def _advice(simulator: "Simulator", ca_file: Path | None) -> str:
    if ca_file is None:
        return "A sidecar cannot use it: it speaks HTTPS only."
    lines = ["In the sidecar's configuration:", "  apps:"]
    for app in simulator.apps.values():
        secret_key_file = simulator.directory / f"{app.app_id}.secret"
        secret_key_file.write_text(app.secret_key)
        lines += [
            f"    demo-{app.platform}:",
            "      provider: xg",
            f"      platform: {app.platform}",
            f"      base_url: {simulator.base_url}",
            f"      ca_file: {ca_file}",
            f"      app_id: {app.app_id}",
            f"      secret_key_file: {secret_key_file}",
        ]
    return "\n".join(lines)


def _read_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} must be HOST:PORT with a port of 0 to {_MAX_PORT}")
    return host, int(port)


def _read_quota(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, or none")
    return int(text)
