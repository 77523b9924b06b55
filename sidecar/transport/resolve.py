"""Looks host names up, for everything that connects: vendors, proxies and Redis.

A name never waits for another name's lookup, and nothing waits for a name server that is silent: neither a call beyond
its limit, nor the stop. Each lookup runs in a daemon thread of its own, by the system's `getaddrinfo`, which knows
`nsswitch.conf` and `/etc/hosts` and cannot be cancelled. The event loop's own lookups must not be used beside this
module: uvloop gives them two threads for all names. Knows no HTTP.
"""

import asyncio
import errno
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

# A found address is used for so long without another lookup, in seconds.
TTL_S = 10.0
# How long an address may be used beyond that while lookups hang or fail (`dns.stale_s`), in seconds.
STALE_S = 3600.0
# Names that are looked up at the same time; the others wait for a thread.
MAX_THREADS = 32

# How long a caller waits for a new lookup when there is an older address that it can use, in seconds. A name server
# that works answers sooner, so a changed address is seen at once.
_PATIENCE_S = 0.5
# After a failed lookup the older address is used for so long before the next one, in seconds.
_RETRY_S = 1.0

GetAddrInfo = Callable[..., Sequence[tuple[Any, ...]]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect to: the family of the socket, an IP address, and IPv6's scope (0 for none)."""

    family: int
    ip: str
    port: int
    scope_id: int = 0

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The argument of `socket.connect`."""
        if self.family == socket.AF_INET6:
            return (self.ip, self.port, 0, self.scope_id)
        return (self.ip, self.port)

    @property
    def host(self) -> str:
        """The IP address as a text that names its scope, too."""
        return f"{self.ip}%{self.scope_id}" if self.scope_id else self.ip


class Resolver:
    """Keeps what was found, and looks up what was not. It belongs to one event loop."""

    def __init__(
        self,
        *,
        stale_s: float = STALE_S,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        now: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
        max_threads: int = MAX_THREADS,
    ) -> None:
        self._stale_s = stale_s
        self._getaddrinfo = getaddrinfo
        self._now = now
        self._patience_s = patience_s
        self._max_threads = max_threads
        self._names: dict[str, _Name] = {}
        self._running = 0
        self._queue: deque[_Name] = deque()

    def known(self, host: str, port: int) -> list[Address] | None:
        """Return the addresses of an IP address, or of a name that was looked up shortly before; else None."""
        if (literal := _literal(host, port)) is not None:
            return [literal]
        name = self._names.get(host)
        if name is None or self._now() >= name.lookup_at or not self._is_usable(name):
            return None
        return name.addresses(port)

    async def lookup(self, host: str, port: int, timeout_s: float) -> list[Address]:
        """Return the addresses of a host in the system's order, at least one.

        It joins the lookup of this name that is under way. While that hangs, and after it failed, the last good
        addresses are returned, for `stale_s`.

        Raises `OSError`, mostly `socket.gaierror`, when there are none, and none came within `timeout_s`.
        """
        if (known := self.known(host, port)) is not None:
            return known
        name = self._names.setdefault(host, _Name(host))
        lookup = name.lookup or self._begin(name)
        wait_s = timeout_s
        if self._is_usable(name):
            wait_s = 0.0 if name.is_ailing else min(self._patience_s, timeout_s)
        if wait_s > 0:
            await asyncio.wait({lookup.is_over}, timeout=wait_s)
        if not lookup.is_over.done():
            self._ail(name, "no answer")
        if self._is_usable(name):
            return name.addresses(port)
        if lookup.failure is not None:
            # One of its own for each caller: a raised exception collects tracebacks.
            raise type(lookup.failure)(*lookup.failure.args)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer from the name server in time")

    def _is_usable(self, name: "_Name") -> bool:
        return bool(name.found) and self._now() - name.found_at < TTL_S + self._stale_s

    def _begin(self, name: "_Name") -> "_Lookup":
        name.lookup = lookup = _Lookup()
        self._queue.append(name)
        self._start_threads()
        return lookup

    def _start_threads(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._running < self._max_threads:
            name = self._queue.popleft()
            self._running += 1
            # A daemon: the end of the process does not wait for it. An executor's threads are waited for.
            thread = threading.Thread(target=self._run, args=(name, loop), name="lookup", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no thread left
                loop.call_soon(self._end, name, OSError(errno.EAGAIN, str(error)))

    def _run(self, name: "_Name", loop: asyncio.AbstractEventLoop) -> None:
        """Look a name up, in a thread."""
        outcome = look_up(name.host, self._getaddrinfo)
        try:
            loop.call_soon_threadsafe(self._end, name, outcome)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
            return

    def _end(self, name: "_Name", outcome: "list[Address] | OSError") -> None:
        lookup, name.lookup = name.lookup, None
        assert lookup is not None  # noqa: S101  # `_begin` of this lookup
        self._running -= 1
        now = self._now()
        if isinstance(outcome, OSError):
            lookup.failure = outcome
            name.lookup_at = now + _RETRY_S
            self._ail(name, outcome.strerror or str(outcome))
        else:
            name.found, name.found_at, name.lookup_at = outcome, now, now + TTL_S
            if name.is_ailing:
                name.is_ailing = False
                _log.info("a host name is looked up again", extra={"host": name.host})
        lookup.is_over.set_result(None)
        self._start_threads()

    def _ail(self, name: "_Name", cause: str) -> None:
        """Note that lookups of a name hang or fail. Where there is no older address, the calls that fail tell of it."""
        if not name.is_ailing and self._is_usable(name):
            name.is_ailing = True
            _log.warning(
                "a host name cannot be looked up: its last good address is used",
                extra={"host": name.host, "cause": cause},
            )


class _Lookup:
    """One lookup, which any number of callers wait for. `failure` is set before it is over."""

    __slots__ = ("failure", "is_over")

    def __init__(self) -> None:
        self.is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failure: OSError | None = None


class _Name:
    """What is known of one name."""

    __slots__ = ("found", "found_at", "host", "is_ailing", "lookup", "lookup_at")

    def __init__(self, host: str) -> None:
        self.host = host
        self.found: list[Address] = []
        self.found_at = 0.0
        # When to look it up again, where `found` can be used until then.
        self.lookup_at = 0.0
        self.lookup: _Lookup | None = None
        # Its lookups hang or fail, so that nobody waits for one who can use `found`.
        self.is_ailing = False

    def addresses(self, port: int) -> list[Address]:
        return [Address(each.family, each.ip, port, each.scope_id) for each in self.found]


def look_up(host: str, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> list[Address] | OSError:
    """Look a name up, for as long as it takes; returns its addresses, with port 0, or why there are none."""
    try:
        infos = getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = [_address(family, sockaddr) for family, _, _, _, sockaddr in infos if family in _FAMILIES]
        return found or socket.gaierror(socket.EAI_NONAME, "it has no IP address")
    except OSError as error:
        return error
    except Exception as error:  # noqa: BLE001  # such as UnicodeError for what cannot be a name; callers wait for an end
        return socket.gaierror(socket.EAI_FAIL, type(error).__name__)


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _address(family: int, sockaddr: Sequence[Any]) -> Address:
    return Address(family, sockaddr[0], 0, sockaddr[3] if family == socket.AF_INET6 else 0)


def _literal(host: str, port: int) -> Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if address.version == 4:  # noqa: PLR2004
        return Address(socket.AF_INET, host, port)
    ip, _, scope = host.partition("%")
    return Address(socket.AF_INET6, ip, port, _scope_id(scope) if scope else 0)


def _scope_id(scope: str) -> int:
    return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
