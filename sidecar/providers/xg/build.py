"""Builds the provider from its apps' configuration: credentials, address, lane."""

from collections.abc import Mapping

from pushsidecar.xg.v1.push_service_pb2 import PushRequest
from sidecar import __version__
from sidecar.config import AppConfig, ConfigError, read_secret
from sidecar.delivery.build import build_lane
from sidecar.providers.xg.codes import CODES, CodeClass
from sidecar.providers.xg.credentials import authorization
from sidecar.providers.xg.rules import violations
from sidecar.providers.xg.service import PUSH_PATH, App, XgProvider
from sidecar.telemetry.metrics import Metrics

# A code can be called a failure of another kind, but no failure a success and no success a failure: what was pushed
# would be pushed again.
_SUCCESSES = frozenset({CodeClass.ACCEPTED, CodeClass.PARTIAL})
RECLASSABLE = frozenset(CodeClass) - _SUCCESSES


def build(apps: Mapping[str, AppConfig], metrics: Metrics, environment: Mapping[str, str]) -> XgProvider:
    """Build the provider. Call it on the event loop that will serve.

    Raises `ConfigError`.
    """
    # The rules are compiled at their first use (20 ms): better now than in the first push.
    violations(PushRequest())
    check(apps)
    return XgProvider({name: _build_app(name, app, metrics, environment) for name, app in apps.items()})


def check(apps: Mapping[str, AppConfig]) -> None:
    """Check what only this provider can: `app_id`, the address's end, and the classes of `code_classes`.

    Raises `ConfigError`.
    """
    for name, app in apps.items():
        if ":" in app.app_id:
            raise ConfigError(f"apps.{name}.app_id: must have no colon, which ends the user name in HTTP Basic")
        if app.base_url.rstrip("/").endswith(PUSH_PATH):
            raise ConfigError(f"apps.{name}.base_url: must end before {PUSH_PATH}, which is added to it")
        _code_classes(name, app)


def _build_app(name: str, app: AppConfig, metrics: Metrics, environment: Mapping[str, str]) -> App:
    headers = {
        "authorization": authorization(app.app_id, read_secret(name, app, environment).reveal()),
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"push-sidecar/{__version__}",
    }
    return App(
        name=name,
        platform=app.platform,
        default_environment=app.environment,
        headers=headers,
        code_classes=_code_classes(name, app),
        quota_retry_after_s=app.quota_retry_after_s,
        lane=build_lane(name, app, PUSH_PATH, metrics),
    )


def _code_classes(name: str, app: AppConfig) -> Mapping[int, CodeClass]:
    classes = {}
    for code, wanted in app.code_classes.items():
        if code in CODES and CODES[code].code_class in _SUCCESSES:
            raise ConfigError(f"apps.{name}.code_classes.{code}: is a success, which cannot be called a failure")
        if wanted not in RECLASSABLE:
            allowed = ", ".join(sorted(RECLASSABLE))
            raise ConfigError(f"apps.{name}.code_classes.{code}: must be one of {allowed}")
        classes[code] = CodeClass(wanted)
    return classes
