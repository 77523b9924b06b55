"""What the command line says of wrong use: the usage of the verb that was meant, and exit code 2."""

import subprocess
import sys

import pytest

from sidecar.__main__ import main
from tests.support.process import ROOT

VERBS = {
    "serve": ["--simulate"],
    "simulate": [],
    "send": ["--to-token", "a"],
    "check": [],
    "wait": [],
    "hash-target": ["TOKEN"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_wrong_flag_shows_the_usage_of_its_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([verb, *VERBS[verb], "--nonsense", "--more"])
    said = capsys.readouterr().err
    assert said.startswith(f"usage: push-sidecar {verb} ")
    assert said.endswith(f"push-sidecar {verb}: error: unrecognized arguments: --nonsense --more\n")


@pytest.mark.parametrize("arguments", [[], ["nonsense"]], ids=["none", "unknown"])
def test_without_a_verb_the_verbs_are_shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert capsys.readouterr().err.startswith("usage: push-sidecar [-h] [--version] VERB")


def test_help_into_a_pipe_that_is_closed_is_quiet() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "send", "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
