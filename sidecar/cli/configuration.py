"""The configuration as the verbs want it: loaded, and checked as far as that needs no listener and no vendor."""

import os
from collections.abc import Mapping
from pathlib import Path

from sidecar.config import Config, ConfigError, load, source_of
from sidecar.telemetry.span_limits import check_span_limits

_OF_THE_FILE = ("server.", "health.", "admin.", "log.", "apps.", "listeners.", "callers.")


def load_checked(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Load and check a configuration (default: that of `PUSH_SIDECAR_CONFIG`).

    Raises `ConfigError` naming the key and the file or variable, a line for each thing that is wrong.
    """
    check_span_limits(os.environ)
    from sidecar.app import problems_of  # noqa: PLC0415  # 300 ms of imports, which read those limits

    if path is None and not any(name.startswith("PUSH_SIDECAR_") for name in environment):
        raise ConfigError("no configuration: give --config FILE (or try `serve --simulate`)")
    config = load(path, environment)
    if problems := problems_of(config):
        raise ConfigError("\n".join(_located(problem, path, environment) for problem in problems))
    return config


def _located(problem: str, path: Path | None, environment: Mapping[str, str]) -> str:
    """Put where the key stands before a problem that begins with a key."""
    if not problem.startswith(_OF_THE_FILE):
        return problem
    return f"{source_of(problem.partition(': ')[0], path, environment)}: {problem}"
