"""`push-sidecar hash-target`: computes what the log and the traces say of a target, to find the pushes that it got.

It owns the flags, the reading of the target and the output. It calls nobody, and keeps nothing of the target.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from sidecar.cli.exits import EXIT_OK, EXIT_REFUSED, EXIT_USAGE
from sidecar.cli.streams import give_up_unwritten, say
from sidecar.config import ConfigError, Secret, load, read_target_hash_key
from sidecar.target_hash import TargetHash

_NO_TEXT: Final = "the target is no text that a push can have"

EPILOG: Final = """examples:
  push-sidecar hash-target --config config.yaml -          asks for the target; it is in no shell history then
  push-sidecar hash-target --key-file hash.key TOKEN       with the key alone
  kubectl logs POD -c push-sidecar | grep "$(push-sidecar hash-target --key-file hash.key - < token.txt)"

The key is the one of log.target_hash_key_file.
exit codes: 0 the hash is written, 1 it could not be written, 2 wrong use or configuration
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the command line."""
    parser = commands.add_parser(
        "hash-target",
        help="compute what the log says of a target",
        description="Write the keyed hash of a token or an account: the target_hash of log lines and the "
        "push_sidecar.target_hash of spans.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $PUSH_SIDECAR_CONFIG)")
    key.add_argument("--key-file", type=Path, metavar="FILE", help="file of the key, instead of a configuration")
    parser.add_argument("target", metavar="TARGET", help="the token or account; - reads it from standard input")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the hash; returns the exit code."""
    try:
        key = read_target_hash_key(args.key_file, "--key-file") if args.key_file else _configured(args.config)
        target = _target(args.target)
    except ConfigError as error:
        say(f"push-sidecar hash-target: {error}")
        return EXIT_USAGE
    try:
        sys.stdout.write(f"{TargetHash(key).of(target)}\n")
        sys.stdout.flush()
    except OSError as error:
        say(f"push-sidecar hash-target: the hash could not be written: {error.strerror}")
        return EXIT_REFUSED
    finally:
        give_up_unwritten()
    return EXIT_OK


def _configured(path: Path | None) -> Secret:
    """Return the key that the configuration names.

    Raises `ConfigError`.
    """
    file = load(path).log.target_hash_key_file
    if file is None:
        raise ConfigError("the configuration has no log.target_hash_key_file, so no line has a hash")
    return read_target_hash_key(file)


def _target(argument: str) -> str:
    """Return the target of the command line, or of the first line of standard input.

    Raises `ConfigError` for none.
    """
    if argument == "-":
        if sys.stdin.isatty():
            say("the token or account, then Enter:")
        try:
            argument = sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError:
            raise ConfigError(_NO_TEXT) from None
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise ConfigError(_NO_TEXT) from None
    if not argument:
        raise ConfigError("the target is empty")
    return argument
