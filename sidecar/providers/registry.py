"""The list of providers: a new vendor adds a line here."""

from collections.abc import Mapping

from sidecar.config import AppConfig, Config
from sidecar.delivery.build import Delivery
from sidecar.delivery.vendor_tls import read_vendor_tls
from sidecar.providers.provider import Provider
from sidecar.providers.xg import build as xg

_BUILDERS = {"xg": xg}


def build_providers(config: Config, delivery: Delivery, environment: Mapping[str, str]) -> list[Provider]:
    """Build every provider that an app uses.

    Raises `ConfigError`.
    """
    return [_BUILDERS[name].build(apps, delivery, environment) for name, apps in _apps_by_provider(config).items()]


def check_app(name: str, app: AppConfig) -> None:
    """Make the provider's own checks of an app, and those of what it builds on; build nothing that stays.

    Raises `ConfigError`.
    """
    _BUILDERS[app.provider].check({name: app})
    read_vendor_tls(name, app)


def _apps_by_provider(config: Config) -> Mapping[str, Mapping[str, AppConfig]]:
    grouped: dict[str, dict[str, AppConfig]] = {}
    for name, app in config.apps.items():
        grouped.setdefault(app.provider, {})[name] = app
    return grouped
