"""The image, built once from the Dockerfile as it stands."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.image.base import build_base
from tests.support.buildah import ROOT, ImageConfig, Store, image_store

BASE, IMAGE = "localhost/base", "localhost/push-sidecar"
GIVEN = {
    "BASE": BASE,
    "VERSION": "9.8.7",
    "REVISION": "0123abc",
    "SOURCE": "https://example.com/source",
}


@dataclass(frozen=True)
class Built:
    """The image and what it was made from: both mounted, as they came out of the build."""

    store: Store
    config: ImageConfig
    root: Path
    base_root: Path
    python: Mapping[str, str]
    """The marker environment of its Python."""

    @property
    def home(self) -> Path:
        """The folder that the first stage built, as seen from here."""
        return self.root / "opt/push-sidecar"

    @property
    def site_packages(self) -> Path:
        """Where everything is installed."""
        (found,) = self.home.glob("lib/python3.*/site-packages")
        return found


# The values of the environment markers (PEP 508), for a Python that has no library for them.
ENVIRONMENT_MARKERS = """
import json, os, platform, sys
version = ".".join(map(str, sys.version_info[:3]))
print(json.dumps({
    "os_name": os.name, "sys_platform": sys.platform, "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(), "platform_release": platform.release(),
    "platform_system": platform.system(), "platform_version": platform.version(),
    "python_version": ".".join(version.split(".")[:2]), "python_full_version": version,
    "implementation_name": sys.implementation.name, "implementation_version": version,
}))
"""


@pytest.fixture(scope="session")
def built() -> Iterator[Built]:
    """Build it; skips where the tools for that are missing."""
    with image_store() as store:
        build_base(store, BASE)
        store.build(IMAGE, ROOT, GIVEN)
        config = store.config(IMAGE)
        (_, root), (_, base_root) = store.mount(IMAGE), store.mount(BASE)
        python = subprocess.run(
            ["chroot", root, "/opt/push-sidecar/bin/python", "-c", ENVIRONMENT_MARKERS],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        yield Built(store, config, root, base_root, json.loads(python.stdout))
