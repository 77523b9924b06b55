"""One listener for callers: a gRPC server of its own, since gRPC does not tell through which address a call came."""

import asyncio
import grp
import ipaddress
import logging
import os
from pathlib import Path

import grpc

from sidecar.config import ListenerConfig
from sidecar.server.activity import Activity
from sidecar.server.address import UNIX_PREFIX, BindError, path_of, probe_unix, split_host_port, with_port
from sidecar.server.stopping import stop_within
from sidecar.server.tls import ListenerTls

# After the last call, how long its answer may take to reach a peer before the stop goes on.
LINGER_S = 1.0
# Nobody may connect to a socket before it has its group.
_PRIVATE_UMASK = 0o177


_log = logging.getLogger(__name__)


class Listener:
    """One address of a gRPC server. `address` is where it really listens; `key` is its key in the configuration.

    `activity` counts the calls of all listeners.
    """

    def __init__(
        self,
        key: str,
        config: ListenerConfig,
        *,
        tls: ListenerTls | None,
        server: grpc.aio.Server,
        activity: Activity,
    ) -> None:
        self._key = key
        self._config = config
        self._tls = tls
        self._server = server
        self._activity = activity
        self.address = config.listen

    async def start(self) -> None:
        """Bind and serve.

        Raises `BindError` when the address cannot be bound.
        """
        listen = self._config.listen
        if listen.startswith(UNIX_PREFIX):
            self._bind_socket(Path(path_of(listen)))
        else:
            port = self._bind()
            if self._tls is None and not _is_loopback(split_host_port(self._key, listen)[0]):
                _log.warning("callers beyond this machine reach it without TLS", extra={"listen": listen})
            self.address = with_port(listen, port)
        await self._server.start()

    def _bind(self) -> int:
        listen = self._config.listen
        try:
            if self._tls is None:
                return self._server.add_insecure_port(listen)
            return self._server.add_secure_port(listen, self._tls.credentials)
        except RuntimeError as error:
            raise BindError(f"{self._key}.listen: {listen} cannot be bound: {error}") from None

    def _bind_socket(self, path: Path) -> None:
        """Bind a socket with its group and mode: the application runs as another user than the sidecar."""
        group, mode = self._config.socket_group, int(self._config.socket_mode, 8)
        # Once more: another listener of this process may have it by now.
        probe_unix(f"{self._key}.listen", self._config.listen)
        umask = os.umask(~mode & 0o777 if group is None else _PRIVATE_UMASK)
        try:
            self._bind()
        finally:
            os.umask(umask)
        if group is not None:
            self._give_to(group, path, mode)

    def _give_to(self, group: str, path: Path, mode: int) -> None:
        try:
            number = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
            os.chown(path, -1, number, follow_symlinks=False)
            path.chmod(mode)
        except (KeyError, OSError) as error:
            path.unlink(missing_ok=True)
            why = error.strerror if isinstance(error, OSError) else "no such group"
            raise BindError(f"{self._key}.socket_group: {path} cannot be given to the group {group}: {why}") from None

    async def stop(self, grace_s: float) -> None:
        """Close the address at once, tell clients to go elsewhere, and let calls end within the grace.

        Peers that have no call and do not leave, or do not read their answers, are cut off soon after the last call.
        """
        stopping = asyncio.ensure_future(self._server.stop(grace_s))
        idle = asyncio.ensure_future(self._activity.wait_until_idle())
        await asyncio.wait({stopping, idle}, timeout=grace_s + LINGER_S, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await asyncio.wait({stopping}, timeout=LINGER_S)
        await stop_within(LINGER_S, f"{self._key}.listen", self._cut_off(stopping))

    async def _cut_off(self, stopping: asyncio.Future[None]) -> None:
        if not stopping.done():
            await self._server.stop(0)
        await stopping


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
