"""What `push-sidecar check` says of who may call: each listener, each caller, and where nobody may.

It owns the words. Who is known at a listener is the server's business.
"""

import msgspec

from sidecar.app import who_may_call
from sidecar.config import CallerConfig, Config, ListenerConfig


def listener_rows(config: Config) -> list[list[str]]:
    """Return name, address, protection and who may call, for each listener of callers."""
    return [
        [name, listener.listen, _protection(listener), _who(config, listener, able)]
        for name, (listener, able) in who_may_call(config).items()
    ]


def caller_rows(config: Config) -> list[list[str]]:
    """Return name, what it is known by, its apps and its rate, for each caller."""
    return [
        [name, _known_by(caller), f"apps={_apps(caller)}", f"rate={caller.rate or 'none'}"]
        for name, caller in config.callers.items()
    ]


def notes(config: Config) -> list[str]:
    """Return what a valid configuration may not have been meant to say: that nobody may call, or use an app."""
    if not config.callers:
        return []
    able = {name for _, names in who_may_call(config).values() for name in names}
    if not able:
        return ["nobody may call: no caller has an app"]
    lists = [config.callers[name].apps for name in able]
    if any(isinstance(apps, msgspec.UnsetType) for apps in lists):
        return []
    allowed = {app for apps in lists if not isinstance(apps, msgspec.UnsetType) for app in apps}
    return [f"nobody may use the app {app}: no caller has it in its apps" for app in config.apps if app not in allowed]


def _protection(listener: ListenerConfig) -> str:
    parts = []
    if listener.listen.startswith("unix:"):
        parts.append(f"mode={listener.socket_mode}")
        if listener.socket_group is not None:
            parts.append(f"group={listener.socket_group}")
    if listener.tls.client_ca_file is not None:
        parts.append("mutual-tls")
    elif listener.tls.cert_file is not None:
        parts.append("tls")
    else:
        parts.append("cleartext")
    return ",".join(parts)


def _who(config: Config, listener: ListenerConfig, able: list[str]) -> str:
    if config.callers:
        return f"callers={','.join(able)}" if able else "nobody may call"
    if listener.tls.client_ca_file is not None:
        return "anybody with a certificate of its client_ca_file may call"
    return "anybody who reaches it may call"


def _known_by(caller: CallerConfig) -> str:
    if not caller.san:
        return f"listener={caller.listener}"
    at = f",listener={caller.listener}" if caller.listener else ""
    return f"san={','.join(caller.san)}{at}"


def _apps(caller: CallerConfig) -> str:
    if isinstance(caller.apps, msgspec.UnsetType):
        return "all"
    return ",".join(caller.apps) or "none"
