"""`make demo`: one push of every audience and every message type through gRPC, each with its outcome and its time.

It runs a simulator and a sidecar of its own, on free ports, and needs no account and no configuration.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pushsidecar.client import connect_async, error_of
from pushsidecar.xg.v1 import (
    ACCOUNT_PUSH_TYPE_ALL_DEVICES,
    TAG_OP_OR,
    Account,
    AccountList,
    AllDevices,
    AndroidMessage,
    AndroidNotification,
    CustomContent,
    IosAlert,
    IosCustom,
    IosNotification,
    IosSilent,
    Outcome,
    PushRequest,
    TagAudience,
    TokenList,
)
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.cli.exits import EXIT_OK, EXIT_REFUSED
from sidecar.cli.waterfall import print_waterfall

if TYPE_CHECKING:
    from rich.console import Console

AUDIENCES: dict[str, dict[str, Any]] = {
    "all": {"all": AllDevices()},
    "tag": {"tag": TagAudience(tags=["tag1", "tag2"], op=TAG_OP_OR)},
    "token": {"token": "sim-phone-1"},
    "token_list": {"token_list": TokenList(tokens=["sim-phone-1", "sim-phone-2"])},
    "account": {"account": Account(account="account1", account_push_type=ACCOUNT_PUSH_TYPE_ALL_DEVICES)},
    "account_list": {"account_list": AccountList(accounts=["account1", "account2"])},
}
MESSAGES: dict[str, dict[str, Any]] = {
    "android_notification": {"android_notification": AndroidNotification(title="Hello", content="from push-sidecar")},
    "android_message": {
        "android_message": AndroidMessage(
            title="refresh", content="inbox", custom_content=CustomContent(json='{"since": 9007199254740993}')
        )
    },
    "ios_notification": {"ios_notification": IosNotification(alert=IosAlert(title="Hello", body="from push-sidecar"))},
    "ios_silent": {"ios_silent": IosSilent(custom=IosCustom(text="refresh"))},
}
BAR_WIDTH = 24
PIPED_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Push:
    """One push of the demo. Times in microseconds."""

    audience: str
    message: str
    verdict: str
    push_id: str
    is_accepted: bool
    spans: list[Any]

    @property
    def total_us(self) -> int:
        """How long the sidecar took as a whole."""
        return int(self.spans[0][3])

    @property
    def vendor_us(self) -> int:
        """How much of it the calls to the vendor took."""
        return sum(span[3] for span in self.spans if span[0].startswith("POST "))


def requests() -> Iterator[tuple[str, str, PushRequest]]:
    """Yield every audience with every message type."""
    for message, message_field in MESSAGES.items():
        for audience, audience_field in AUDIENCES.items():
            yield audience, message, PushRequest(**audience_field, **message_field)


async def run() -> int:
    """Make the pushes and print them; returns the exit code."""
    from rich.console import Console  # noqa: PLC0415  # `serve` imports none of it

    from sidecar.app import Sidecar  # noqa: PLC0415
    from sidecar.cli.simulated import simulated, simulated_environment  # noqa: PLC0415
    from sidecar.config import load  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    free_ports = {f"PUSH_SIDECAR_{name}__LISTEN": "127.0.0.1:0" for name in ("SERVER", "HEALTH", "ADMIN")}
    async with simulated() as (simulator, config_file):
        config = load(config_file, simulated_environment() | free_ports)
        async with Sidecar(config) as sidecar, connect_async(sidecar.grpc_address) as channel:
            stub = PushServiceStub(channel)
            console.print(f"sidecar on {sidecar.grpc_address}, simulated vendor on {simulator.base_url}\n")
            pushes = [await _push(stub, audience, message, request) for audience, message, request in requests()]
    _print_pushes(pushes, console)
    _print_waterfalls(pushes, console)
    accepted = sum(push.is_accepted for push in pushes)
    console.print(f"\n{accepted} of {len(pushes)} pushes accepted", style="green" if accepted == len(pushes) else "red")
    return EXIT_OK if accepted == len(pushes) else EXIT_REFUSED


async def _push(stub: Any, audience: str, message: str, request: PushRequest) -> Push:
    import grpc  # noqa: PLC0415

    call = stub.Push(request, metadata=(("push-sidecar-trace", "1"),))
    try:
        response = await call
        verdict, is_accepted = Outcome.Name(response.outcome).removeprefix("OUTCOME_").lower(), True
        push_id = response.push_id
    except grpc.aio.AioRpcError as error:
        told = error_of(error)
        verdict, is_accepted = f"{told.reason or error.code().name}, sent: {told.sent}", False
        push_id = told.push_id
    spans = json.loads((await call.trailing_metadata())["push-sidecar-trace"])
    return Push(audience, message, verdict, push_id, is_accepted, spans)


def _print_pushes(pushes: list[Push], console: "Console") -> None:
    from rich.table import Table  # noqa: PLC0415

    # The slowest of all but the first, which alone pays for imports and the first connection.
    scale_us = max(push.total_us for push in pushes[1:])
    table = Table(box=None, pad_edge=False)
    for heading in ("message", "audience", "outcome", "push_id", "total", "vendor", "where the time went"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in {"total", "vendor"} else "left")
    for push in pushes:
        table.add_row(
            push.message,
            push.audience,
            f"[{'green' if push.is_accepted else 'red'}]{push.verdict}",
            push.push_id,
            f"{push.total_us / 1000:.1f} ms",
            f"{push.vendor_us / 1000:.1f} ms",
            _bar(push, scale_us),
        )
    console.print(table)
    console.print("█ waiting for the vendor  ░ the sidecar's own work\n", style="dim")


def _bar(push: Push, scale_us: int) -> str:
    total = min(BAR_WIDTH, max(1, round(push.total_us * BAR_WIDTH / scale_us)))
    vendor = round(total * push.vendor_us / push.total_us)
    return "[cyan]" + "█" * vendor + "[/]" + "░" * (total - vendor)


def _print_waterfalls(pushes: list[Push], console: "Console") -> None:
    for title, push in (("the first push, with a new connection", pushes[0]), ("the last, over the pool", pushes[-1])):
        console.print(title, style="bold")
        print_waterfall(push.spans, console)


def main() -> int:
    """Run the demo on the event loop that the sidecar uses."""
    import uvloop  # noqa: PLC0415

    return uvloop.run(run())


if __name__ == "__main__":
    sys.exit(main())
