"""Whether memory between blocks that are still in use goes back to the system."""

import os
import subprocess
import sys

import pytest

from tests.support.process import ROOT

# Of 1,000 blocks of 64 KiB (62 MiB) every tenth stays; prints by how many MiB the resident memory then shrinks.
PROGRAM = """
import os
from pathlib import Path
from sidecar.cli.malloc import return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

return_large_blocks()
blocks = [b"x" * 65536 + bytes([number % 256]) for number in range(1000)]
before = resident()
kept = blocks[::10]
del blocks
print((before - resident()) // 2**20)
"""


@pytest.mark.parametrize(
    ("variables", "least", "most"),
    [
        pytest.param({}, 50, 62, id="all that is free"),
        pytest.param({"MALLOC_MMAP_THRESHOLD_": "131072"}, -1, 20, id="as the environment says"),
    ],
)
def test_memory_between_blocks_in_use_goes_back(variables: dict[str, str], least: int, most: int) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(  # our own program
        [sys.executable, "-c", PROGRAM], env={**kept, **variables}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert least <= int(done.stdout) <= most
