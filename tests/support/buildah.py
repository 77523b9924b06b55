"""Container images without an engine: Debian's buildah, in a store of a test's own.

It owns the store and its mounts. What an image is made of, and what is expected of it, is its tests' business.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.toolchains import find_tool, run_tool

ROOT = Path(__file__).parents[2]
_NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork")
_PRIVILEGES = "root with the right to mount is missing, which building and running an image without an engine needs"


def require_privileges() -> None:
    """Skip the test where there is no right to mount, or fail it for a user who is not root when CI=true."""
    if os.geteuid() != 0 and os.environ.get("CI") == "true":
        pytest.fail(_PRIVILEGES)
    if os.geteuid() == 0 and subprocess.run([*_NAMESPACES, "true"], capture_output=True, check=False).returncode == 0:
        return
    pytest.skip(_PRIVILEGES)


@dataclass(frozen=True)
class ImageConfig:
    """What an engine is told by the image itself."""

    user: str
    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    health_check: tuple[str, ...]
    labels: Mapping[str, str]
    working_directory: str


class Store:
    """Images and mounted copies of them, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self._buildah = (find_tool("buildah"), "--root", str(folder / "store"), "--runroot", str(folder / "run"))

    def _run(self, *arguments: str) -> str:
        return run_tool(*self._buildah, *arguments, cwd=ROOT).strip()

    def mount(self, image: str) -> tuple[str, Path]:
        """Make a copy of an image, or of nothing (`scratch`); returns its name and where it is mounted."""
        name = self._run("from", "--pull-never", image)
        return name, Path(self._run("mount", name))

    def commit(self, name: str, image: str, environment: Mapping[str, str]) -> None:
        """Make an image of a mounted copy."""
        for key, value in environment.items():
            self._run("config", "--env", f"{key}={value}", name)
        self._run("commit", "--quiet", "--rm", name, image)

    def build(self, image: str, context: Path, arguments: Mapping[str, str]) -> None:
        """Build the context's Dockerfile as it stands, its steps in a chroot with this machine's network."""
        given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        # The format is Docker's: that of OCI has no health check.
        how = ("--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker")
        self._run("bud", *how, *given, "--tag", image, str(context))

    def config(self, image: str) -> ImageConfig:
        """Read what the image tells an engine."""
        config = json.loads(self._run("inspect", "--type", "image", image))["Docker"]["config"]
        kind, *health_check = config["Healthcheck"]["Test"]
        assert kind == "CMD", "a health check through a shell"
        return ImageConfig(
            user=config["User"],
            environment=dict(line.split("=", 1) for line in config["Env"]),
            entrypoint=tuple(config["Entrypoint"]),
            command=tuple(config["Cmd"]),
            health_check=tuple(health_check),
            labels=config["Labels"],
            working_directory=config["WorkingDir"],
        )

    def remove_copy(self, name: str) -> None:
        """Unmount and remove a copy."""
        self._run("rm", name)

    def remove(self) -> None:
        """Unmount and remove everything."""
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")


@contextmanager
def image_store() -> Iterator[Store]:
    """Keep a store inside the block; skips where buildah or the right to mount is missing."""
    require_privileges()
    with TemporaryDirectory(prefix="push-sidecar-image-") as name:
        store = Store(Path(name))
        try:
            yield store
        finally:
            store.remove()
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):
                if (where := line.split()[1]).startswith(f"{name}/"):
                    subprocess.run(["umount", where], check=True)
