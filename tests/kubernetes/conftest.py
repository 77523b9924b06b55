"""What stands in for a cluster: the images as commands, and the vendor as a simulator."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.kubernetes.manifests import DEPLOY, SIDECAR, Resource, one, pod_template
from tests.kubernetes.pod import Pod
from tests.support.toolchains import find_tool, run_tool

SECRET = "push-sidecar-secrets"
SECRET_FILE = "shop-android"
APP = "PUSH_SIDECAR_APPS__SHOP_ANDROID__"

MakePod = Callable[..., Pod]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program of the example's image."""
    program = tmp_path_factory.mktemp("example") / "example"
    run_tool(find_tool("go"), "build", "-o", str(program), ".", cwd=DEPLOY / "example")
    return program


@pytest.fixture
def make_pod(vendor: Simulator, tmp_path: Path) -> MakePod:
    """Make the pod of what kustomize gave, with the simulator as its vendor; nothing is started."""

    def make(
        resources: list[Resource], *, example: Path | None = None, secret_key: str = "", **environment: str
    ) -> Pod:
        config_map = one(resources, "ConfigMap")
        return Pod(
            pod_template(resources),
            tmp_path / "pod",
            images={SIDECAR: (SIDECAR,), "push-sidecar-example": (str(example),), "shop": ("sleep", "600")},
            config_maps={config_map["metadata"]["name"]: config_map["data"]},
            secrets_={SECRET: {SECRET_FILE: secret_key or vendor.android.secret_key}},
            environment={
                f"{APP}BASE_URL": vendor.base_url,
                f"{APP}CA_FILE": str(vendor.ca_file),
                f"{APP}APP_ID": vendor.android.app_id,
                **environment,
            },
        )

    return make


@pytest.fixture
async def call() -> AsyncIterator[Callable[[Pod], PushServiceStub]]:
    """Give stubs that call a pod's sidecar by its socket, as a container does that mounts the volume."""
    channels = []

    def stub(pod: Pod) -> PushServiceStub:
        socket = pod.path(SIDECAR, "/run/push-sidecar/push.sock")
        channels.append(grpc.aio.insecure_channel(f"unix:{socket}", (("grpc.enable_retries", 0),)))
        return PushServiceStub(channels[-1])

    yield stub
    for channel in channels:
        await channel.close()
