"""Builds the provider from its apps' configuration: credentials, address, lane."""

from collections.abc import Mapping

from pushsidecar.xg.v1.push_service_pb2 import PushRequest
from sidecar import __version__
from sidecar.config import AppConfig, ConfigError, read_secret
from sidecar.delivery.build import Delivery, quotas_of
from sidecar.delivery.quota import Quota
from sidecar.providers.xg.codes import CODES, CodeClass
from sidecar.providers.xg.credentials import Credentials
from sidecar.providers.xg.rules import violations
from sidecar.providers.xg.service import CALL_CLASSES, PUSH_PATH, App, XgProvider
from sidecar.secrets import WatchedSecret

# A code can be called a failure of another kind, but no failure a success and no success a failure: what was pushed
# would be pushed again.
_SUCCESSES = frozenset({CodeClass.ACCEPTED, CodeClass.PARTIAL})
RECLASSABLE = frozenset(CodeClass) - _SUCCESSES

_HEADERS: Mapping[str, str] = {
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": f"push-sidecar/{__version__}",
}

# S0, "API限制": only pushes to all and by tags have a limit; 30 an hour together, by the vendor's documents of 2018.
DOCUMENTED_QUOTAS: Mapping[str, str] = {"all+tag": "30/hour"}


def build(apps: Mapping[str, AppConfig], delivery: Delivery, environment: Mapping[str, str]) -> XgProvider:
    """Build the provider. Call it on the event loop that will serve.

    Raises `ConfigError`.
    """
    # The rules are compiled at their first use (20 ms): better now than in the first push.
    violations(PushRequest())
    check(apps)
    built = {name: _build_app(name, app, delivery, environment) for name, app in apps.items()}
    return XgProvider(built, delivery.target_hash)


def check(apps: Mapping[str, AppConfig]) -> None:
    """Check what only this provider can: `app_id`, the address's end, and the classes of `code_classes`.

    Raises `ConfigError`.
    """
    for name, app in apps.items():
        if ":" in app.app_id:
            raise ConfigError(f"apps.{name}.app_id: must have no colon, which ends the user name in HTTP Basic")
        if not app.app_id.isprintable() or app.app_id != app.app_id.strip():
            raise ConfigError(f"apps.{name}.app_id: must have no space around it, and nothing that cannot be seen")
        if app.base_url.rstrip("/").endswith(PUSH_PATH):
            raise ConfigError(f"apps.{name}.base_url: must end before {PUSH_PATH}, which is added to it")
        _code_classes(name, app)
        _quotas(name, app)


def _build_app(name: str, app: AppConfig, delivery: Delivery, environment: Mapping[str, str]) -> App:
    secret_key = read_secret(name, app, environment)
    credentials = Credentials(app.app_id, secret_key, _HEADERS)
    secrets = []
    if app.secret_key_file is not None:
        key = f"apps.{name}.secret_key_file"
        secrets.append(
            WatchedSecret(app=name, key=key, path=app.secret_key_file, current=secret_key, use=credentials.use)
        )
    return App(
        name=name,
        platform=app.platform,
        default_environment=app.environment,
        credentials=credentials,
        secrets=secrets,
        code_classes=_code_classes(name, app),
        quota_retry_after_s=app.quota_retry_after_s,
        lane=delivery.build_lane(name, app, PUSH_PATH, _quotas(name, app)),
        request_ids=delivery.build_request_ids(name, app),
        pending_bytes=delivery.build_pending_bytes(name, app),
    )


def _quotas(name: str, app: AppConfig) -> tuple[Quota, ...]:
    return quotas_of(name, app, DOCUMENTED_QUOTAS, CALL_CLASSES)


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
