"""A simulator and the configuration that goes with it, for the verbs that run without an account."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from sidecar.simulator import Quota, Simulator

ANDROID_APP = "demo-android"
IOS_APP = "demo-ios"


@asynccontextmanager
async def simulated(*, quota: Quota | None = None) -> AsyncIterator[tuple[Simulator, Path]]:
    """Run a simulator; yields it and a configuration file with its two apps, which goes when it stops."""
    async with Simulator(quota=quota or Quota()) as simulator:
        folder = simulator.directory
        apps = {}
        for name, app in ((ANDROID_APP, simulator.android), (IOS_APP, simulator.ios)):
            secret_file = folder / f"{name}.secret"
            secret_file.write_text(app.secret_key)
            apps[name] = {
                "platform": app.platform,
                "base_url": simulator.base_url,
                "ca_file": str(simulator.ca_file),
                "app_id": app.app_id,
                "secret_key_file": str(secret_file),
            }
        config_file = folder / "config.yaml"
        # Who tries it out sees a line for each push.
        config_file.write_text(yaml.safe_dump({"log": {"format": "text", "access": "all"}, "apps": apps}))
        yield simulator, config_file


def simulated_environment() -> dict[str, str]:
    """Return the environment without what it says of apps: the simulator's own are the only ones."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PUSH_SIDECAR_APPS__")}
