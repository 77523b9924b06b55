"""The admin calls of the simulated XG vendor: apps, devices, accounts, tags, quota, tasks.

Must not live here: HTTP, records and faults (they are the simulator's own).
"""

from collections.abc import Callable, Mapping

from sidecar.simulator.exchange import AdminCall
from sidecar.simulator.fields import Fields
from sidecar.simulator.xg.apps import App
from sidecar.simulator.xg.options import ENVIRONMENTS
from sidecar.simulator.xg.quota import Quota
from sidecar.simulator.xg.tasks import TaskBook

_INT32_MAX = 2**31 - 1


class _Calls:
    """Each method is one call: JSON in (None without a body), JSON out; raises InputError."""

    def __init__(
        self,
        apps: dict[str, App],
        quota: Quota,
        tasks: Callable[[], TaskBook],
        clock: Callable[[], float],
    ) -> None:
        self._apps = apps
        self._quota = quota
        self._tasks = tasks
        self._clock = clock

    def show_apps(self, _: object) -> object:
        return {
            "apps": [
                {
                    "app_id": app.app_id,
                    "secret_key": app.secret_key,
                    "platform": app.platform,
                    "environments": sorted(app.environments),
                }
                for app in self._apps.values()
            ]
        }

    def add_app(self, body: object) -> object:
        fields = Fields(body)
        platform = fields.text("platform")
        environments = frozenset(fields.texts("environments") or ENVIRONMENTS)
        app = App(fields.text("app_id"), fields.text("secret_key"), platform, environments)
        fields.end()
        if ":" in app.app_id:
            raise fields.bad("app_id", "must not hold a colon, which ends it in Basic credentials")
        if platform not in {"android", "ios"}:
            raise fields.bad("platform", "must be android or ios")
        if not environments <= set(ENVIRONMENTS):
            raise fields.bad("environments", f"must be of {', '.join(ENVIRONMENTS)}")
        self._apps[app.app_id] = app
        return {"app_id": app.app_id}

    def show_devices(self, _: object) -> object:
        return self._per_app(lambda app: {"tokens": sorted(app.devices), "prefixes": list(app.token_prefixes)})

    def add_devices(self, body: object) -> object:
        fields = Fields(body)
        app = self._app(fields)
        tokens, prefixes = fields.texts("tokens"), fields.texts("prefixes")
        fields.end()
        app.register_devices(tokens)
        app.accept_prefixes(tokens=prefixes)
        return {"devices": len(app.devices)}

    def remove_devices(self, body: object) -> object:
        fields = Fields(body)
        app = self._app(fields)
        tokens = fields.texts("tokens")
        fields.end()
        app.forget_devices(tokens)
        return {"devices": len(app.devices)}

    def show_accounts(self, _: object) -> object:
        return self._per_app(
            lambda app: {
                "accounts": [
                    {"account": account, "account_type": kind, "tokens": list(tokens)}
                    for account, bindings in sorted(app.accounts.items())
                    for kind, tokens in sorted(bindings.items())
                ],
                "prefixes": list(app.account_prefixes),
            }
        )

    def add_accounts(self, body: object) -> object:
        fields = Fields(body)
        app = self._app(fields)
        account, prefixes = fields.optional_text("account"), fields.texts("prefixes")
        tokens = fields.texts("tokens")
        kind = fields.integer("account_type", low=0, high=_INT32_MAX, default=0)
        fields.end()
        if not account and not prefixes:
            raise fields.bad("account", "or prefixes must be given")
        if account:
            app.bind_account(account, tokens, kind)
        app.accept_prefixes(accounts=prefixes)
        return {"accounts": len(app.accounts)}

    def show_tags(self, _: object) -> object:
        return self._per_app(lambda app: {"tags": {tag: sorted(tokens) for tag, tokens in sorted(app.tags.items())}})

    def add_tags(self, body: object) -> object:
        fields = Fields(body)
        app = self._app(fields)
        tag, tokens = fields.text("tag"), fields.texts("tokens")
        fields.end()
        app.tag_devices(tag, tokens)
        return {"tags": len(app.tags)}

    def show_quota(self, _: object) -> object:
        now = self._clock()
        return {
            "limit": self._quota.limit,
            "window_s": self._quota.window_s,
            "overflow_status": self._quota.overflow_status,
            "overflow_ret_code": self._quota.overflow_ret_code,
            "used": {app_id: self._quota.count_used(app_id, now) for app_id in self._apps},
        }

    def set_quota(self, body: object) -> object:
        fields = Fields(body)
        limit = fields.optional_integer("limit", low=0, high=_INT32_MAX)
        status = fields.integer("overflow_status", low=400, high=599, default=self._quota.overflow_status)
        code = fields.integer("overflow_ret_code", low=0, high=_INT32_MAX, default=self._quota.overflow_ret_code)
        fields.end()
        if fields.given("limit"):
            self._quota.limit = limit
        self._quota.overflow_status = status
        self._quota.overflow_ret_code = code
        return self.show_quota(None)

    def show_tasks(self, _: object) -> object:
        return {"tasks": [task.to_json() for task in self._tasks().all()]}

    def _app(self, fields: Fields) -> App:
        app = self._apps.get(fields.text("app_id"))
        if app is None:
            raise fields.bad("app_id", f"is unknown; known: {', '.join(self._apps)}")
        return app

    def _per_app(self, show: Callable[[App], object]) -> object:
        return {"apps": {app_id: show(app) for app_id, app in self._apps.items()}}


def build(
    apps: dict[str, App], quota: Quota, tasks: Callable[[], TaskBook], clock: Callable[[], float]
) -> Mapping[tuple[str, str], AdminCall]:
    """Return the calls by method and name."""
    calls = _Calls(apps, quota, tasks, clock)
    return {
        ("GET", "apps"): calls.show_apps,
        ("POST", "apps"): calls.add_app,
        ("GET", "devices"): calls.show_devices,
        ("POST", "devices"): calls.add_devices,
        ("DELETE", "devices"): calls.remove_devices,
        ("GET", "accounts"): calls.show_accounts,
        ("POST", "accounts"): calls.add_accounts,
        ("GET", "tags"): calls.show_tags,
        ("POST", "tags"): calls.add_tags,
        ("GET", "quota"): calls.show_quota,
        ("POST", "quota"): calls.set_quota,
        ("GET", "tasks"): calls.show_tasks,
    }
