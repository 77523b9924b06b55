"""An image's command as an engine runs it: own network, processes and mounts, its user, a root that is read-only.

It owns namespaces and mounts, and is Linux's counterpart of `docker run --read-only`; nothing of it is in the image.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.buildah import ImageConfig

TIMEOUT_S = 30
_LOOPBACK = """
import fcntl, socket, struct, sys
IFF_UP, SIOCSIFFLAGS = 1, 0x8914
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
print("up", flush=True)
sys.stdin.read()
"""
_ENTER = """
set -eu
root=$1 source=$2 target=$3 user=$4
shift 4
mount --bind "$root" "$root"
mount --bind -o ro "$source" "$root$target"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
exec chroot --userspec="$user" --groups= "$root" "$@"
"""


class Network:
    """A network of its own, with loopback, for a container and those who speak with it."""

    def __init__(self, holder: int) -> None:
        self.enter = ("nsenter", f"--net=/proc/{holder}/ns/net", "--")

    def run(self, *command: str, **options: Any) -> str:
        """Run a command of this machine in it; returns its output."""
        command = (*self.enter, *command)
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S, **options)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@contextmanager
def own_network() -> Iterator[Network]:
    """Keep a network inside the block. It ends with this process, however that ends."""
    command = ["unshare", "--net", "--", sys.executable, "-c", _LOOPBACK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        yield Network(holder.pid)
        holder.communicate()


class Container:
    """A process that runs in an image."""

    def __init__(self, process: subprocess.Popen[str], config: ImageConfig) -> None:
        self._process = process
        self._config = config
        self.entrypoint = config.entrypoint
        self.log: list[dict[str, Any]] = []

    @property
    def pid(self) -> int:
        """The image's command, as seen from outside; inside it is process 1."""
        (child,) = self._children()
        return child

    def _children(self) -> list[int]:
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(child) for child in listed.split()]

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read the log up to a line; returns it."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == event:
                return self.log[-1]
        raise AssertionError(f"no {event!r} in {self.log}")

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec` does."""
        user, group = self._config.user.split(":")
        spaces = ("--mount", "--net", "--pid", "--root", "--wd", "--setuid", user, "--setgid", group)
        enter = ("nsenter", "--target", str(self.pid), *spaces, "--")
        environment = dict(self._config.environment)
        return subprocess.run(
            [*enter, *command], env=environment, check=False, capture_output=True, text=True, timeout=TIMEOUT_S
        )

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self._process.poll() is None:
            for child in self._children():
                os.kill(child, signal.SIGKILL)
            self._process.kill()
        self._process.communicate()

    def stop(self) -> int:
        """Send SIGTERM, as engines and the kubelet do; returns the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(TIMEOUT_S)


@contextmanager
def container(root: Path, config: ImageConfig, network: Network, mounted: tuple[Path, str]) -> Iterator[Container]:
    """Run an image's own entry point and command inside the block; `mounted` is a folder, and where it is seen."""
    source, target = mounted
    (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)  # the engines make the mount point, too
    spaces = ("unshare", "--mount", "--pid", "--fork", "--")
    enter = (*network.enter, *spaces, "/bin/sh", "-c", _ENTER, "sh", str(root), str(source), target, config.user)
    process = subprocess.Popen(
        [*enter, *config.entrypoint, *config.command],
        env={"HOME": "/", **config.environment},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = Container(process, config)
    try:
        yield started
    finally:
        started.kill()
