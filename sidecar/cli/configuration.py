"""The configuration as the verbs want it: loaded, and checked as far as that needs no listener and no vendor."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sidecar.config import AdminConfig, Config, ConfigError, HealthConfig, ServerConfig, load, source_of

_OF_THE_FILE = ("server.", "health.", "admin.", "log.", "apps.")


def load_checked(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Load and check a configuration (default: that of `PUSH_SIDECAR_CONFIG`).

    Raises `ConfigError` naming the key and the file or variable, a line for each thing that is wrong.
    """
    if path is None and not any(name.startswith("PUSH_SIDECAR_") for name in environment):
        raise ConfigError("no configuration: give --config FILE (or try `serve --simulate`)")
    config = load(path, environment)
    problems = [
        f"{source_of(problem.partition(': ')[0], path, environment)}: {problem}"
        if problem.startswith(_OF_THE_FILE)
        else problem
        for problem in _problems(config)
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _problems(config: Config) -> list[str]:
    """Return what the check refuses, of the listeners and of each app alone, since it stops at the first."""
    from sidecar.app import check_config  # noqa: PLC0415  # 300 ms of imports

    plain = msgspec.structs.replace(config, server=ServerConfig(), health=HealthConfig(), admin=AdminConfig(), apps={})
    parts = [msgspec.structs.replace(config, apps={}), plain]
    parts += [msgspec.structs.replace(plain, apps={name: app}) for name, app in config.apps.items()]
    problems = []
    for part in parts:
        try:
            check_config(part)
        except ConfigError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))
