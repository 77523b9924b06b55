"""The benchmark runs from end to end and every push that it makes is answered; no time is judged here."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(shutil.which("go") is None and os.environ.get("CI") != "true", reason="the benchmark needs Go"),
    pytest.mark.timeout(600),  # the first build fetches modules
]


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_quick_run_measures_all_four_and_every_push_is_accepted(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.run", "--quick", "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    results = json.loads((tmp_path / "latest.json").read_text())
    measured = {(row["target"], row["in_flight"]): row for row in results["rows"]}
    assert set(measured) == {(target, level) for target in "abcd" for level in (1, 32)}
    for row in measured.values():
        assert row["pushes"] > 0
        assert row["errors"] == 0
    table = (tmp_path / "latest.md").read_text()
    for label in ("push-sidecar", "naive Python sidecar", "minimal Go sidecar", "Go, no sidecar"):
        assert label in ran.stdout
        assert label in table
    assert "CPU per push at 32 in flight, x (b)" in ran.stdout
    assert (tmp_path / "latest.svg").read_text().rstrip().endswith("</svg>")


def test_interrupted_run_leaves_no_process_behind(tmp_path: Path) -> None:
    options = ["--only", "c", "--seconds", "60", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "bench.run", *options]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as bench:
        seen: set[int] = set()
        while bench.poll() is None and len(seen) < 3:  # upstream, server, load generator
            seen = {pid for pid in _children(bench.pid) if _name(pid) in {"upstream", "gosidecar", "load"}}
        bench.send_signal(signal.SIGINT)
        _, said = bench.communicate(timeout=60)

    assert bench.returncode == 130, said
    assert len(seen) == 3
    assert [pid for pid in seen if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.iterdir()) == []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


def test_go_parts_are_vetted_and_tested() -> None:
    for command in (["go", "vet", "./..."], ["go", "test", "./..."]):
        ran = subprocess.run(command, cwd=ROOT / "bench" / "go", capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
