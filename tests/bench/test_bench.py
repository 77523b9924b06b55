"""The benchmark runs from end to end and every push that it makes is answered; no time is judged here."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.toolchains import find_tool

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.usefixtures("go"),
    pytest.mark.timeout(600),  # the first build fetches modules
]


@pytest.fixture(scope="module")
def go() -> str:
    return find_tool("go")


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
    measured = {(row["target"], row["work"]["in_flight"], row["work"]["tokens"]): row for row in results["rows"]}
    lists = {("a", 32, 1000), ("c", 32, 1000)}
    assert set(measured) == {(target, level, 1) for target in "abcd" for level in (1, 32)} | lists
    for row in measured.values():
        assert row["pushes"] > 0
        assert row["errors"] == 0
    table = (tmp_path / "latest.md").read_text()
    for label in ("push-sidecar", "naive Python sidecar", "minimal Go sidecar", "Go, no sidecar"):
        assert label in ran.stdout
        assert label in table
    for line in ("CPU per push at 32 in flight, x (c)", "CPU per list of 1,000 tokens, x (c)", "ran on Python 3."):
        assert line in ran.stdout
    assert f"python {results['environment']['python']}," in table
    assert (tmp_path / "latest.svg").read_text().rstrip().endswith("</svg>")


def test_interrupted_run_leaves_no_process_behind(tmp_path: Path) -> None:
    options = ["--only", "c", "--seconds", "60", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "bench.run", *options]
    bench = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        started: set[int] = set()
        while bench.poll() is None and len(started) < 3:  # upstream, server, load generator
            started = {pid for pid in _children(bench.pid) if _name(pid) in {"upstream", "gosidecar", "load"}}
        bench.send_signal(signal.SIGINT)
        _, said = bench.communicate(timeout=60)
    finally:
        bench.kill()
        bench.communicate()

    assert bench.returncode == 130, said
    assert len(started) == 3
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.iterdir()) == []


def _children(pid: int) -> set[int]:
    return {int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()}


def _name(pid: int) -> str:
    return _read(f"/proc/{pid}/comm").strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ""


def test_go_parts_are_vetted_and_tested() -> None:
    for command in (["go", "vet", "./..."], ["go", "test", "./..."]):
        ran = subprocess.run(command, cwd=ROOT / "bench" / "go", capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
