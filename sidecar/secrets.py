"""The files of secrets and certificates, read again when they change: as Kubernetes changes them, without a restart.

What is new is used from the next push, or the next connection, on. What cannot be used leaves the last good one in
place, and is told of. What it is for is its user's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from threading import Thread
from typing import Any, Generic, Self, TypeVar

from sidecar.config import TARGET_HASH_KEY, ConfigError, Secret, read_secret_file, read_target_hash_key

# How long a file system may take before the file counts as one that cannot be read.
READ_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


T = TypeVar("T")


class Watched(Generic[T]):
    """Something that is read from files; `use` is given each new value, as `digest` tells new from old.

    `what` and `labels` name it in the log, `key` in errors: its key in the configuration.
    """

    def __init__(
        self,
        *,
        what: str,
        labels: Mapping[str, str],
        key: str,
        read: Callable[[], T],
        digest: Callable[[T], bytes],
        current: T,
        use: Callable[[T], None],
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._what = what
        self._labels = labels
        self._key = key
        self._read_files = read
        self._digest_of = digest
        self._use = use
        self._read_timeout_s = read_timeout_s
        self._digest = digest(current)
        # A read that hangs is waited for again at the next look, so that there is never more than one.
        self._reading: asyncio.Future[T | Exception] | None = None
        self._looking = asyncio.Lock()
        # Whether the files hold nothing that can be used, so that the last good value is.
        self.is_stale = False

    @property
    def name(self) -> str:
        """What it is and whose, for the log."""
        return " ".join((self._what, *self._labels.values()))

    async def refresh(self) -> bool:
        """Look at the files, and take over what they hold if it is new; returns whether it is. Raises nothing."""
        async with self._looking:
            return await self._refresh()

    async def _refresh(self) -> bool:
        try:
            value = await self._read()
            is_new = (digest := self._digest_of(value)) != self._digest
            if is_new:
                self._use(value)
        except ConfigError as error:
            self._keep_last(str(error))
            return False
        except Exception as error:  # noqa: BLE001  # whatever it is, the last good one serves and the watch goes on
            self._keep_last(f"{self._key}: {type(error).__name__}")
            return False
        self._digest = digest
        if self.is_stale:
            _log.info(f"{self._what} can be used again", extra=dict(self._labels))
        self.is_stale = False
        if is_new:
            _log.info(f"{self._what} changed", extra=dict(self._labels))
        return is_new

    def _keep_last(self, why: str) -> None:
        if not self.is_stale:
            _log.error(f"{self._what} cannot be used, the last good one is", extra={**self._labels, "why": why})
        self.is_stale = True

    async def _read(self) -> T:
        if self._reading is None:
            self._reading = _start_read(self._read_files)
        done, _ = await asyncio.wait([self._reading], timeout=self._read_timeout_s)
        if not done:
            raise ConfigError(f"{self._key}: cannot be read: no answer within {self._read_timeout_s:g} s")
        found = self._reading.result()
        self._reading = None
        if isinstance(found, Exception):
            raise found
        return found


class WatchedSecret(Watched[Secret]):
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
        super().__init__(
            what="secret",
            labels={"app": app},
            key=key,
            read=partial(read_secret_file, key, path),
            digest=_digest,
            current=current,
            use=use,
            read_timeout_s=read_timeout_s,
        )
        self.app = app


class WatchedHashKey(Watched[Secret]):
    """The file of the key of targets' hashes; `use` is given each new key."""

    def __init__(self, path: Path, *, current: Secret, use: Callable[[Secret], None]) -> None:
        super().__init__(
            what="target hash key",
            labels={},
            key=TARGET_HASH_KEY,
            read=partial(read_target_hash_key, path),
            digest=_digest,
            current=current,
            use=use,
        )


class FileWatch:
    """Looks at the files every `interval_s` seconds, each on its own, and when it is asked to, while it is entered."""

    def __init__(
        self,
        watched: Sequence[Watched[Any]],
        *,
        interval_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._watched = watched
        self._interval_s = interval_s
        self._sleep = sleep
        self._asked = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Begin."""
        # One task each: a file that hangs holds up no other.
        self._tasks = [asyncio.create_task(self._watch(watched)) for watched in self._watched]
        self._tasks.append(asyncio.create_task(self._look_when_asked()))
        return self

    async def __aexit__(self, *_: object) -> None:
        """End, without waiting for a read that hangs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def look_soon(self) -> None:
        """Look at all files now; asked while that goes on, once more after it."""
        self._asked.set()

    async def _look_when_asked(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            are_new = await asyncio.gather(*(watched.refresh() for watched in self._watched))
            _log.info(
                "files were read again",
                extra={
                    "files": len(self._watched),
                    "changed": [watched.name for watched, is_new in zip(self._watched, are_new, strict=True) if is_new],
                    "unusable": [watched.name for watched in self._watched if watched.is_stale],
                },
            )

    async def _watch(self, watched: Watched[Any]) -> None:
        while True:
            await self._sleep(self._interval_s)
            await watched.refresh()


def _start_read(read_files: Callable[[], T]) -> asyncio.Future[T | Exception]:
    """Begin to read files in a thread of its own, which ends with the process.

    The loop's own threads are not for this: names are resolved in them, and the end of the process waits for them.
    """
    loop = asyncio.get_running_loop()
    reading: asyncio.Future[T | Exception] = loop.create_future()

    def read() -> None:
        found: T | Exception
        try:
            found = read_files()
        except Exception as error:  # noqa: BLE001  # it is raised where the future is read
            found = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(reading.set_result, found)

    Thread(target=read, name="read-secret", daemon=True).start()
    return reading


def _digest(secret: Secret) -> bytes:
    return blake2b(secret.reveal().encode(), digest_size=16).digest()
