"""`push-sidecar check`: loads the configuration and reports what is wrong, before anything is started."""

import argparse
import asyncio
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sidecar.cli.exits import EXIT_OK, EXIT_REFUSED, EXIT_USAGE
from sidecar.config import AppConfig, Config, ConfigError, load

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
        description="Load the configuration as `serve` would, and report what it means or what is wrong with it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $PUSH_SIDECAR_CONFIG)")
    parser.add_argument("--connect", action="store_true", help="prove each vendor's address by a TLS handshake")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check; returns the exit code."""
    from rich.console import Console  # noqa: PLC0415  # `serve` imports none of it

    from sidecar.providers.registry import check_providers  # noqa: PLC0415
    from sidecar.telemetry.export import check_environment  # noqa: PLC0415

    try:
        config = load(args.config)
        check_providers(config)
        check_environment()
    except ConfigError as error:
        sys.stderr.write(f"push-sidecar: {error}\n")
        return EXIT_USAGE
    proofs = asyncio.run(_prove_all(config)) if args.connect else {}
    _print(config, proofs, Console())
    return EXIT_REFUSED if any(proof is not None for proof in proofs.values()) else EXIT_OK


async def _prove_all(config: Config) -> dict[str, str | None]:
    """Prove every app's address; returns what is wrong by app, None where nothing is."""
    failures = await asyncio.gather(*(_prove(app) for app in config.apps.values()))
    return dict(zip(config.apps, failures, strict=True))


async def _prove(app: AppConfig) -> str | None:
    """Make a TLS handshake with the address (its proxy is not used) and send nothing."""
    url = urlsplit(app.base_url)
    try:
        context = ssl.create_default_context(cafile=app.ca_file)
        async with asyncio.timeout(app.connect_timeout_s):
            _, writer = await asyncio.open_connection(url.hostname, url.port or 443, ssl=context)
        writer.close()
        await writer.wait_closed()
    except TimeoutError:
        return f"no TLS handshake within {app.connect_timeout_s:g} s"
    except ssl.SSLCertVerificationError as error:
        return f"certificate refused: {error.verify_message}"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _print(config: Config, proofs: dict[str, str | None], console: "Console") -> None:
    from rich.table import Table  # noqa: PLC0415

    console.print(
        f"gRPC {config.server.listen}, health {config.health.listen}, admin {config.admin.listen}", highlight=False
    )
    if not console.is_terminal:
        for name, app in config.apps.items():
            console.print(" ".join(_row(name, app, proofs)), highlight=False, soft_wrap=True)
        return
    table = Table("app", "provider", "platform", "address", "verdict")
    for name, app in config.apps.items():
        *cells, verdict = _row(name, app, proofs)
        table.add_row(*cells, f"[{'red' if proofs.get(name) else 'green'}]{verdict}")
    console.print(table)


def _row(name: str, app: AppConfig, proofs: dict[str, str | None]) -> list[str]:
    verdict = "valid" if name not in proofs else proofs[name] or "valid, and its address is proved"
    return [name, app.provider, app.platform, app.base_url, verdict]
