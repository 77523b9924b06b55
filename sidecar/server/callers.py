"""Who calls: named by the certificate or by the socket, allowed certain apps at a certain rate.

gRPC shows no credentials of the process behind a unix socket, so a socket names a caller only if it is for him alone.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import grpc
import msgspec

from sidecar.config import CallerConfig, Config, ConfigError
from sidecar.delivery.call import Call
from sidecar.delivery.quota import read_limit
from sidecar.errors import CallerNotAllowed, QuotaExceeded
from sidecar.server.address import UNIX_PREFIX, listeners_of
from sidecar.server.certificate import DNS, IP, URI, San, is_plain, read_peer
from sidecar.server.rate import Rate

# gRPC's name of the certificate that a caller showed.
_PEM = "x509_pem_cert"

Context = grpc.aio.ServicerContext[Any, Any]
# A name of a certificate; and, if it counts there alone, the listener.
_Identity = tuple[San | None, str | None]


@dataclass(frozen=True, slots=True)
class _Caller:
    name: str
    apps: frozenset[str] | None
    rate: Rate | None


def check_callers(config: Config) -> None:
    """Check that every caller can be known, uses apps that there are, and is no other caller, too.

    Raises `ConfigError` naming the key.
    """
    taken: dict[_Identity, str] = {}
    for name, caller in config.callers.items():
        _check_identity(config, name, caller)
        for identity in _identities(caller):
            if taken.setdefault(identity, name) != name:
                what = identity[0][1] if identity[0] else f"the listener {identity[1]}"
                raise ConfigError(f"callers.{name}: {what} names {taken[identity]} already")
        apps = _apps_of(caller)
        if unknown := sorted(apps - config.apps.keys()) if apps is not None else []:
            raise ConfigError(f"callers.{name}.apps: {unknown[0]} is no app: they are {_list(config.apps)}")
        _rate_of(name, caller)


def _check_identity(config: Config, name: str, caller: CallerConfig) -> None:
    listeners = listeners_of(config)
    if not caller.san and caller.listener is None:
        raise ConfigError(f"callers.{name}: san or listener must say who it is")
    if caller.listener is not None and caller.listener not in listeners:
        raise ConfigError(f"callers.{name}.listener: {caller.listener} is no listener: they are {_list(listeners)}")
    if not all(is_plain(text) for text in caller.san):
        raise ConfigError(f"callers.{name}.san: must be printable ASCII, as the names of a certificate are")
    if caller.san:
        meant = [caller.listener] if caller.listener else listeners
        if all(listeners[listener].tls.client_ca_file is None for listener in meant):
            raise ConfigError(f"callers.{name}.san: needs a listener with tls.client_ca_file")
    elif caller.listener and not listeners[caller.listener].listen.startswith(UNIX_PREFIX):
        raise ConfigError(f"callers.{name}.listener: {caller.listener} is no unix socket, so anybody may reach it")


def callers_at(config: Config, listener: str) -> list[str]:
    """Return the names of the configured callers that can be known at a listener and have an app to call."""
    has_certificates = listeners_of(config)[listener].tls.client_ca_file is not None
    return [
        name
        for name, caller in config.callers.items()
        if _apps_of(caller) != frozenset()
        and (has_certificates and caller.listener in {None, listener} if caller.san else caller.listener == listener)
    ]


class Callers:
    """Names the caller of each call, and lets it use what it may. With nobody configured, anybody may use all."""

    def __init__(
        self,
        config: Mapping[str, CallerConfig],
        *,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_clock = wall_clock
        self._callers: dict[_Identity, _Caller] = {}
        for name, caller in config.items():
            limit = _rate_of(name, caller)
            rate = None if limit is None else Rate(*limit, clock)
            self._callers |= dict.fromkeys(_identities(caller), _Caller(name, _apps_of(caller), rate))
        self._has_san = any(san is not None for san, _ in self._callers)
        self.is_open = not config

    def admit(self, call: Call, context: Context, listener: str) -> None:
        """Name the caller of a call, and count the call against its rate.

        Raises `CallerNotAllowed` for one that nobody has named, and `QuotaExceeded` with the time to wait.
        """
        caller = self._by_certificate(context, listener) or self._callers.get((None, listener))
        if caller is None:
            raise CallerNotAllowed(
                f"the caller is not known: no entry of callers names its certificate, or the listener {listener}"
            )
        call.caller, call.allowed_apps = caller.name, caller.apps
        if caller.rate is not None and (wait_s := caller.rate.take()) > 0:
            raise QuotaExceeded(
                "nothing was sent: the caller's rate is used up", subject=f"caller:{caller.name}", retry_after_s=wait_s
            )

    def _by_certificate(self, context: Context, listener: str) -> _Caller | None:
        if not self._has_san:
            return None
        shown: Mapping[str, Iterable[bytes]] = context.auth_context()
        pem = next(iter(shown.get(_PEM, ())), None)
        if pem is None:
            return None
        certificate = read_peer(pem)
        if certificate.refusal is not None:
            raise CallerNotAllowed(certificate.refusal)
        for san in certificate.names:
            caller = self._callers.get((san, listener)) or self._callers.get((san, None))
            if caller is not None:
                # gRPC looks at it when a connection is made; not later, and not when a TLS session is taken up again.
                if certificate.expires_at_unix_s <= self._wall_clock():
                    raise CallerNotAllowed("the caller's certificate has expired")
                return caller
        return None


def _san(text: str) -> San:
    """Return the kind and the name that a text of the configuration means."""
    if "://" in text:
        return URI, text
    try:
        return IP, str(ip_address(text))
    except ValueError:
        return DNS, text.lower()


def _identities(caller: CallerConfig) -> list[_Identity]:
    if not caller.san:
        return [(None, caller.listener)]
    return [(_san(text), caller.listener) for text in caller.san]


def _apps_of(caller: CallerConfig) -> frozenset[str] | None:
    return None if caller.apps is msgspec.UNSET else frozenset(caller.apps)


def _rate_of(name: str, caller: CallerConfig) -> tuple[int, float] | None:
    """Return the calls of a rate, and in what time, in seconds."""
    if caller.rate is None:
        return None
    try:
        rate = read_limit(caller.rate)
    except ValueError as error:
        raise ConfigError(f"callers.{name}.rate: {error}") from None
    return rate.amount, float(rate.window_s)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
