"""One push: every check in its order, then acting on it (S1 "Push API").

Must not live here: HTTP, credentials, the shape of answers.
"""

import json
from dataclasses import dataclass, field
from typing import Final, cast

from sidecar.simulator.xg import android, ios
from sidecar.simulator.xg.apps import App
from sidecar.simulator.xg.audience import KINDS, NEW_TASK, Audience, read_audience
from sidecar.simulator.xg.codes import (
    ACCOUNT_UNKNOWN,
    ACCOUNTS_ALL,
    ACCOUNTS_PARTLY,
    CERTIFICATE,
    DEVICE_UNKNOWN,
    MULTI_PLATFORM,
    NOT_JSON_MESSAGE,
    TASK_EXPIRED,
    TOKENS_ALL,
    TOKENS_PARTLY,
    TOO_LARGE,
    Refused,
    missing,
)
from sidecar.simulator.xg.options import Options, read_options
from sidecar.simulator.xg.quota import Quota
from sidecar.simulator.xg.rules import Json, Rule, check, one_of, required_text
from sidecar.simulator.xg.tasks import Task, TaskBook

MAX_MESSAGE_BYTES: Final = 4096
"""S0 "API限制": 4K of `message`, counted as compact JSON in UTF-8 (the unit is not defined)."""

# v2's codes of one target, which "[0]" in S1's sample fits.
TARGET_OK: Final = 0
TOKEN_NOT_REGISTERED: Final = 6
NO_BOUND_DEVICE: Final = 48

_KIND: Final[Rule] = one_of(*KINDS)
_PLATFORM: Final[Rule] = one_of("android", "ios", "all")
_MESSAGE_TYPE: Final[Rule] = one_of("notify", "message")


class QuotaSpent(Exception):
    """The quota is spent for `wait_s` whole seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"quota spent for {wait_s} s")
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Push:
    """A push that passed all checks."""

    message: Json = field(repr=False)
    audience: Audience
    options: Options


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a push: `codes` has one entry per target, none for all and tag pushes."""

    push_id: str
    ret_code: int = 0
    codes: tuple[int, ...] = ()
    accepted: tuple[str, ...] = field(default=(), repr=False)
    devices: int = 0


def read_push(value: object, app: App) -> Push:
    """Check a request's body against the documents and the app it is for; raises Refused."""
    if not isinstance(value, dict):
        raise Refused(NOT_JSON_MESSAGE, "the body must be a JSON object in UTF-8")
    body = cast("Json", value)
    kind = required_text(body, "audience_type")
    platform = required_text(body, "platform")
    message_type = required_text(body, "message_type")
    if body.get("message") is None:
        raise missing("message")
    check(body, {"audience_type": _KIND, "platform": _PLATFORM, "message_type": _MESSAGE_TYPE}, "")
    if platform == "all":
        raise Refused(MULTI_PLATFORM, "platform all is reserved")
    if platform != app.platform:
        raise Refused(CERTIFICATE, "platform is not the app's")
    message = _read_message(body["message"])
    checker = android if platform == "android" else ios
    checker.check_message(message, is_notification=message_type == "notify")
    audience = read_audience(kind, body)
    options = read_options(body, is_ios=platform == "ios", is_broadcast=audience.is_broadcast)
    if platform == "ios" and options.environment not in app.environments:
        raise Refused(CERTIFICATE, "the app has no certificate for the environment")
    return Push(message, audience, options)


def _read_message(value: object) -> Json:
    if not isinstance(value, dict):
        raise Refused(NOT_JSON_MESSAGE, "message must be an object")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_MESSAGE_BYTES:
        raise Refused(TOO_LARGE, f"message has {size} bytes, at most {MAX_MESSAGE_BYTES} are allowed")
    return cast("Json", value)


class Pushes:
    """What acting on pushes changes: tasks and the quota."""

    def __init__(self, tasks: TaskBook, quota: Quota) -> None:
        self.tasks = tasks
        self.quota = quota

    def act(self, push: Push, app: App, now: float) -> Outcome:
        """Push it; raises Refused or QuotaSpent, having changed nothing."""
        match push.audience.kind:
            case "all" | "tag":
                return self._broadcast(push.audience, app, now)
            case "token":
                return self._single_token(push.audience, app)
            case "account":
                return self._single_account(push.audience, app)
            case _:
                return self._list(push, app, now)

    def _broadcast(self, audience: Audience, app: App, now: float) -> Outcome:
        if wait_s := self.quota.take(app.app_id, now):
            raise QuotaSpent(wait_s)
        devices = (
            len(app.devices) if audience.kind == "all" else app.count_tagged_devices(audience.targets, audience.op)
        )
        return Outcome(self.tasks.new_id(), accepted=audience.targets, devices=devices)

    def _single_token(self, audience: Audience, app: App) -> Outcome:
        if not app.knows_device(audience.targets[0]):
            raise Refused(DEVICE_UNKNOWN, "the token is not registered")
        return Outcome(self.tasks.new_id(), codes=(TARGET_OK,), accepted=audience.targets, devices=1)

    def _single_account(self, audience: Audience, app: App) -> Outcome:
        devices = app.count_account_devices(audience.targets[0], audience.account_type)
        if devices is None:
            raise Refused(ACCOUNT_UNKNOWN, "the account is not registered with this account_type")
        if devices == 0:
            return Outcome(self.tasks.new_id(), codes=(NO_BOUND_DEVICE,))
        reached = devices if audience.is_every_device else 1
        return Outcome(self.tasks.new_id(), codes=(TARGET_OK,), accepted=audience.targets, devices=reached)

    def _list(self, push: Push, app: App, now: float) -> Outcome:
        task = self._task(push, app, now)
        targets = push.audience.targets
        if push.audience.kind == "token_list":
            devices = [int(app.knows_device(token)) for token in targets]
            partly, every, bad = TOKENS_PARTLY, TOKENS_ALL, TOKEN_NOT_REGISTERED
        else:
            devices = [app.count_account_devices(account) or 0 for account in targets]
            partly, every, bad = ACCOUNTS_PARTLY, ACCOUNTS_ALL, NO_BOUND_DEVICE
        accepted = tuple(target for target, count in zip(targets, devices, strict=True) if count)
        task.use(push.message, len(accepted))
        ret_code = 0 if len(accepted) == len(targets) else partly if accepted else every
        codes = tuple(TARGET_OK if count else bad for count in devices)
        return Outcome(task.push_id, ret_code, codes, accepted, len(accepted))

    def _task(self, push: Push, app: App, now: float) -> Task:
        if push.audience.push_id == NEW_TASK:
            return self.tasks.create(app.app_id, push.message, now + push.options.life_s)
        task = self.tasks.find(app.app_id, push.audience.push_id, now)
        if task is None:
            raise Refused(TASK_EXPIRED, "push_id is unknown or expired")
        return task
