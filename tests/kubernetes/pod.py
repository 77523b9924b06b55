"""A pod on this machine: what the kubelet does with a pod's containers, with processes, directories and an address.

Each pod has a loopback address of its own, so that the ports are those of the manifest. Paths of mounts are mapped
into a temporary directory; volumes of Secrets and ConfigMaps are written, and changed, as the kubelet's atomic writer
does it. Images are commands of this machine. Users, capabilities, cgroups and the read-only root are not imitated.
"""

import asyncio
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kubernetes.manifests import SIDECAR, Resource
from tests.support.process import KEPT_VARIABLES, ServeProcess

BIN = Path(sys.executable).parent
SLASH_TMP = "/tmp"  # noqa: S108  # where a container would write what it should not
POD_NAME = "shop-7d9c5b6f4-x2x7q"
NAMESPACE = "shop"


class ProjectedVolume:
    """A directory of files as the kubelet keeps it: `name -> ..data/name`, `..data -> ..TIMESTAMP`."""

    def __init__(self, directory: Path, files: Mapping[str, str]) -> None:
        self.directory = directory
        self._version = 0
        directory.mkdir()
        self.update(files)

    def update(self, files: Mapping[str, str]) -> None:
        """Put other content in place of the whole of it, by one rename."""
        old = self.directory / f"..2026_11_24_09_00_00.{self._version}"
        self._version += 1
        new = self.directory / f"..2026_11_24_09_00_00.{self._version}"
        new.mkdir()
        for name, text in files.items():
            (new / name).write_text(text)
        link = self.directory / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.directory / "..data")
        for name in files:
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")
        if old.exists():
            shutil.rmtree(old)


class Pod:
    """The pod of a workload. Entered, it is empty: `start` and `terminate` do what the kubelet does."""

    def __init__(
        self,
        template: Resource,
        directory: Path,
        *,
        images: Mapping[str, tuple[str, ...]],
        config_maps: Mapping[str, Mapping[str, str]] | None = None,
        secrets_: Mapping[str, Mapping[str, str]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.spec: Resource = template["spec"]
        # In 127/8, where every address is this machine's.
        self.address = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        self._directory = directory
        self._images = images
        self._environment = dict(environment or {})
        self._processes: dict[str, ServeProcess] = {}
        self.volumes: dict[str, ProjectedVolume] = {}
        # Short names: the path of a socket has 107 characters at most.
        self._paths = {volume["name"]: directory / f"v{n}" for n, volume in enumerate(self.spec["volumes"])}
        directory.mkdir()
        for volume in self.spec["volumes"]:
            self._make_volume(volume, config_maps or {}, secrets_ or {})

    def _make_volume(
        self,
        volume: Resource,
        config_maps: Mapping[str, Mapping[str, str]],
        secrets_: Mapping[str, Mapping[str, str]],
    ) -> None:
        path = self._paths[volume["name"]]
        match volume:
            case {"emptyDir": _}:
                path.mkdir()
            case {"configMap": {"name": name}}:
                files = {key: self._mapped(text, self.container(SIDECAR)) for key, text in config_maps[name].items()}
                self.volumes[volume["name"]] = ProjectedVolume(path, files)
            case {"secret": {"secretName": name}}:
                self.volumes[volume["name"]] = ProjectedVolume(path, secrets_[name])
            case _:
                raise AssertionError(f"a volume of another type: {volume}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.stop()

    def container(self, name: str) -> Resource:
        """Return a container of the manifest."""
        containers = [*self.spec.get("initContainers", []), *self.spec["containers"]]
        (found,) = [container for container in containers if container["name"] == name]
        container: Resource = found
        return container

    def set_environment(self, **values: str) -> None:
        """Set variables for every container that is started from now on; they win over those of the manifest."""
        self._environment |= values

    def process(self, name: str) -> ServeProcess:
        """Return a container's process."""
        return self._processes[name]

    def path(self, name: str, path: str) -> Path:
        """Return where a container's path is on this machine."""
        return Path(self._mapped(path, self.container(name)))

    def private(self, name: str) -> Path:
        """Return what stands for a container's root file system: its home, its working directory and its /tmp."""
        return self._directory / name

    def environment(self, name: str) -> dict[str, str]:
        """Return all variables of a container."""
        return self._environment_for(self.container(name))

    async def start(self) -> None:
        """Start the containers in their order, each native sidecar when its startup probe has succeeded.

        Ordinary containers come at once, each when the postStart hook of the one before has ended.
        """
        for container in self.spec.get("initContainers", []):
            assert container.get("restartPolicy") == "Always", "an init container that is no sidecar"
            await self._run(container)
            await self.wait_for_probe(container["name"], "startupProbe")
        for container in self.spec["containers"]:
            await self._run(container)
            if hook := container.get("lifecycle", {}).get("postStart"):
                ended = await asyncio.create_subprocess_exec(
                    *self._command(hook["exec"]["command"], container),
                    env=self._environment_for(container),
                    cwd=self.private(container["name"]),
                )
                assert await ended.wait() == 0, "the postStart hook failed: the container would be killed"

    async def terminate(self) -> None:
        """Stop the containers within the pod's grace: the ordinary ones at once, then the sidecars from the last."""
        async with asyncio.timeout(self.spec["terminationGracePeriodSeconds"]):
            ordinary = [self._processes[container["name"]] for container in self.spec["containers"]]
            for process in ordinary:
                process.send_signal(signal.SIGTERM)
            for process in ordinary:
                await process.wait(timeout=60)
            await self.stop_sidecars()

    async def stop_sidecars(self) -> None:
        """Stop the native sidecars, as also when the other containers have ended of themselves."""
        for container in reversed(self.spec.get("initContainers", [])):
            self._processes[container["name"]].send_signal(signal.SIGTERM)
            await self._processes[container["name"]].wait(timeout=60)

    async def probe(self, name: str, kind: str) -> bool:
        """Ask once, as the kubelet does."""
        probe = self.container(name)[kind]
        timeout_s = probe.get("timeoutSeconds", 1)
        match probe:
            case {"grpc": {"port": int(port), **rest}}:
                return await self._probe_grpc(port, rest.get("service", ""), timeout_s)
            case {"httpGet": {"port": str(port_name), "path": path}}:
                port = next(p["containerPort"] for p in self.container(name)["ports"] if p["name"] == port_name)
                return await self._probe_http(f"http://{self.address}:{port}{path}", timeout_s)
        raise AssertionError(f"a probe of another type: {probe}")

    async def wait_for_probe(self, name: str, kind: str, *, succeeds: bool = True) -> None:
        """Ask until it succeeds (or fails), more often than the kubelet would, and no longer."""
        probe = self.container(name)[kind]
        async with asyncio.timeout(probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)):
            while await self.probe(name, kind) != succeeds:  # noqa: ASYNC110  # another process has no event
                await asyncio.sleep(0.02)

    async def _probe_grpc(self, port: int, service: str, timeout_s: float) -> bool:
        async with grpc.aio.insecure_channel(f"{self.address}:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _probe_http(self, url: str, timeout_s: float) -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(timeout_s)) as session,
                session.get(url) as answer,
            ):
                return 200 <= answer.status < 400
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _run(self, container: Resource) -> None:
        self.private(container["name"]).mkdir()
        image = self._images[container["image"].rpartition("/")[2].partition(":")[0]]
        program = container.get("command") or image
        process = await asyncio.create_subprocess_exec(
            *self._command([*program, *container.get("args", [])], container),
            stderr=asyncio.subprocess.PIPE,
            env=self._environment_for(container),
            cwd=self.private(container["name"]),
            start_new_session=True,
        )
        self._processes[container["name"]] = ServeProcess(process)

    def _command(self, command: list[str], container: Resource) -> list[str]:
        program, *arguments = command
        found = shutil.which(program, path=f"{BIN}:{os.environ['PATH']}")
        assert found is not None, program
        return [found, *(self._mapped(argument, container) for argument in arguments)]

    def _environment_for(self, container: Resource) -> dict[str, str]:
        private = str(self.private(container["name"]))
        values = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        slash_tmp = [mount for mount in container.get("volumeMounts", []) if mount["mountPath"] == SLASH_TMP]
        values |= {
            "PATH": f"{BIN}:{values['PATH']}",
            "HOME": private,
            "TMPDIR": str(self._paths[slash_tmp[0]["name"]]) if slash_tmp else private,
        }
        stated: dict[str, str] = {}
        for variable in container.get("env", []):
            value = self._value_of(variable)
            for name, known in stated.items():
                value = value.replace(f"$({name})", known)
            assert "$(" not in value, f"{variable['name']} needs a variable that is not stated before it"
            stated[variable["name"]] = self._mapped(value, container)
        return {**values, **stated, **self._environment}

    def _value_of(self, variable: Resource) -> str:
        match variable:
            case {"value": str(value)}:
                return value
            case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
                fields = {
                    "metadata.name": POD_NAME,
                    "metadata.namespace": NAMESPACE,
                    "status.podIP": self.address,
                }
                return fields[path]
        raise AssertionError(f"a variable of another type: {variable}")

    def _mapped(self, text: str, container: Resource) -> str:
        """Put this machine's paths and address in the place of the container's."""
        mounts = container.get("volumeMounts", [])
        assert all(mount.keys() <= {"name", "mountPath", "readOnly"} for mount in mounts), "only whole volumes"
        here = {mount["mountPath"]: str(self._paths[mount["name"]]) for mount in mounts}
        here |= {"0.0.0.0": self.address, "127.0.0.1": self.address}  # noqa: S104  # it replaces it
        pattern = "|".join(re.escape(there) for there in sorted(here, key=len, reverse=True))
        return re.sub(rf"(?:{pattern})(?![\w-])", lambda found: here[found[0]], text)


@asynccontextmanager
async def started(pod: Pod) -> AsyncIterator[Pod]:
    """Start a pod, and kill at the end what still runs."""
    async with pod:
        await pod.start()
        yield pod
