"""The list of providers: a new vendor adds a line here."""

from collections.abc import Mapping

from sidecar.config import AppConfig, Config
from sidecar.delivery.build import tls_context
from sidecar.providers.provider import Provider
from sidecar.providers.xg import build as xg
from sidecar.telemetry.metrics import Metrics

_BUILDERS = {"xg": xg}


def build_providers(config: Config, metrics: Metrics, environment: Mapping[str, str]) -> list[Provider]:
    """Build every provider that an app uses.

    Raises `ConfigError`.
    """
    return [_BUILDERS[name].build(apps, metrics, environment) for name, apps in _apps_by_provider(config).items()]


def check_providers(config: Config) -> None:
    """Make the providers' own checks of the configuration, and those of what they build on; build nothing.

    Raises `ConfigError`.
    """
    for name, apps in _apps_by_provider(config).items():
        _BUILDERS[name].check(apps)
    for name, app in config.apps.items():
        tls_context(name, app)


def _apps_by_provider(config: Config) -> Mapping[str, Mapping[str, AppConfig]]:
    grouped: dict[str, dict[str, AppConfig]] = {}
    for name, app in config.apps.items():
        grouped.setdefault(app.provider, {})[name] = app
    return grouped
