"""A sidecar that stands still between its claim and its first byte, and is overtaken meanwhile."""

import asyncio
import signal
from pathlib import Path

from sidecar.simulator import Simulator

from .conftest import Kept, gate_before, pushes, served

ID = "order-1"


async def test_paused_and_overtaken_it_sends_nothing_when_it_wakes(
    tmp_path: Path, vendor: Simulator, kept: Kept
) -> None:
    patience = {"connect_timeout_s": 12, "total_timeout_s": 15}
    async with gate_before(vendor, only_first=True) as gate:
        (tmp_path / "first").mkdir()
        (tmp_path / "second").mkdir()
        async with (
            served(tmp_path / "first", vendor, kept, base_url=gate.url, **patience) as first,
            served(tmp_path / "second", vendor, kept, base_url=gate.url, **patience) as second,
        ):
            paused = asyncio.create_task(first.push("sim-1", ID, timeout_s=20))
            await gate.reached()
            first.process.send_signal(signal.SIGSTOP)
            try:
                overtaking = await second.push("sim-1", ID)
            finally:
                first.process.send_signal(signal.SIGCONT)
            gate.open()
            woken = await paused
            assert (overtaking.replayed, woken.replayed) == (False, True)
            assert woken.push_id == overtaking.push_id
            assert (vendor.received, pushes(vendor, "sim-1")) == (1, 1)
            await first.counted("lost")
