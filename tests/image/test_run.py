"""The image at work as an engine would run it: its own commands, its user, and a root file system that is read-only."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sidecar import __version__
from tests.image.conftest import IMAGE, Built
from tests.image.container import Container, Network, container, own_network
from tests.support.buildah import ROOT

pytestmark = pytest.mark.timeout(600)  # the first one builds the image

PUSH = ("push-sidecar", "send", "--platform", "android", "--to-token", "token1", "--title", "T", "--content", "C")
DELIVERIES = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
print(urllib.request.urlopen("https://127.0.0.1:8443/_sim/deliveries", context=context).read().decode())
"""


@dataclass(frozen=True)
class Vendor:
    """A simulated vendor of this checkout, in the container's network."""

    network: Network
    folder: Path

    def count_deliveries(self) -> int:
        """Ask how many pushes it acted on."""
        answer = self.network.run(sys.executable, "-c", DELIVERIES, str(self.folder / "ca.pem"))
        total: int = json.loads(answer)["total"]
        return total


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    """Start it, and leave what a sidecar needs for it in a folder, with the image's default names."""
    with own_network() as network:
        command = (*network.enter, sys.executable, "-m", "sidecar", "simulate", "--ca-out", str(tmp_path / "ca.pem"))
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert any(line.startswith("Stop it") for line in process.stdout)
                app = {
                    "provider": "xg",
                    "platform": "android",
                    "base_url": "https://127.0.0.1:8443",
                    "ca_file": "/etc/push-sidecar/ca.pem",
                    "app_id": "simulated-android-app",
                    "secret_key_file": "/etc/push-sidecar/secret",
                }
                (tmp_path / "config.yaml").write_text(yaml.safe_dump({"apps": {"shop": app}}))
                (tmp_path / "secret").write_text("not-a-secret-android\n")
                for path in (tmp_path, *tmp_path.iterdir()):
                    path.chmod(0o755)
                yield Vendor(network, tmp_path)
            finally:
                process.terminate()


@pytest.fixture
def serving(built: Built, vendor: Vendor) -> Iterator[Container]:
    """Run what the image runs by itself, and wait until it serves."""
    name, root = built.store.mount(IMAGE)
    with container(root, built.config, vendor.network, (vendor.folder, "/etc/push-sidecar")) as started:
        started.wait_for("serving")
        yield started
    built.store.remove_copy(name)


def test_push_goes_through(serving: Container, vendor: Vendor) -> None:
    answer = serving.run((*PUSH, "--json"))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert vendor.count_deliveries() == 1


def test_health_check_passes_while_it_serves_and_only_then(built: Built, serving: Container) -> None:
    assert serving.run(built.config.health_check).returncode == 0
    elsewhere = [part.replace("50052", "50059") for part in built.config.health_check]
    assert elsewhere != list(built.config.health_check)
    assert serving.run(elsewhere).returncode == 1


def test_it_ends_with_0_on_sigterm(serving: Container) -> None:
    assert serving.stop() == 0


def test_it_runs_as_nobody_with_no_capability_on_a_root_that_is_read_only(serving: Container) -> None:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{serving.pid}/status").read_text().splitlines())
    assert status["Uid"].split() == status["Gid"].split() == ["65532"] * 4
    assert int(status["CapEff"], 16) == 0
    is_read_only = "import os, sys; sys.exit(not os.statvfs('/').f_flag & os.ST_RDONLY)"
    assert serving.run(("python", "-c", is_read_only)).returncode == 0


def test_configuration_can_be_checked_inside(serving: Container) -> None:
    command = (*serving.entrypoint, "check", "--config", "/etc/push-sidecar/config.yaml", "--connect")
    answer = serving.run(command)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_version_is_that_of_the_project(serving: Container) -> None:
    assert __version__ in serving.run((*serving.entrypoint, "--version")).stdout
