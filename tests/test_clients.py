"""The test suites of the Go and Java callers, in their own tools."""

from pathlib import Path

import pytest

from tests.support.toolchains import find_tool, run_tool

CLIENTS = Path(__file__).parents[1] / "clients"


@pytest.mark.timeout(600)
def test_go_caller_is_formatted_vetted_and_passes_its_tests() -> None:
    go, folder = find_tool("go"), CLIENTS / "go"
    gofmt = str(Path(go).with_name("gofmt"))
    assert run_tool(gofmt, "-l", "example", "interop", "pushsidecar", cwd=folder) == ""
    run_tool(go, "vet", "./...", cwd=folder)
    run_tool(go, "vet", "./...", cwd=folder / "example" / "traced")  # a module of its own
    # -count=1: the shared cases are outside of the module, so Go's cache does not see them change.
    output = run_tool(go, "test", "-count=1", "./...", cwd=folder)
    assert "ok" in output
    assert "FAIL" not in output


@pytest.mark.timeout(600)
def test_java_caller_builds_and_passes_its_tests() -> None:
    find_tool("java")
    output = run_tool(find_tool("mvn"), "--batch-mode", "--no-transfer-progress", "verify", cwd=CLIENTS / "java")
    assert "BUILD SUCCESS" in output
    assert "Tests run:" in output
