"""File descriptors: which limit the process takes, and what is said of a configuration that does not fit."""

import resource
import subprocess
import sys

import pytest

from sidecar.config import AppConfig, Config
from sidecar.descriptors import highest_limit, shortage_of
from tests.support.process import ROOT

NO_LIMIT = resource.RLIM_INFINITY


def config(**max_in_flight: int) -> Config:
    return Config(
        apps={
            name: AppConfig(
                platform="android", base_url="https://a.example", app_id="1", secret_key_env="K", max_in_flight=most
            )
            for name, most in max_in_flight.items()
        }
    )


@pytest.mark.parametrize(
    ("max_in_flight", "limit", "wanted"),
    [
        pytest.param({"shop": 64}, 1024, None, id="the-usual"),
        pytest.param({"shop": 896}, 1024, None, id="just-fits"),
        pytest.param({"shop": 897}, 1024, 1025, id="one-too-many"),
        pytest.param({"shop": 500, "news": 500}, 1024, 1128, id="together-too-many"),
        pytest.param({"shop": 200}, 64, 328, id="one-alone-too-many"),
        pytest.param({"shop": 1_000_000}, NO_LIMIT, None, id="no-limit"),
    ],
)
def test_configuration_that_may_not_fit_is_told(max_in_flight: dict[str, int], limit: int, wanted: int | None) -> None:
    told = shortage_of(config(**max_in_flight), limit)
    if wanted is None:
        assert told is None
    else:
        assert told is not None
        assert told.startswith(f"up to {wanted} file descriptors are needed, and the limit is {limit}: ")


def test_largest_app_is_named() -> None:
    told = shortage_of(config(shop=100, news=900), 1000)
    assert told is not None
    assert "max_in_flight together are 1000 (apps.news alone 900)" in told


@pytest.mark.parametrize(
    ("soft", "hard", "limit"),
    [
        (1024, 524_288, 524_288),
        (1024, 1024, 1024),
        (1024, 2**30, 1_048_576),
        (1024, NO_LIMIT, 1_048_576),
        (2**30, 2**30, 2**30),
        (NO_LIMIT, NO_LIMIT, NO_LIMIT),
    ],
)
def test_limit_is_raised_as_far_as_it_may_be_and_never_lowered(soft: int, hard: int, limit: int) -> None:
    assert highest_limit(soft, hard) == limit


def test_limit_of_a_process_is_raised() -> None:
    program = (
        "import resource\n"
        "from sidecar.descriptors import raise_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))\n"
        "raise_limit()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True) == "(200, 200)\n"
