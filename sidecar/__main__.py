"""The command line: `push-sidecar VERB`. Each verb has a module in `cli/`."""

import argparse
import sys

from sidecar import __version__
from sidecar.cli import check, send, serve, simulate, wait

EPILOG = """examples:
  push-sidecar serve --simulate            try it: no account and no configuration needed
  push-sidecar check --config config.yaml  what is wrong with my configuration?
  push-sidecar send --help                 make one push from the terminal
  push-sidecar wait --timeout 60           until the sidecar beside me takes calls
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="push-sidecar",
        description="Push notifications as one typed gRPC call.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"push-sidecar {__version__}")
    commands = parser.add_subparsers(metavar="VERB", required=True)
    for verb in (serve, simulate, send, check, wait):
        verb.add_parser(commands)
    args = parser.parse_args(arguments)
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
