"""Which Python the servers of the benchmark run on."""

import os
import sys

import pytest

from bench.interpreter import PACKAGES, Interpreter, build_of, find_interpreter


@pytest.mark.parametrize(
    ("config_args", "schemes", "build"),
    [
        ("'--enable-shared' '--prefix=/opt/python'", ("posix_prefix",), ""),
        ("'--enable-optimizations' '--with-lto'", ("posix_prefix",), "PGO and LTO"),
        ("'--enable-optimizations'", ("posix_prefix",), "PGO"),
        ("'--with-lto'", ("posix_prefix",), ""),
        ("'--enable-shared' '--prefix=/usr'", ("deb_system", "posix_prefix"), "PGO and LTO, as Debian builds it"),
    ],
    ids=["plain", "both", "pgo", "lto alone", "debian"],
)
def test_build_is_known_by_what_configured_it(config_args: str, schemes: tuple[str, ...], build: str) -> None:
    assert build_of(config_args, schemes) == build


def test_another_python_finds_the_packages_behind_what_it_is_given() -> None:
    other = Interpreter("/opt/python", "3.11.2", "PGO")
    assert other.environment({"A": "1"}) == {"A": "1", "PYTHONPATH": PACKAGES}
    assert other.environment({"PYTHONPATH": "/overlay"})["PYTHONPATH"] == f"/overlay{os.pathsep}{PACKAGES}"
    assert Interpreter(sys.executable, "3.11.7", "").environment({"A": "1"}) == {"A": "1"}


def test_one_is_found_and_says_what_it_is() -> None:
    """An optimised one, or the running one; never one of another version."""
    found = find_interpreter()
    assert found.version.rpartition(".")[0] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert bool(found.build) or found.is_running
    assert ("optimised (" if found.build else "not optimised: ") in str(found)
