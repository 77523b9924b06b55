"""The simulated XG vendor: from request to answer (S0 "请求方式", S1 "Push API应答参数").

Owns the order of the checks before the body's and the shape of every answer.
Must not live here: the checks of the body, faults, records.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final, cast

from sidecar.simulator.exchange import REASON_HEADER, AdminCall, Delivery, Labels, Reply, Request, refuse_by_status
from sidecar.simulator.xg import codes, state_calls
from sidecar.simulator.xg.apps import App, build_first_apps
from sidecar.simulator.xg.credentials import app_id_of, find_app
from sidecar.simulator.xg.options import PRODUCT, environment_of, seq_of
from sidecar.simulator.xg.push import Outcome, Push, Pushes, QuotaSpent, read_push
from sidecar.simulator.xg.quota import Quota
from sidecar.simulator.xg.tasks import TaskBook

PUSH_PATH: Final = "/v3/push/app"
_NO_PUSH_ID: Final = "0"
_OK: Final = 200


class XgVendor:
    """XG with its apps, tasks and quota."""

    name = "xg"
    secret_headers: frozenset[str] = frozenset()  # its one secret is in Authorization

    def __init__(self, clock: Callable[[], float], quota: Quota | None = None) -> None:
        self._clock = clock
        self.apps: dict[str, App] = build_first_apps()
        self.quota = Quota() if quota is None else quota
        self._first_quota = self.quota.settings()
        self._pushes = Pushes(TaskBook(), self.quota)

    @property
    def tasks(self) -> TaskBook:
        """The push tasks."""
        return self._pushes.tasks

    def reset(self) -> None:
        """Go back to the two apps of the start, without tasks, with the quota of the start unused."""
        self.apps.clear()
        self.apps.update(build_first_apps())
        self._pushes.tasks = TaskBook()
        self.quota.restore(self._first_quota)

    def labels(self, request: Request) -> Labels:
        """Return what faults may be matched by."""
        body = request.body if isinstance(request.body, dict) else {}
        audience = body.get("audience_type")
        kind = audience if isinstance(audience, str) else ""
        return Labels(
            app_id=app_id_of(request.headers),
            audience=kind,
            tokens=_strings(body.get("token_list")) if kind in {"token", "token_list"} else (),
            accounts=_strings(body.get("account_list")) if kind in {"account", "account_list"} else (),
        )

    def answer(self, request: Request) -> Reply:
        """Check method, path, credentials, content type and coding, JSON and the push; act on it; answer."""
        if request.path != PUSH_PATH:
            return refuse_by_status(404, f"the path must be {PUSH_PATH}")
        if request.method != "POST":  # S0: only POST
            return refuse_by_status(405, "the method must be POST", {"Allow": "POST"})
        try:
            app = find_app(request.headers, self.apps)
            if not _is_json_type(request.headers.get("content-type", "")):
                return refuse_by_status(415, "the content type must be application/json in UTF-8")
            if not _is_plain(request.headers.get("content-encoding", "")):
                return refuse_by_status(415, "the body must have no content coding", {"Accept-Encoding": "identity"})
            push = read_push(request.body, app)
            outcome = self._pushes.act(push, app, request.time)
        except codes.Refused as refused:
            return self._refusal(request, refused.code, None, refused.reason)
        except QuotaSpent as spent:
            return self._overflow(request, spent.wait_s)
        return self._accepted(request, push, app, outcome)

    def refuse(self, request: Request, code: int, message: str | None, result: object) -> Reply:
        """Return a refusal with the given code; a list or object as `result` is written as a string (S1)."""
        reply = self._refusal(request, code, message, None)
        if result is not None:
            written = result if isinstance(result, str) else json.dumps(result, separators=(",", ":"))
            cast("dict[str, object]", reply.json)["result"] = written
        return reply

    def admin_calls(self) -> Mapping[tuple[str, str], AdminCall]:
        """Return the calls that show and change apps, devices, accounts, tags, quota and tasks."""
        return state_calls.build(self.apps, self.quota, lambda: self.tasks, self._clock)

    def _accepted(self, request: Request, push: Push, app: App, outcome: Outcome) -> Reply:
        options, audience = push.options, push.audience
        # S1's answer to an Android push has "product" although only iOS has environments.
        environment = options.environment if app.platform == "ios" else PRODUCT
        body: dict[str, object]
        if audience.is_broadcast:  # S1's sample of a tag push: neither err_msg nor result
            body = {"seq": options.seq, "environment": environment, "ret_code": 0, "push_id": outcome.push_id}
        else:
            message = codes.MESSAGES[outcome.ret_code] if outcome.ret_code else ""
            body = {
                "seq": options.seq,
                "push_id": outcome.push_id,
                "ret_code": outcome.ret_code,
                "environment": environment,
                "err_msg": message,
                "result": f"[{','.join(map(str, outcome.codes))}]",
            }
        delivery = None
        if audience.is_broadcast or outcome.accepted:
            delivery = Delivery(
                request.number,
                request.time,
                self.name,
                app.app_id,
                audience.kind,
                outcome.push_id,
                options.seq,
                outcome.devices,
                outcome.accepted,
            )
        return Reply(_OK, body, delivery=delivery)

    def _refusal(self, request: Request, code: int, message: str | None, reason: str | None) -> Reply:
        body = {
            "seq": seq_of(request.body),
            "push_id": _NO_PUSH_ID,
            "ret_code": code,
            "environment": environment_of(request.body),
            "err_msg": codes.MESSAGES.get(code, codes.OTHER) if message is None else message,
        }
        headers = {} if reason is None else {REASON_HEADER: reason}
        return Reply(_OK, body, headers=headers, reason=reason)

    def _overflow(self, request: Request, wait_s: int) -> Reply:
        reason = "the quota of all and tag pushes is spent"
        if self.quota.overflow_ret_code:
            return self._refusal(request, self.quota.overflow_ret_code, None, reason)
        return refuse_by_status(self.quota.overflow_status, reason, {"Retry-After": str(wait_s)})


def _is_json_type(content_type: str) -> bool:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    return media == "application/json" and all(charset in {"utf-8", "utf8"} for charset in charsets)


def _is_plain(content_encoding: str) -> bool:
    return all(coding.strip().lower() in {"", "identity"} for coding in content_encoding.split(","))


def _strings(values: object) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()
