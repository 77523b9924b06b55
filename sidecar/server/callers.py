"""Who calls: named by the certificate or by the socket, allowed certain apps at a certain rate.

gRPC shows no credentials of the process behind a unix socket, so a socket names a caller only if it is for him alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from sidecar.config import CallerConfig, Config, ConfigError
from sidecar.delivery.call import Call
from sidecar.delivery.quota import Limiter, Quota, read_quotas
from sidecar.errors import CallerNotAllowed, QuotaExceeded
from sidecar.server.address import DEFAULT_LISTENER, UNIX_PREFIX, listeners_of

# gRPC's names of what it found in a certificate.
_SAN = "x509_subject_alternative_name"
_RATE = "calls"

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Caller:
    name: str
    apps: frozenset[str] | None
    rate: Quota | None


def check_callers(config: Config) -> None:
    """Check that every caller can be known, uses apps that there are, and is no other caller, too.

    Raises `ConfigError` naming the key.
    """
    listeners = listeners_of(config)
    has_mutual_tls = any(listener.tls.client_ca_file is not None for listener in listeners.values())
    taken: dict[str, str] = {}
    for name, caller in config.callers.items():
        key = f"callers.{name}"
        if bool(caller.san) == (caller.listener is not None):
            raise ConfigError(f"{key}: exactly one of san and listener says who it is")
        if caller.san and not has_mutual_tls:
            raise ConfigError(f"{key}.san: needs a listener with tls.client_ca_file")
        if caller.listener is not None:
            if caller.listener not in listeners:
                raise ConfigError(f"{key}.listener: {caller.listener} is no listener: they are {_list(listeners)}")
            if not listeners[caller.listener].listen.startswith(UNIX_PREFIX):
                raise ConfigError(f"{key}.listener: {caller.listener} is no unix socket, so anybody may reach it")
        for identity in [*caller.san, *([f"listener {caller.listener}"] if caller.listener else [])]:
            if identity in taken:
                raise ConfigError(f"{key}: {identity} names {taken[identity]} already")
            taken[identity] = name
        if unknown := [app for app in caller.apps or () if app not in config.apps]:
            raise ConfigError(f"{key}.apps: {unknown[0]} is no app: they are {_list(config.apps)}")
        _rate_of(name, caller)


class Callers:
    """Names the caller of each call, and lets it use what it may. With nobody configured, anybody may use all."""

    def __init__(self, config: Mapping[str, CallerConfig]) -> None:
        self._by_san: dict[str, _Caller] = {}
        self._by_listener: dict[str, _Caller] = {}
        self._limiter = Limiter()
        for name, caller in config.items():
            known = _Caller(name, None if caller.apps is None else frozenset(caller.apps), _rate_of(name, caller))
            self._by_san |= dict.fromkeys(caller.san, known)
            if caller.listener is not None:
                self._by_listener[caller.listener] = known
        self.is_open = not config

    async def admit(self, call: Call, context: Context, listener: str) -> None:
        """Name the caller of a call, and count the call against its rate.

        Raises `CallerNotAllowed` for one that nobody has named, and `QuotaExceeded` with the time to wait.
        """
        caller = self._by_listener.get(listener) or self._by_certificate(context)
        if caller is None:
            raise CallerNotAllowed(
                "the caller is not known: no entry of callers names its certificate or its socket"
                if listener == DEFAULT_LISTENER
                else f"the caller is not known: no entry of callers names its certificate or the listener {listener}"
            )
        call.caller, call.allowed_apps = caller.name, caller.apps
        if caller.rate is not None and (wait_s := await self._limiter.take(caller.rate, caller.name)) > 0:
            raise QuotaExceeded(
                "nothing was sent: the caller's rate is used up", subject=f"caller:{caller.name}", retry_after_s=wait_s
            )

    def _by_certificate(self, context: Context) -> _Caller | None:
        if not self._by_san:
            return None
        names: Iterable[bytes] = context.auth_context().get(_SAN, ())
        found = (self._by_san.get(name.decode("utf-8", "replace")) for name in names)
        return next((caller for caller in found if caller is not None), None)


def _rate_of(name: str, caller: CallerConfig) -> Quota | None:
    if caller.rate is None:
        return None
    try:
        (rate,) = read_quotas({_RATE: caller.rate}, (_RATE,))
    except ValueError as error:
        raise ConfigError(f"callers.{name}.rate: {str(error).partition(': ')[2]}") from None
    return rate


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
