"""The registered apps, each with its devices, accounts and tags; two are there from the start.

Must not live here: what a push must look like, return codes, tasks, quotas.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sidecar.simulator.magic import is_magic

ANDROID_APP_ID: Final = "simulated-android-app"
ANDROID_SECRET_KEY: Final = "not-a-secret-android"  # noqa: S105 - published on purpose
IOS_APP_ID: Final = "simulated-ios-app"
IOS_SECRET_KEY: Final = "not-a-secret-ios"  # noqa: S105 - published on purpose
KNOWN_PREFIX: Final = "sim-"
"""Tokens and accounts that start so are registered in the two apps of the start."""

TOKENS: Final = ("token1", "token2", "token3")
ACCOUNTS: Final = {"account1": ("token1", "token2"), "account2": ("token3",)}
ACCOUNT_WITHOUT_DEVICE: Final = "account-without-device"
TAGS: Final = {"tag1": ("token1", "token2"), "tag2": ("token2", "token3")}
# Of S1's sample of a single-device push to iOS.
_SAMPLE_IOS_TOKEN: Final = "55c2ddba664e9abcacea7daab0887939893b18e1a2cf4475c5382f5bcb2ab25b"  # noqa: S105


@dataclass(slots=True)
class App:
    """One app: its credentials, its platform, for which environments it has a certificate, who is registered.

    Devices of an account are in the order of binding: the last is the newest.
    """

    app_id: str
    secret_key: str = field(repr=False)
    platform: str
    environments: frozenset[str] = frozenset({"product", "dev"})
    devices: set[str] = field(default_factory=set, repr=False)
    accounts: dict[str, dict[int, list[str]]] = field(default_factory=dict, repr=False)
    tags: dict[str, set[str]] = field(default_factory=dict, repr=False)
    token_prefixes: tuple[str, ...] = ()
    account_prefixes: tuple[str, ...] = ()

    def register_devices(self, tokens: Iterable[str]) -> None:
        """Register devices by their tokens."""
        self.devices.update(tokens)

    def forget_devices(self, tokens: Iterable[str]) -> None:
        """Unregister devices, as when the app is removed from a phone; accounts and tags lose them too."""
        gone = set(tokens)
        self.devices -= gone
        for tagged in self.tags.values():
            tagged.difference_update(gone)
        for bindings in self.accounts.values():
            for bound in bindings.values():
                bound[:] = [token for token in bound if token not in gone]

    def bind_account(self, account: str, tokens: Iterable[str] = (), account_type: int = 0) -> None:
        """Register an account and bind devices to it, which become registered."""
        bound = self.accounts.setdefault(account, {}).setdefault(account_type, [])
        for token in tokens:
            self.devices.add(token)
            if token in bound:
                bound.remove(token)
            bound.append(token)

    def tag_devices(self, tag: str, tokens: Iterable[str]) -> None:
        """Set a tag on devices, which become registered."""
        tagged = self.tags.setdefault(tag, set())
        for token in tokens:
            self.devices.add(token)
            tagged.add(token)

    def accept_prefixes(self, *, tokens: Iterable[str] = (), accounts: Iterable[str] = ()) -> None:
        """Count every token or account as registered that starts so; such an account has one device."""
        self.token_prefixes = tuple(dict.fromkeys((*self.token_prefixes, *tokens)))
        self.account_prefixes = tuple(dict.fromkeys((*self.account_prefixes, *accounts)))

    def knows_device(self, token: str) -> bool:
        """Say whether a token is registered."""
        return token in self.devices or token.startswith(self.token_prefixes) or is_magic(token)

    def count_account_devices(self, account: str, account_type: int | None = None) -> int | None:
        """Return how many devices are bound to an account, None when it is unknown; type None is any."""
        if account.startswith(self.account_prefixes) or is_magic(account):
            return 1
        bindings = self.accounts.get(account)
        if bindings is None or (account_type is not None and account_type not in bindings):
            return None
        wanted = bindings.values() if account_type is None else (bindings[account_type],)
        return len({token for bound in wanted for token in bound})

    def count_tagged_devices(self, tags: Iterable[str], op: str) -> int:
        """Return how many devices have all (AND) or any (OR) of the tags."""
        sets = [self.tags.get(tag, set()) for tag in tags]
        return len(set.intersection(*sets) if op == "AND" else set.union(*sets))


def build_first_apps() -> dict[str, App]:
    """Return the two apps of the start, by their ids."""
    android = App(ANDROID_APP_ID, ANDROID_SECRET_KEY, "android")
    ios = App(IOS_APP_ID, IOS_SECRET_KEY, "ios")
    ios.register_devices([_SAMPLE_IOS_TOKEN])
    for app in (android, ios):
        app.register_devices(TOKENS)
        for account, tokens in ACCOUNTS.items():
            app.bind_account(account, tokens)
        app.bind_account(ACCOUNT_WITHOUT_DEVICE)
        for tag, tokens in TAGS.items():
            app.tag_devices(tag, tokens)
        app.accept_prefixes(tokens=[KNOWN_PREFIX], accounts=[KNOWN_PREFIX])
    return {app.app_id: app for app in (android, ios)}
