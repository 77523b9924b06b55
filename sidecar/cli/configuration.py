"""The configuration as the verbs want it: loaded, and checked as far as that needs no listener and no vendor."""

import os
from collections.abc import Mapping
from pathlib import Path

from sidecar.config import Config, ConfigError, load


def load_checked(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Load and check a configuration (default: that of `PUSH_SIDECAR_CONFIG`).

    Raises `ConfigError` naming the key and the file.
    """
    from sidecar.app import check_config  # noqa: PLC0415  # 300 ms of imports

    if path is None and not any(name.startswith("PUSH_SIDECAR_") for name in environment):
        raise ConfigError("no configuration: give --config FILE (or try `serve --simulate`)")
    config = load(path, environment)
    try:
        check_config(config)
    except ConfigError as error:
        if path is None or not str(error).startswith("apps."):
            raise
        raise ConfigError(f"{path}: {error}") from None
    return config
