"""The contract of a provider: what the server needs to know of a vendor, and nothing more."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import Message

from sidecar.delivery.call import Call
from sidecar.secrets import WatchedSecret


@dataclass(frozen=True, slots=True)
class Method:
    """A unary RPC. `serve` returns the response or raises a `PushError`."""

    request_type: type[Message]
    serve: Callable[[Any, Call], Awaitable[Message]]


class Provider(Protocol):
    """One vendor."""

    @property
    def name(self) -> str:
        """The vendor's name in configuration and telemetry."""
        ...

    @property
    def services(self) -> Mapping[str, Mapping[str, Method]]:
        """Full service name -> method name -> method."""
        ...

    @property
    def secrets(self) -> Sequence[WatchedSecret]:
        """The files of secrets that are watched."""
        ...

    def stop(self) -> None:
        """Refuse the calls that have not been started, and every later one."""
        ...

    async def aclose(self) -> None:
        """Wait for the vendor calls that are still running, and close the connections."""
        ...
