"""`pushsidecar.xg.v1.PushService`: from request to response, over the pure parts beside it and one lane per app."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pushsidecar.xg.v1 import push_service_pb2 as pb
from sidecar.delivery.byte_budget import ByteBudget
from sidecar.delivery.call import Call
from sidecar.delivery.idempotency import Idempotency, fingerprint
from sidecar.delivery.lane import Lane
from sidecar.delivery.outgoing import Outgoing
from sidecar.errors import InvalidRequest, UnknownApp, Violation
from sidecar.providers.provider import Method
from sidecar.providers.xg.bounds import check_message_bound
from sidecar.providers.xg.codes import CodeClass
from sidecar.providers.xg.credentials import Credentials
from sidecar.providers.xg.read import Question, read
from sidecar.providers.xg.render import FORMS, render
from sidecar.providers.xg.rules import violations
from sidecar.secrets import WatchedSecret
from sidecar.target_hash import TargetHash
from sidecar.transport.reply import Reply

# S1, "调用地址".
PUSH_PATH = "/v3/push/app"

# "Could not create the task" is not repeated for these: if it did go out after all, it went to everybody.
_BROADCAST_AUDIENCES = frozenset({"all", "tag"})

# What the vendor's quotas are for, by audience.
CALL_CLASSES: Mapping[str, str] = {
    "all": "all",
    "tag": "tag",
    "token": "single",
    "account": "single",
    "token_list": "list",
    "account_list": "list",
}


@dataclass(frozen=True, slots=True)
class App:
    """One configured app."""

    name: str
    platform: str
    default_environment: str
    credentials: Credentials = field(repr=False)
    secrets: Sequence[WatchedSecret]
    code_classes: Mapping[int, CodeClass]
    quota_retry_after_s: float
    lane: Lane = field(repr=False)
    request_ids: Idempotency = field(repr=False)
    pending_bytes: ByteBudget = field(repr=False)


class XgProvider:
    """Tencent XG push v3."""

    name = "xg"

    def __init__(self, apps: Mapping[str, App], target_hash: TargetHash | None = None) -> None:
        self._apps = apps
        self._target_hash = target_hash
        self.services: Mapping[str, Mapping[str, Method]] = {
            pb.DESCRIPTOR.services_by_name["PushService"].full_name: {"Push": Method(pb.PushRequest, self.push)}
        }

    @property
    def secrets(self) -> Sequence[WatchedSecret]:
        """The files of secrets that are watched."""
        return [secret for app in self._apps.values() for secret in app.secrets]

    async def push(self, request: pb.PushRequest, call: Call) -> pb.PushResponse:
        """Make one push.

        Raises a `PushError`: `InvalidRequest`, `MessageTooLarge`, `UnknownApp` and `CallerNotAllowed` here, the others
        from delivery.
        """
        call.provider = self.name
        call.audience = request.WhichOneof("audience") or ""
        if self._target_hash is not None and (target := _single_target(request)):
            call.target_hash = self._target_hash.of(target)
        check_message_bound(request)
        broken = violations(request)
        if broken and not request.app and request.WhichOneof("message") is None:
            raise InvalidRequest(broken)  # which app is meant follows from the message
        try:
            app = self._app_for(request, call)
        except UnknownApp as unknown:
            if not broken:
                raise
            raise InvalidRequest([*unknown.violations, *broken]) from None
        call.use_app(app.name)
        platform = _platform(request)
        if platform and platform != app.platform:
            broken = [_wrong_platform(app, platform), *broken]
        if broken:
            raise InvalidRequest(broken)
        rendered = render(request, default_environment=app.default_environment)
        call.hold_body(len(rendered.body), app.pending_bytes)
        if request.validate_only:
            return pb.PushResponse(outcome=pb.OUTCOME_VALIDATED, rendered_request=rendered.body.decode())
        if not request.request_id:
            return await self._deliver(request, rendered.body, app, call)
        # The app is in the id's scope already.
        content = fingerprint(request, without=("app", "request_id"))
        response = await app.request_ids.once(
            call,
            request.request_id,
            content,
            pb.PushResponse,
            lambda: self._deliver(request, rendered.body, app, call),
        )
        response.replayed = call.replayed
        return response

    def stop(self) -> None:
        """Refuse what waits, and whatever comes."""
        for app in self._apps.values():
            app.lane.close()
            app.request_ids.close()

    async def aclose(self) -> None:
        """Let running vendor calls end, then close the connections."""
        for app in self._apps.values():
            await app.lane.aclose()
            await app.request_ids.aclose()

    async def _deliver(self, request: pb.PushRequest, body: bytes, app: App, call: Call) -> pb.PushResponse:
        question = Question(request, app.name, app.code_classes, app.quota_retry_after_s)

        def read_reply(reply: Reply, attempt: int) -> pb.PushResponse:
            response = read(reply, question)
            response.attempts = attempt
            response.vendor_latency.FromNanoseconds(int(reply.elapsed_s * 1e9))
            return response

        is_repeatable_when_busy = call.audience not in _BROADCAST_AUDIENCES
        outgoing = Outgoing(app.credentials.headers, body, CALL_CLASSES[call.audience], is_repeatable_when_busy)
        return await app.lane.deliver(call, outgoing, read_reply)

    def _app_for(self, request: pb.PushRequest, call: Call) -> App:
        if request.app:
            if (app := self._apps.get(request.app)) is None:
                raise UnknownApp("names no configured app")
            return app
        platform = _platform(request)
        fitting = [
            app for app in self._apps.values() if (not platform or app.platform == platform) and call.may_use(app.name)
        ]
        if len(fitting) == 1:
            return fitting[0]
        how_many = "several apps are" if fitting else "no app is"
        raise UnknownApp(f"is empty, and {how_many} configured for the platform {platform or '(none given)'}")


def _single_target(request: pb.PushRequest) -> str:
    """Return the one token or account that a push is to; empty when it is to others."""
    return request.token or request.account.account


def _platform(request: pb.PushRequest) -> str:
    form = FORMS.get(request.WhichOneof("message") or "")
    return form.platform if form else ""


def _wrong_platform(app: App, platform: str) -> Violation:
    return Violation("app", "app.platform", f"is registered for {app.platform}; the message is for {platform}")
