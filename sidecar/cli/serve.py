"""`push-sidecar serve`: runs the sidecar until it is told to stop."""

import argparse
import asyncio
import faulthandler
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.configuration import load_checked
from sidecar.cli.exits import EXIT_USAGE
from sidecar.cli.malloc import return_large_blocks
from sidecar.cli.signals import Signals
from sidecar.cli.streams import crash_descriptor, write_soon
from sidecar.config import ConfigError
from sidecar.descriptors import raise_limit
from sidecar.telemetry.span_limits import check_span_limits

if TYPE_CHECKING:
    from sidecar.app import Sidecar

EPILOG = """examples:
  push-sidecar serve --simulate                          try it: no account and no configuration needed
  push-sidecar serve --config /etc/push-sidecar/config.yaml
  PUSH_SIDECAR_CONFIG=config.yaml PUSH_SIDECAR_LOG__FORMAT=text push-sidecar serve
  PUSH_SIDECAR_SERVER__LISTEN=unix:/run/push-sidecar/push.sock push-sidecar serve --config config.yaml
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
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $PUSH_SIDECAR_CONFIG)")
    source.add_argument("--simulate", action="store_true", help="serve two apps of an embedded simulator of the vendor")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve; returns the exit code."""
    # Should the interpreter itself crash, the log says where. It writes no values.
    faulthandler.enable(crash_descriptor())
    return_large_blocks()
    # gRPC's C core would write lines of its own between ours, what a peer says included.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import uvloop  # noqa: PLC0415  # only this verb needs it, and the next

    from sidecar.cli.event_engine import leave_event_engine  # noqa: PLC0415

    leave_event_engine(os.environ)
    raise_limit()

    try:
        check_span_limits(os.environ)
        return uvloop.run(_serve_simulated() if args.simulate else _serve(args.config))
    except ConfigError as error:
        write_soon(f"push-sidecar: {error}", sys.stderr)
        return EXIT_USAGE


async def _serve(path: Path | None) -> int:
    from sidecar.app import Sidecar  # noqa: PLC0415  # 300 ms of imports that other verbs do not need
    from sidecar.telemetry.logs import logging_to_stderr  # noqa: PLC0415

    config = load_checked(path)
    with Signals() as signals:
        async with logging_to_stderr(config.log) as lines, Sidecar(config) as sidecar:
            sidecar.metrics.dropped_lines.count = lambda: lines.dropped
            signals.listen(hurry=sidecar.hurry, look=sidecar.look_again)
            # What is there now stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            await signals.stop.wait()
        _leave(sidecar, signals)
    return signals.exit_code


async def _serve_simulated() -> int:
    from sidecar.app import Sidecar  # noqa: PLC0415
    from sidecar.cli.simulated import simulated, simulated_environment  # noqa: PLC0415  # needs `cryptography`
    from sidecar.telemetry.logs import logging_to_stderr  # noqa: PLC0415

    with Signals() as signals:
        async with simulated() as (simulator, config_file):
            config = load_checked(config_file, simulated_environment())
            async with logging_to_stderr(config.log) as lines, Sidecar(config) as sidecar:
                sidecar.metrics.dropped_lines.count = lambda: lines.dropped
                signals.listen(hurry=sidecar.hurry, look=sidecar.look_again)
                welcome = await _welcome(sidecar.grpc_address, sidecar.admin_address, simulator.base_url)
                await asyncio.to_thread(write_soon, welcome, sys.stdout)
                await signals.stop.wait()
        _leave(sidecar, signals)
    return signals.exit_code


def _leave(sidecar: "Sidecar", signals: Signals) -> None:
    """End the process at once where a library would hold its end."""
    if sidecar.holds_exit:
        # All is closed and logged. A TLS handshake with a dead collector holds gRPC's C core for 2 s in exit().
        os._exit(signals.exit_code)


async def _welcome(target: str, admin: str, vendor: str) -> str:
    """Make one real push; returns what became of it, and how to make the next."""
    from pushsidecar.client import connect_async  # noqa: PLC0415
    from pushsidecar.xg.v1 import AndroidNotification, PushRequest  # noqa: PLC0415
    from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub  # noqa: PLC0415
    from sidecar.cli.simulated import ANDROID_APP  # noqa: PLC0415

    request = PushRequest(
        app=ANDROID_APP,
        token="sim-phone-1",  # noqa: S106  # a device of the simulator
        android_notification=AndroidNotification(title="Hello", content="from push-sidecar"),
    )
    async with connect_async(target) as channel:
        response = await PushServiceStub(channel).Push(request)
    wanted = f" --target {target}" if target != "127.0.0.1:50051" else ""
    return f"""
push-sidecar serves gRPC on {target}; the vendor is simulated at {vendor}

One push was just made through gRPC: push_id {response.push_id}, accepted after {response.attempts} call to the vendor,
which took {response.vendor_latency.ToNanoseconds() / 1e6:.1f} ms.

Make the next one, from another terminal:
  .venv/bin/push-sidecar send{wanted} --platform android --to-token sim-phone-2 --title Hi --content there --trace
See what a lost answer looks like:
  .venv/bin/push-sidecar send{wanted} --platform android --to-token fault-reset-after-body --title Hi --content there
With grpcurl (reflection is on):
  grpcurl -plaintext -d '{{"token": "sim-phone-3", "androidNotification": {{"title": "Hi", "content": "there"}}}}' \\
    {target} pushsidecar.xg.v1.PushService/Push
Metrics: http://{admin}/metrics    Stop: Ctrl-C
"""
