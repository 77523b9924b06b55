"""The simulator as a whole: puts its parts together, starts and stops them.

The only file here that knows which vendor is simulated. Must not live here: what any part does.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from sidecar.simulator import own_calls
from sidecar.simulator.admin import PREFIX, Admin
from sidecar.simulator.endpoint import Endpoint
from sidecar.simulator.exchange import Delivery
from sidecar.simulator.faults import Fault, FaultScript
from sidecar.simulator.listener import CountingServer, Listener
from sidecar.simulator.record import Journal, Record
from sidecar.simulator.tls import CA_FILE_NAME, build_server_context
from sidecar.simulator.xg.apps import ANDROID_APP_ID, IOS_APP_ID, App
from sidecar.simulator.xg.quota import Quota
from sidecar.simulator.xg.vendor import XgVendor


class Simulator:
    """A local vendor on its own address; use it as an async context manager, on any asyncio loop.

    `names` are further host names or addresses in its certificate. `clock` decides about quotas and the life
    of list tasks, not about latencies.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: bool = True,
        names: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        quota: Quota | None = None,
        keepalive_timeout_s: float = 75.0,
        body_timeout_s: float = 60.0,
    ) -> None:
        self._host = host
        self._port = port
        self._has_tls = tls
        self._names = tuple(names)
        self._keepalive_timeout_s = keepalive_timeout_s
        self._journal = Journal()
        self._script = FaultScript()
        self.vendor = XgVendor(clock, quota)
        self._endpoint = Endpoint(self.vendor, self._journal, self._script, clock, body_timeout_s)
        self._body_timeout_s = body_timeout_s
        self._directory: Path | None = None
        self._listener: Listener | None = None
        self._server: CountingServer | None = None

    async def __aenter__(self) -> Self:
        directory = self._directory = Path(tempfile.mkdtemp(prefix="push-sidecar-simulator-"))
        try:
            context = build_server_context(directory, [*self._names, self._host]) if self._has_tls else None
            self._listener = Listener(self._host, self._port, context)
            own = own_calls.OwnCalls(self._journal, self._script, self._listener, self._back_to_start)
            self._admin = Admin(self._body_timeout_s)
            own_calls.register(self._admin, own, self.vendor)
            self._server = CountingServer(self._serve, keepalive_timeout_s=self._keepalive_timeout_s)
            await self._listener.open(self._server)
        except BaseException:
            shutil.rmtree(directory)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open_listener.close()
        shutil.rmtree(self.directory)

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.headers.get("Expect", "").lower() == "100-continue":
            await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            http.writer.output_size = 0
        if http.path.startswith(PREFIX):
            return await self._admin.serve(http)
        number = 0 if self._server is None else self._server.number_of(http)
        return await self._endpoint.serve(http, number)

    @property
    def base_url(self) -> str:
        """The address for the sidecar's configuration, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._has_tls else 'http'}://{host}:{self.port}"

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._open_listener.port

    @property
    def directory(self) -> Path:
        """The simulator's own directory, which goes when it stops."""
        if self._directory is None:
            raise RuntimeError("the simulator has not been started")
        return self._directory

    @property
    def ca_file(self) -> Path:
        """The certificate authority to trust."""
        if not self._has_tls:
            raise RuntimeError("the simulator runs without TLS")
        return self.directory / CA_FILE_NAME

    @property
    def apps(self) -> dict[str, App]:
        """The registered apps by their ids."""
        return self.vendor.apps

    @property
    def android(self) -> App:
        """The Android app of the start."""
        return self.apps[ANDROID_APP_ID]

    @property
    def ios(self) -> App:
        """The iOS app of the start."""
        return self.apps[IOS_APP_ID]

    @property
    def quota(self) -> Quota:
        """The quota of all and tag pushes; set `limit` to None to turn it off."""
        return self.vendor.quota

    @property
    def records(self) -> list[Record]:
        """The newest requests to the vendor, oldest first."""
        return self._journal.requests.items()

    @property
    def deliveries(self) -> list[Delivery]:
        """The newest pushes that the vendor acted on, whether or not the caller saw an answer."""
        return self._journal.deliveries.items()

    @property
    def received(self) -> int:
        """How many requests to the vendor came, kept or not."""
        return self._journal.requests.total

    @property
    def delivered(self) -> int:
        """How many pushes the vendor acted on, kept or not."""
        return self._journal.deliveries.total

    def script(self, *faults: Fault) -> None:
        """Arm faults; the first armed that matches a request strikes."""
        for fault in faults:
            self._script.add(fault)

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._script.clear()

    def reset(self) -> None:
        """Forget records and faults and go back to the registered state of the start."""
        self._journal.clear()
        self._script.clear()
        self.vendor.reset()

    async def refuse_connections(self, seconds: float | None = None, *, drop_connections: bool = True) -> None:
        """Close the listener for a while, or until `accept_connections`; idle connections go too."""
        await self._open_listener.refuse(seconds, drop_connections=drop_connections)

    async def accept_connections(self) -> None:
        """Listen again, on the same port."""
        await self._open_listener.accept()

    async def _back_to_start(self) -> None:
        self.reset()

    @property
    def _open_listener(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("the simulator has not been started")
        return self._listener
