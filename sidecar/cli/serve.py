"""`push-sidecar serve`: runs the sidecar until it is told to stop."""

import argparse
import sys
from pathlib import Path

from sidecar.cli.exits import EXIT_OK, EXIT_USAGE
from sidecar.config import ConfigError, load

EPILOG = """examples:
  push-sidecar serve --config /etc/push-sidecar/config.yaml
  PUSH_SIDECAR_CONFIG=config.yaml PUSH_SIDECAR_LOG__FORMAT=text push-sidecar serve
  PUSH_SIDECAR_SERVER__LISTEN=unix:/run/push/push.sock push-sidecar serve --config config.yaml
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the command line."""
    parser = commands.add_parser(
        "serve",
        help="run the sidecar",
        description="Serve gRPC for callers, health for probes, metrics for operators, until SIGTERM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $PUSH_SIDECAR_CONFIG)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve; returns the exit code."""
    import uvloop  # noqa: PLC0415  # only this verb needs it

    from sidecar.app import serve_until_signal  # noqa: PLC0415  # 300 ms of imports that other verbs do not need
    from sidecar.telemetry.logs import set_up  # noqa: PLC0415

    try:
        config = load(args.config)
        set_up(config.log)
        uvloop.run(serve_until_signal(config))
    except ConfigError as error:
        sys.stderr.write(f"push-sidecar: {error}\npush-sidecar: `push-sidecar check` reports what is wrong\n")
        return EXIT_USAGE
    return EXIT_OK
