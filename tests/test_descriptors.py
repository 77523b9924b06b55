"""File descriptors: which limit the process takes, and what is said of a configuration that does not fit."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.config import AppConfig, Config
from sidecar.descriptors import highest_limit, shortage_of
from tests.conftest import Configure, StartSidecar
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


@pytest.fixture
def limit_of_4096() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("limit_of_4096")
@pytest.mark.parametrize(("max_in_flight", "is_told"), [(3968, False), (3969, True)])
async def test_sidecar_tells_at_its_start_and_starts(
    start_sidecar: StartSidecar, caplog: pytest.LogCaptureFixture, max_in_flight: int, *, is_told: bool
) -> None:
    running = await start_sidecar(app={"max_in_flight": max_in_flight})
    told = [vars(record)["detail"] for record in caplog.records if record.message == "max_in_flight does not fit"]
    assert [text.partition(":")[0] for text in told] == (
        ["up to 4097 file descriptors are needed, and the limit is 4096"] if is_told else []
    )
    assert (await running.push()).attempts == 1


def test_check_tells_and_refuses_nothing(configure: Configure, tmp_path: Path) -> None:
    configure(app={"max_in_flight": 200})
    command = (sys.executable, "-m", "sidecar", "check", "--config", str(tmp_path / "config.yaml"))
    checked = subprocess.run(
        ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (note,) = (line for line in checked.stdout.splitlines() if line.startswith("note: "))
    assert note.startswith("note: up to 328 file descriptors are needed, and the limit is 64: ")
    assert checked.stdout.splitlines()[-1].endswith(" valid")
