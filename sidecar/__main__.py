"""The command line: `push-sidecar VERB`. Each verb has a module in `cli/`.

Importing this takes no time: `main` imports the rest when signals have their handlers.
"""

import sys

from sidecar import __version__
from sidecar.cli import first
from sidecar.cli.exits import EXIT_REFUSED

EPILOG = """examples:
  push-sidecar serve --simulate            try it: no account and no configuration needed
  push-sidecar check --config config.yaml  what is wrong with my configuration?
  push-sidecar send --help                 make one push from the terminal
  push-sidecar wait --timeout 60           until the sidecar beside me takes calls
"""
_SERVERS = ("serve", "simulate")


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; returns the exit code. Without `arguments` it is the process, and takes its signals and streams."""
    if arguments is None:
        first.open_missing_streams()
        verb = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
        if verb in _SERVERS:
            first.stop_while_starting()
        else:
            first.interrupt()
    from sidecar.cli.streams import give_up_unwritten, say  # noqa: PLC0415  # the module's docstring says why

    try:
        return _run(arguments)
    except KeyboardInterrupt:
        # A verb that had begun something has said what became of it by itself.
        say("push-sidecar: interrupted")
        return EXIT_REFUSED
    finally:
        give_up_unwritten()


def _run(arguments: list[str] | None) -> int:
    import argparse  # noqa: PLC0415  # as above

    from sidecar.cli import check, hash_target, send, serve, simulate, wait  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="push-sidecar",
        description="Push notifications as one typed gRPC call.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"push-sidecar {__version__}")
    commands = parser.add_subparsers(metavar="VERB", dest="verb", required=True)
    for verb in (serve, simulate, send, check, wait, hash_target):
        verb.add_parser(commands)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        # `parse_args` would show the usage of the whole, which lists no verb's flags.
        commands.choices[args.verb].error(f"unrecognized arguments: {' '.join(unknown)}")
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
