"""One call of a caller, as the server hands it to a provider.

It has the call's deadline, its trace, and what is to be done before the first vendor byte. The server makes it;
providers and delivery use it; nobody here knows gRPC.
"""

import math
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

from sidecar.delivery.byte_budget import COPIES_OF_REQUEST, ByteBudget
from sidecar.delivery.deadline import Deadline
from sidecar.errors import CallerNotAllowed, Sent
from sidecar.telemetry.tracing import CallTrace


class Withheld(Exception):  # a turn of events, not an error of its own
    """This attempt may not be made now: nothing was sent for it."""


class Claim(Protocol):
    """The hold of a call on its request id."""

    def check(self) -> None:
        """Raise `Withheld` when it is known that the call may not be sent any more."""
        ...

    async def begin_sending(self) -> None:
        """Step to *sending*; raises `Withheld` or `PushError` when the call may not be sent."""
        ...

    def settle_later(self, outcome: Any) -> Any:
        """Have recorded what became of the call: the provider's response, or a `PushError`."""
        ...


class Call:
    """A call in progress.

    `audience` labels the call's telemetry, and so does `app`, which `use_app` sets; the provider does so as soon as it
    knows them. `caller` is who calls, empty where nobody is named in the configuration. `claim` is set while the call
    holds a request id. `attempts` counts the calls to the vendor so far, for a call that ends without an error of
    delivery's. `target_hash` is the keyed hash of its single target, empty unless the configuration asks for it.
    `commit_limit_s`: the wait for its early headers ends by itself within that. `held_bytes` are counted for it until
    `release_bytes`; `is_detached`: a vendor call goes on without the caller, and releases them at its end.
    """

    __slots__ = (
        "_app_bytes", "_commit", "_process_bytes", "allowed_apps", "app", "attempts", "audience", "caller", "claim",
        "commit_limit_s", "deadline", "held_bytes", "is_detached", "provider", "replayed", "sent", "target_hash",
        "trace",
    )  # fmt: skip

    def __init__(
        self,
        *,
        deadline: Deadline,
        trace: CallTrace,
        commit: Callable[[], Awaitable[None]],
        process_bytes: ByteBudget,
        commit_limit_s: float = math.inf,
    ) -> None:
        self.deadline = deadline
        self.trace = trace
        self.provider = ""
        self.app = ""
        self.audience = ""
        self.caller = ""
        # None: all.
        self.allowed_apps: Collection[str] | None = None
        self.sent = Sent.NO
        self.claim: Claim | None = None
        self.replayed = False
        self.attempts = 0
        self.target_hash = ""
        self._commit: Callable[[], Awaitable[None]] | None = commit
        self.commit_limit_s = commit_limit_s
        self._process_bytes = process_bytes
        self._app_bytes: ByteBudget | None = None
        self.held_bytes = 0
        self.is_detached = False

    @property
    def ids(self) -> dict[str, str]:
        """What a log line finds the call again by: its trace, and the hash of its target, as far as there are any."""
        return {"target_hash": self.target_hash, **self.trace.ids} if self.target_hash else self.trace.ids

    def may_use(self, app: str) -> bool:
        """Whether the caller may use an app."""
        return self.allowed_apps is None or app in self.allowed_apps

    def use_app(self, app: str) -> None:
        """Note which app the call is for: before anything is done with it.

        Raises `CallerNotAllowed`.
        """
        self.app = app
        if not self.may_use(app):
            raise CallerNotAllowed(f"app: the caller {self.caller} may not use it")

    def hold_request(self, size: int) -> None:
        """Count a request of `size` bytes, before it is read.

        Raises `Overloaded`.
        """
        size *= COPIES_OF_REQUEST
        self._process_bytes.charge(size, own=self.held_bytes)
        self.held_bytes += size

    def hold_body(self, size: int, app_bytes: ByteBudget) -> None:
        """Count a body of `size` bytes; from here on all that the call holds counts for its app, too.

        Raises `Overloaded`.
        """
        self._process_bytes.charge(size, own=self.held_bytes)
        self.held_bytes += size
        app_bytes.charge(self.held_bytes, own=0)
        self._app_bytes = app_bytes

    def hold_answer(self, size: int) -> None:
        """Count `size` bytes of an answer that has come. It is never refused: the push is out."""
        self._process_bytes.overdraw(size)
        if self._app_bytes is not None:
            self._app_bytes.overdraw(size)
        self.held_bytes += size

    def release_bytes(self) -> None:
        """Count nothing for this call any more."""
        self._process_bytes.release(self.held_bytes)
        if self._app_bytes is not None:
            self._app_bytes.release(self.held_bytes)
        self.held_bytes = 0

    async def before_first_byte(self) -> None:
        """Do what must be done before the first byte of every attempt; when it fails, nothing may be sent.

        The request id steps to *sending*; then the caller's gRPC library is told that the call is committed, so that
        none repeats it by itself. That is once a call: the server remembers it for the attempts that come later.

        Raises `Withheld` or `PushError` when the call may not be sent, and what the server raises for a caller who
        is gone.
        """
        if self.claim is not None:
            await self.claim.begin_sending()
        if self._commit is not None:
            await self._commit()
            self._commit = None
        self.sent = Sent.MAYBE
