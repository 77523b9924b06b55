"""`push-sidecar check`: loads the configuration and reports what is wrong, before anything is started."""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.configuration import load_checked
from sidecar.cli.exits import EXIT_OK, EXIT_REFUSED, EXIT_USAGE
from sidecar.cli.streams import allow_every_character, say
from sidecar.config import AppConfig, Config, ConfigError
from sidecar.descriptors import limit_when_serving, shortage_of

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """examples:
  push-sidecar check --config config.yaml             is it valid, and are the secrets there?
  push-sidecar check --config config.yaml --connect   also: does each vendor's address answer with a valid certificate?

exit codes: 0 all is well, 1 a vendor's address could not be proved, 2 the configuration is wrong
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the command line."""
    parser = commands.add_parser(
        "check",
        help="report what is wrong with a configuration",
        description="Load the configuration as `serve` would, and report what is wrong with it, or what it means: "
        "which apps there are, and who may call where.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $PUSH_SIDECAR_CONFIG)")
    parser.add_argument("--connect", action="store_true", help="prove each vendor's address by a TLS handshake")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check; returns the exit code."""
    from rich.console import Console  # noqa: PLC0415  # `serve` imports none of it

    allow_every_character()
    try:
        config = load_checked(args.config)
    except ConfigError as error:
        say(f"push-sidecar: {error}")
        return EXIT_USAGE
    from sidecar.app import prove_addresses  # noqa: PLC0415

    proofs = asyncio.run(prove_addresses(config)) if args.connect else {}
    # What is wrong is told by the code even where nothing can be written; rich exits where a pipe is closed.
    with suppress(OSError, SystemExit):
        _print(config, proofs, Console(markup=False, highlight=False))
    return EXIT_REFUSED if any(proof is not None for proof in proofs.values()) else EXIT_OK


def _print(config: Config, proofs: dict[str, str | None], console: "Console") -> None:
    from sidecar.cli.check_callers import caller_rows, listener_rows, notes  # noqa: PLC0415  # as above

    console.print(f"gRPC {config.server.listen}, health {config.health.listen}, admin {config.admin.listen}")
    if shortage := shortage_of(config, limit_when_serving()):
        console.print(f"note: {shortage}", soft_wrap=True)
    for note in notes(config):
        console.print(f"note: {note}", soft_wrap=True)
    apps = [_row(name, app, proofs) for name, app in config.apps.items()]
    if not console.is_terminal:
        for kind, rows in (("listener", listener_rows(config)), ("caller", caller_rows(config)), (None, apps)):
            for row in rows:
                console.print(" ".join([kind, *row] if kind else row), soft_wrap=True)
        return
    _print_table(console, ("listener", "address", "protection", "who"), listener_rows(config))
    if config.callers:
        _print_table(console, ("caller", "known by", "apps", "rate"), caller_rows(config))
    styles = ["red" if proofs.get(name) else "green" for name in config.apps]
    _print_table(console, ("app", "provider", "platform", "address", "verdict"), apps, styles)


def _print_table(
    console: "Console", headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()
) -> None:
    """Print a table; `styles`: of the last cell of each row."""
    from rich.table import Table  # noqa: PLC0415  # `serve` imports none of it
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headings)
    for (*cells, last), style in zip(rows, styles or [""] * len(rows), strict=True):
        table.add_row(*map(Text, cells), Text(last, style=style))
    console.print(table)


def _row(name: str, app: AppConfig, proofs: dict[str, str | None]) -> list[str]:
    verdict = "valid" if name not in proofs else proofs[name] or "valid, and its address is proved"
    return [name, app.provider, app.platform, app.base_url, verdict]
