"""`serve` leaves gRPC's event engine, for the release of grpcio that this was tested with."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli.event_engine import GRPCIO, VARIABLE, leave_event_engine
from sidecar.simulator import Simulator
from tests.support.process import ROOT, serve_process
from tests.support.running import write_config

VALUE = "-event_engine_listener,-event_engine_client"
# Says what the environment holds when gRPC is first looked for.
WATCHING = """
import os, sys

class Watch:
    def find_spec(self, name, *_):
        if name == "grpc":
            sys.__stdout__.write(f"{os.environ.get('GRPC_EXPERIMENTS')}\\n")
            sys.__stdout__.flush()
            os._exit(0)

sys.meta_path.insert(0, Watch())
sys.argv = ["push-sidecar", *sys.argv[1:]]
from sidecar.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("before", "installed", "after"),
    [
        ({}, GRPCIO, {VARIABLE: VALUE}),
        ({}, "1.85.1", {}),
        ({}, "1.82.30", {}),
        ({VARIABLE: "event_engine_dns"}, GRPCIO, {VARIABLE: "event_engine_dns"}),
        ({VARIABLE: ""}, GRPCIO, {VARIABLE: ""}),
    ],
    ids=["tested-release", "later-release", "longer-number", "operators-own", "operators-none"],
)
def test_only_the_tested_release_leaves_it_and_the_operator_wins(
    before: dict[str, str], installed: str, after: dict[str, str]
) -> None:
    environment = dict(before)
    leave_event_engine(environment, {"grpcio": installed}.__getitem__)
    assert environment == after


def test_tested_release_is_the_locked_one() -> None:
    locked = re.search(r"^grpcio==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert locked[1] == GRPCIO, "measure and test the new release with and without, as docs/performance.md says"


@pytest.mark.parametrize(
    ("verb", "seen"), [(("serve", "--simulate"), VALUE), (("wait", "--timeout", "1"), "None")], ids=["serve", "wait"]
)
def test_serve_alone_sets_it_and_before_grpc_is_imported(verb: tuple[str, ...], seen: str) -> None:
    command = [sys.executable, "-c", WATCHING, *verb]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (f"{seen}\n", "")


async def test_nothing_but_log_lines_is_written(vendor: Simulator, tmp_path: Path) -> None:
    """A name that gRPC does not know would be told in a line of its own."""
    async with serve_process(write_config(tmp_path, vendor)) as process:
        process.send_signal(signal.SIGTERM)
        assert await process.wait(20) == 0
        assert process.text == ""
