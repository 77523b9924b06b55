"""The files of secrets, read again when they change: as Kubernetes changes them, and without a restart.

A new secret is used from the next push on. One that cannot be used leaves the last good one in place, and is told of.
What a secret is for is its provider's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from threading import Thread

from sidecar.config import ConfigError, Secret, read_secret_file

# How long a file system may take before the file counts as one that cannot be read.
READ_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class WatchedSecret:
    """One app's file; `use` is given each new secret. `key` is its key in the configuration."""

    def __init__(
        self,
        *,
        app: str,
        key: str,
        path: Path,
        current: Secret,
        use: Callable[[Secret], None],
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self.app = app
        self._key = key
        self._path = path
        self._use = use
        self._read_timeout_s = read_timeout_s
        self._digest = _digest(current)
        # A read that hangs is waited for again at the next look, so that there is never more than one.
        self._reading: asyncio.Future[Secret | Exception] | None = None
        # Whether the file holds none that can be used, so that the last good one is.
        self.is_stale = False

    async def refresh(self) -> None:
        """Look at the file, and take its secret over if it is a new one; raises nothing."""
        try:
            secret = await self._read()
            is_new = (digest := _digest(secret)) != self._digest
            if is_new:
                self._use(secret)
        except ConfigError as error:
            self._keep_last(str(error))
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, the last good one serves and the watch goes on
            self._keep_last(f"{self._key}: {type(error).__name__}")
            return
        self._digest = digest
        if self.is_stale:
            _log.info("secret can be used again", extra={"app": self.app})
        self.is_stale = False
        if is_new:
            _log.info("secret changed", extra={"app": self.app})

    def _keep_last(self, why: str) -> None:
        if not self.is_stale:
            _log.error("secret cannot be used, the last good one is", extra={"app": self.app, "why": why})
        self.is_stale = True

    async def _read(self) -> Secret:
        if self._reading is None:
            self._reading = _start_read(self._key, self._path)
        done, _ = await asyncio.wait([self._reading], timeout=self._read_timeout_s)
        if not done:
            raise ConfigError(f"{self._key}: cannot read {self._path}: no answer within {self._read_timeout_s:g} s")
        found = self._reading.result()
        self._reading = None
        if isinstance(found, Exception):
            raise found
        return found


class SecretWatch:
    """Looks at the files every `interval_s` seconds, each on its own, while it is entered."""

    def __init__(
        self,
        secrets: Sequence[WatchedSecret],
        *,
        interval_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._secrets = secrets
        self._interval_s = interval_s
        self._sleep = sleep

    async def __aenter__(self) -> None:
        """Begin."""
        # One task each: a file that hangs holds up no other.
        self._tasks = [asyncio.create_task(self._watch(secret)) for secret in self._secrets]

    async def __aexit__(self, *_: object) -> None:
        """End, without waiting for a read that hangs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, secret: WatchedSecret) -> None:
        while True:
            await self._sleep(self._interval_s)
            await secret.refresh()


def _start_read(key: str, path: Path) -> asyncio.Future[Secret | Exception]:
    """Begin to read a file in a thread of its own, which ends with the process.

    The loop's own threads are not for this: names are resolved in them, and the end of the process waits for them.
    """
    loop = asyncio.get_running_loop()
    reading: asyncio.Future[Secret | Exception] = loop.create_future()

    def read() -> None:
        found: Secret | Exception
        try:
            found = read_secret_file(key, path)
        except Exception as error:  # noqa: BLE001  # it is raised where the future is read
            found = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(reading.set_result, found)

    Thread(target=read, name="read-secret", daemon=True).start()
    return reading


def _digest(secret: Secret) -> bytes:
    return blake2b(secret.reveal().encode(), digest_size=16).digest()
