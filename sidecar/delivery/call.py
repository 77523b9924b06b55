"""One call of a caller, as the server hands it to a provider.

It has the call's deadline, its trace, and what is to be done before the first vendor byte. The server makes it;
providers and delivery use it; nobody here knows gRPC.
"""

from collections.abc import Awaitable, Callable

from sidecar.delivery.deadline import Deadline
from sidecar.errors import Sent
from sidecar.telemetry.tracing import CallTrace


class Call:
    """A call in progress.

    `app` and `audience` label the call's telemetry; the provider sets them as soon as it knows them.
    """

    __slots__ = ("_commit", "app", "audience", "deadline", "provider", "sent", "trace")

    def __init__(self, *, deadline: Deadline, trace: CallTrace, commit: Callable[[], Awaitable[None]]) -> None:
        self.deadline = deadline
        self.trace = trace
        self.provider = ""
        self.app = ""
        self.audience = ""
        self.sent = Sent.NO
        self._commit: Callable[[], Awaitable[None]] | None = commit

    async def before_first_byte(self) -> None:
        """Tell the caller's gRPC library that the call is committed, so that none repeats it by itself; once a call.

        Where that failed, or was cut short, it is tried again by the next attempt: without it nothing may be sent.
        """
        if self._commit is not None:
            await self._commit()
            self._commit = None
