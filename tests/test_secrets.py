"""Secret files that change while the sidecar runs: as Kubernetes changes them, badly too, and with pushes in flight."""

import asyncio
import base64
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.config import Secret
from sidecar.secrets import FileWatch, WatchedSecret
from sidecar.simulator import Fault, Kind, Simulator
from sidecar.telemetry.logs import JsonFormatter
from tests.conftest import StartSidecar
from tests.support.process import serve_process
from tests.support.running import Running, write_config
from tests.support.waiting import until

OLD = "not-a-secret-android"
NEW = "not-a-secret-any-more"

KEPT = "secret cannot be used, the last good one is"
MENDED = "secret can be used again"
CHANGED = "secret changed"
READ_AGAIN = "files were read again"


def swap(volume: Path, content: bytes | None) -> None:
    """Change the file `key` as the kubelet does: a new directory, and one atomic move of the link to it."""
    version = volume / f"..2026_{len(list(volume.glob('..2026_*')))}"
    version.mkdir(parents=True)
    if content is not None:
        (version / "key").write_bytes(content)
    link = volume / "..data_tmp"
    link.symlink_to(version.name)
    link.rename(volume / "..data")
    if not (volume / "key").is_symlink():
        (volume / "key").symlink_to("..data/key")


def rewrite(volume: Path, content: bytes) -> None:
    (volume / "key").write_bytes(content)


def rename_over(volume: Path, content: bytes) -> None:
    (volume / "new").write_bytes(content)
    (volume / "new").rename(volume / "key")


def make_directory(volume: Path) -> None:
    (volume / "key").unlink()
    (volume / "key").mkdir()


def make_circle(volume: Path) -> None:
    (volume / "key").unlink()
    (volume / "key").symlink_to("key")


class Watched:
    """A file that holds `one`, and what was taken from it."""

    def __init__(self, volume: Path, app: str = "shop", **changes: Any) -> None:
        self.volume = volume
        self.used: list[str] = []
        volume.mkdir(exist_ok=True)
        (volume / "key").write_text("one")
        self.secret = WatchedSecret(
            **{
                "app": app,
                "key": f"apps.{app}.secret_key_file",
                "path": volume / "key",
                "current": Secret("one"),
                "use": lambda new: self.used.append(new.reveal()),
                **changes,
            }
        )


@pytest.fixture
def watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Watched:
    caplog.set_level(logging.DEBUG)
    return Watched(tmp_path / "volume")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and text of what the watch has logged."""
    return [(record.levelname, record.message) for record in caplog.records if record.name == "sidecar.secrets"]


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for _, text in lines(caplog)]


@pytest.mark.parametrize("change", [swap, rewrite, rename_over])
async def test_new_content_is_taken_once_however_the_file_was_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Path, bytes], None]
) -> None:
    caplog.set_level(logging.DEBUG)
    watched = Watched(tmp_path)
    if change is swap:
        (tmp_path / "key").unlink()
        swap(tmp_path, b"one")
    await watched.secret.refresh()
    assert watched.used == []
    change(tmp_path, b"two\n")
    await watched.secret.refresh()
    await watched.secret.refresh()
    assert watched.used == ["two"]
    change(tmp_path, b"one")
    await watched.secret.refresh()
    assert watched.used == ["two", "one"]
    assert lines(caplog) == [("INFO", CHANGED)] * 2


@pytest.mark.parametrize("change", [rewrite, rename_over])
async def test_same_content_is_no_change_whatever_its_time(
    watched: Watched, caplog: pytest.LogCaptureFixture, change: Callable[[Path, bytes], None]
) -> None:
    change(watched.volume, b" one\n")
    os.utime(watched.volume / "key", (1, 1))
    await watched.secret.refresh()
    assert (watched.used, lines(caplog)) == ([], [])


async def test_other_content_is_a_change_even_at_the_same_time_and_size(watched: Watched) -> None:
    before = (watched.volume / "key").stat()
    rewrite(watched.volume, b"two")
    os.utime(watched.volume / "key", ns=(before.st_atime_ns, before.st_mtime_ns))
    await watched.secret.refresh()
    assert watched.used == ["two"]


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (lambda volume: (volume / "key").unlink(), "No such file or directory"),
    "empty": (lambda volume: rewrite(volume, b""), "the secret is empty or missing"),
    "blank": (lambda volume: rewrite(volume, b" \r\n\t"), "the secret is empty or missing"),
    "utf-16": (lambda volume: rewrite(volume, "two".encode("utf-16")), "not a text file"),
    "half-a-character": (lambda volume: rewrite(volume, b"two\xe4\xb8"), "not a text file"),
    "surrogate": (lambda volume: rewrite(volume, b"two\xed\xa0\x80"), "not a text file"),
    "two-lines": (lambda volume: rewrite(volume, b"two\nlines"), "the secret holds a line break"),
    "nul": (lambda volume: rewrite(volume, b"two\0"), "the secret holds a NUL"),
    "delete": (lambda volume: rewrite(volume, b"t\x7fwo"), "the secret holds a character that is not visible"),
    "next-line": (lambda volume: rewrite(volume, "t\x85wo".encode()), "the secret holds a line break"),
    "directory": (make_directory, "Is a directory"),
    "unreadable": (make_circle, "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_what_cannot_be_used_leaves_the_last_good_one_and_is_told_of_once(
    watched: Watched, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    spoil, why = UNUSABLE[case]
    spoil(watched.volume)
    for _ in range(3):
        await watched.secret.refresh()
        assert (watched.secret.is_stale, watched.used) == (True, [])
    assert lines(caplog) == [("ERROR", KEPT)]
    (line,) = (vars(record) for record in caplog.records if record.name == "sidecar.secrets")
    assert line["app"] == "shop"
    assert line["why"].startswith("apps.shop.secret_key_file: ")
    assert why in line["why"]
    assert "two" not in line["why"]


async def test_mended_with_the_secret_of_before_is_no_change(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    for content in (b"", b"one", b"one"):
        rewrite(watched.volume, content)
        await watched.secret.refresh()
    assert (watched.secret.is_stale, watched.used) == (False, [])
    assert lines(caplog) == [("ERROR", KEPT), ("INFO", MENDED)]


async def test_mended_with_a_new_secret_is_taken(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    # Bad in one way and then in another is one state.
    for content in (b"", b"\xff", b"two"):
        rewrite(watched.volume, content)
        await watched.secret.refresh()
    assert (watched.secret.is_stale, watched.used) == (False, ["two"])
    assert events(caplog) == [KEPT, MENDED, CHANGED]


async def test_spoilt_again_is_told_of_again(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for content in (b"", b"one", b"", b"one"):
        rewrite(watched.volume, content)
        await watched.secret.refresh()
    assert events(caplog) == [KEPT, MENDED, KEPT, MENDED]


async def test_secret_that_its_user_refuses_is_not_taken_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def use(new: Secret) -> None:
        raise ValueError(new.reveal())

    watched = Watched(tmp_path, use=use)
    rewrite(tmp_path, b"two")
    await watched.secret.refresh()
    await watched.secret.refresh()
    assert watched.secret.is_stale
    assert [vars(record)["why"] for record in caplog.records] == ["apps.shop.secret_key_file: ValueError"]
    assert all(record.exc_info is None for record in caplog.records)


class Hanging:
    """A file whose reader hangs until somebody writes."""

    def __init__(self, path: Path) -> None:
        path.unlink()
        os.mkfifo(path)
        self._path = path

    @staticmethod
    def readers() -> int:
        return sum(thread.name == "read-secret" for thread in threading.enumerate())

    async def end(self, content: bytes) -> None:
        """Let the reader read this, and wait until it has."""
        await asyncio.to_thread(self._path.write_bytes, content)
        await until(lambda: self.readers() == 0)


async def test_file_system_that_hangs_is_told_of_and_waited_for_by_one_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    watched = Watched(tmp_path, read_timeout_s=0)
    hanging = Hanging(tmp_path / "key")
    for _ in range(3):
        await watched.secret.refresh()
        assert (watched.secret.is_stale, hanging.readers()) == (True, 1)
    assert events(caplog) == [KEPT]
    await hanging.end(b"two")
    await watched.secret.refresh()
    assert (watched.secret.is_stale, watched.used) == (False, ["two"])


async def test_file_that_hangs_holds_up_no_other_and_no_stop(tmp_path: Path) -> None:
    stuck, free = Watched(tmp_path / "stuck", "stuck"), Watched(tmp_path / "free", "free")
    hanging = Hanging(stuck.volume / "key")
    async with FileWatch([stuck.secret, free.secret], interval_s=0.001):
        await until(lambda: hanging.readers() > 0)
        for content in (b"two", b"three"):
            rewrite(free.volume, content)
            await until(lambda content=content: free.used[-1:] == [content.decode()])
    await hanging.end(b"late")
    assert stuck.used == []


async def test_watch_looks_at_every_interval_and_ends(watched: Watched) -> None:
    waits: list[float] = []
    rewrite(watched.volume, b"two")

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 2:
            await asyncio.Event().wait()

    async with FileWatch([watched.secret], interval_s=7.0, sleep=sleep):
        await until(lambda: len(waits) == 3)
    assert (watched.used, waits) == (["two"], [7.0, 7.0, 7.0])
    rewrite(watched.volume, b"three")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def never(_seconds: float) -> None:
    await asyncio.Event().wait()


async def test_watch_that_is_asked_looks_at_every_file_and_tells_what_came_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    files = [Watched(tmp_path / app, app) for app in ("same", "changed", "gone")]
    async with FileWatch([each.secret for each in files], interval_s=7.0, sleep=never) as watch:
        rewrite(files[1].volume, b"two")
        (files[2].volume / "key").unlink()
        watch.look_soon()
        await until(lambda: READ_AGAIN in events(caplog))
        watch.look_soon()
        await until(lambda: events(caplog).count(READ_AGAIN) == 2)
    first, second = (vars(record) for record in caplog.records if record.message == READ_AGAIN)
    assert (first["files"], first["changed"], first["unusable"]) == (3, ["secret changed"], ["secret gone"])
    assert (second["files"], second["changed"], second["unusable"]) == (3, [], ["secret gone"])
    assert [each.used for each in files] == [[], ["two"], []]


async def test_two_looks_at_the_same_time_are_one_change_and_no_failure(watched: Watched) -> None:
    rewrite(watched.volume, b"two")
    are_new = await asyncio.gather(watched.secret.refresh(), watched.secret.refresh())
    assert (are_new, watched.used, watched.secret.is_stale) == ([True, False], ["two"], False)


def test_nothing_of_a_secret_is_in_the_watchs_own(watched: Watched) -> None:
    assert "'one'" not in f"{watched.secret!r} {vars(watched.secret)}"


class World:
    """A sidecar whose secret stands in a volume of Kubernetes."""

    def __init__(self, running: Running, vendor: Simulator, volume: Path) -> None:
        self.running = running
        self.vendor = vendor
        self.volume = volume

    async def get(self, path: str) -> Any:
        url = f"http://{self.running.sidecar.admin_address}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
            return await (answer.json() if path == "/statusz" else answer.text())

    async def stale(self) -> tuple[str, str]:
        """Return what the metrics and the status say."""
        begin = 'push_sidecar_secret_stale{app="shop"} '
        values = [line.removeprefix(begin) for line in (await self.get("/metrics")).splitlines() if begin in line]
        (value,) = values
        return value, (await self.get("/statusz"))["apps"]["shop"]["secret"]


@pytest.fixture
async def world(
    start_sidecar: StartSidecar, vendor: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> World:
    caplog.set_level(logging.DEBUG)
    volume = tmp_path / "volume"
    swap(volume, OLD.encode() + b"\n")
    running = await start_sidecar(app={"secret_key_file": str(volume / "key")}, secrets={"reload_interval_s": 0.01})
    return World(running, vendor, volume)


async def test_new_secret_is_used_without_a_restart(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.running.push()
    world.vendor.android.secret_key = NEW
    assert (await world.running.fail()).reason == "CREDENTIALS_REFUSED"
    swap(world.volume, NEW.encode())
    await until(lambda: CHANGED in events(caplog))
    await world.running.push()
    assert await world.stale() == ("0.0", "fresh")
    assert lines(caplog) == [("INFO", CHANGED)]
    assert [record.was_delivered for record in world.vendor.records] == [True, False, True]
    assert len({record.connection for record in world.vendor.records}) == 1, "a connection was given up"


async def test_pushes_go_on_with_the_last_good_one_until_there_is_a_better(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    assert await world.stale() == ("0.0", "fresh")
    swap(world.volume, None)
    await until(lambda: KEPT in events(caplog))
    await world.running.push()
    assert await world.stale() == ("1.0", "stale")
    swap(world.volume, NEW.encode())
    world.vendor.android.secret_key = NEW
    await until(lambda: CHANGED in events(caplog))
    await world.running.push()
    assert await world.stale() == ("0.0", "fresh")
    assert lines(caplog) == [("ERROR", KEPT), ("INFO", MENDED), ("INFO", CHANGED)]


async def test_push_in_flight_keeps_the_secret_that_it_began_with(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The vendor knows the old one only: the second attempt of the push has it still, the next push has not."""
    world.vendor.script(Fault(kind=Kind.RET_CODE, ret_code=10201, latency_s=0.5))
    in_flight = asyncio.create_task(world.running.push())
    await until(lambda: world.vendor.received == 1)
    swap(world.volume, NEW.encode())
    await until(lambda: CHANGED in events(caplog))
    assert (await in_flight).attempts == 2
    assert (await world.running.fail()).reason == "CREDENTIALS_REFUSED"


async def test_neither_secret_shows(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.vendor.android.secret_key = NEW
    failure = await world.running.fail()
    swap(world.volume, NEW.encode())
    await until(lambda: CHANGED in events(caplog))
    swap(world.volume, NEW.encode() + b"\n" + OLD.encode())
    await until(lambda: KEPT in events(caplog))
    await world.running.push()
    shown = {
        "log": "\n".join(JsonFormatter().format(record) + repr(vars(record)) for record in caplog.records),
        "metrics": await world.get("/metrics"),
        "status": repr(await world.get("/statusz")),
        "error": repr(failure),
    }
    for name, text in shown.items():
        assert "shop" in text or name == "error", f"{name} is empty"
        for secret in (OLD, NEW):
            credentials = base64.b64encode(f"{world.vendor.android.app_id}:{secret}".encode()).decode()
            assert secret not in text, f"a secret is in the {name}"
            assert credentials not in text, f"the credentials are in the {name}"


def is_read(fifo: Path, stack: ExitStack) -> bool:
    """Say whether somebody reads a pipe; if so it stays open for writing, until the stack is left."""
    with suppress(OSError):  # nobody does
        stack.callback(os.close, os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


async def test_read_that_hangs_does_not_keep_the_process_from_its_end(vendor: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path, vendor, secrets={"reload_interval_s": 0.01})
    async with serve_process(config) as process:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "fifo").rename(tmp_path / "secret")
        with ExitStack() as stack:
            # Held open and never written to, so that the read goes on.
            await until(lambda: is_read(tmp_path / "secret", stack))
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0, process.text
    assert process.lines[-1]["event"] == "stopped"
