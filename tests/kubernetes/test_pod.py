"""The rendered pods on this machine, from start over a push and a new secret to the end, by their own probes."""

import asyncio
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import aiohttp
import grpc
import pytest

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.kubernetes.conftest import SECRET_FILE, MakePod
from tests.kubernetes.manifests import DEPLOY, SIDECAR, build, workload, write_overlay
from tests.kubernetes.pod import NAMESPACE, POD_NAME, Pod, started
from tests.support.failures import failure_of
from tests.support.running import android
from tests.support.waiting import until

Call = Callable[[Pod], PushServiceStub]

CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "push-sidecar-config"},
    "data": {"config.yaml": (DEPLOY / "example" / "service" / "config.yaml").read_text()},
}


@pytest.fixture
def pod(make_pod: MakePod, tmp_path: Path) -> Pod:
    """Give the pod of a Deployment whose application sleeps."""
    return make_pod(build(write_overlay(tmp_path, [with_sleep("Deployment"), CONFIG_MAP])))


def with_sleep(kind: str, *command: str) -> dict[str, object]:
    app = {"name": "app", "image": SIDECAR, "command": list(command or ("sleep", "600"))}
    mounts = [{"name": "push-sidecar-socket", "mountPath": "/run/push-sidecar"}]
    return workload(kind, containers=[{**app, "volumeMounts": mounts}])


async def test_application_starts_when_the_sidecar_is_ready(pod: Pod) -> None:
    assert not await pod.probe(SIDECAR, "startupProbe")
    async with started(pod):
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert await pod.probe(SIDECAR, kind), kind
        # The application runs as another user: it may connect to the socket, whatever the sidecar's user.
        mode = pod.path(SIDECAR, "/run/push-sidecar/push.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o666


async def test_push_goes_by_the_socket_and_is_counted_at_the_address_of_the_pod(
    pod: Pod, call: Call, vendor: Simulator
) -> None:
    (port,) = [port["containerPort"] for port in pod.container(SIDECAR)["ports"] if port["name"] == "push-admin"]
    async with started(pod), aiohttp.ClientSession() as session:
        assert (await call(pod).Push(android(), timeout=10)).push_id
        assert vendor.delivered == 1
        async with session.get(f"http://{pod.address}:{port}/metrics") as answer:
            assert 'app="shop-android"' in await answer.text()
        # Callers have no port, so that no one outside of the pod can push.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(pod.address, 50051)


async def test_new_secret_is_used_without_a_restart(
    make_pod: MakePod, tmp_path: Path, call: Call, vendor: Simulator
) -> None:
    resources = build(write_overlay(tmp_path, [with_sleep("StatefulSet"), CONFIG_MAP]))
    pod = make_pod(resources, secret_key="the-old-one", PUSH_SIDECAR_SECRETS__RELOAD_INTERVAL_S="0.05")
    async with started(pod):
        stub = call(pod)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Push(android(), timeout=10)
        assert failure_of(refused.value).reason == "CREDENTIALS_REFUSED"
        pod.volumes["push-sidecar-secrets"].update({SECRET_FILE: vendor.android.secret_key})
        await pod.process(SIDECAR).wait_for("secret changed")
        assert (await stub.Push(android(), timeout=10)).push_id
        assert await pod.probe(SIDECAR, "livenessProbe")


async def test_sidecar_that_drains_is_alive_and_not_ready_and_answers_what_is_in_flight(
    pod: Pod, call: Call, vendor: Simulator
) -> None:
    async with started(pod):
        in_flight = asyncio.ensure_future(call(pod).Push(android("fault-latency-3:sim-1"), timeout=10))
        await until(lambda: vendor.received == 1)
        process = pod.process(SIDECAR)
        process.send_signal(signal.SIGTERM)
        await process.wait_for("stopping")
        await pod.wait_for_probe(SIDECAR, "readinessProbe", succeeds=False)
        assert await pod.probe(SIDECAR, "livenessProbe")
        assert not in_flight.done()
        assert (await in_flight).push_id
        assert await process.wait(timeout=20) == 0
        assert not pod.path(SIDECAR, "/run/push-sidecar/push.sock").exists()


async def test_nothing_is_written_but_the_socket(pod: Pod, call: Call) -> None:
    async with started(pod):
        await call(pod).Push(android(), timeout=10)
        assert [path.name for path in pod.path(SIDECAR, "/run/push-sidecar").iterdir()] == ["push.sock"]
        assert list(pod.private(SIDECAR).iterdir()) == []


async def test_log_says_nothing_of_the_push_or_the_secret(pod: Pod, call: Call, vendor: Simulator) -> None:
    async with started(pod):
        await call(pod).Push(android("sim-quite-private"), timeout=10)
        pod.process(SIDECAR).send_signal(signal.SIGTERM)
        assert await pod.process(SIDECAR).wait() == 0
        log = pod.process(SIDECAR).text + str(pod.process(SIDECAR).lines)
        assert "serving" in log
        assert vendor.android.secret_key not in log
        assert "quite-private" not in log


async def test_traces_would_name_the_pod(pod: Pod) -> None:
    environment = pod.environment(SIDECAR)
    assert environment["OTEL_RESOURCE_ATTRIBUTES"] == (
        f"k8s.namespace.name={NAMESPACE},k8s.pod.name={POD_NAME},k8s.container.name={SIDECAR}"
    )


@pytest.mark.timeout(600)
async def test_example_service_ends_with_its_request_answered_and_the_sidecar_after_it(
    make_pod: MakePod, example: Path, vendor: Simulator
) -> None:
    pod = make_pod(build(DEPLOY / "example" / "service"), example=example)
    pod.set_environment(LISTEN=f"{pod.address}:8080")
    url = f"http://{pod.address}:8080/orders/4711/shipped"
    async with started(pod), aiohttp.ClientSession() as session:
        await pod.wait_for_probe("shop", "readinessProbe")
        async with session.post(url, params={"token": "sim-1"}) as answer:
            assert (answer.status, (await answer.text())[:8]) == (200, "push_id ")
        async with session.post(url, params={"token": "nobody"}) as answer:
            assert answer.status == 502
            assert "nothing was pushed" in await answer.text()
        url = f"http://{pod.address}:8080/orders/4712/shipped"
        in_flight = asyncio.ensure_future(session.post(url, params={"token": "fault-latency-1.0:sim-2"}))
        await until(lambda: vendor.received == 2)
        await pod.terminate()
        assert (await in_flight).status == 200
        assert [await pod.process(name).wait() for name in ("shop", SIDECAR)] == [0, 0]
        assert vendor.delivered == 2


@pytest.mark.timeout(600)
async def test_example_job_completes_and_the_sidecar_ends_after_it(
    make_pod: MakePod, example: Path, vendor: Simulator
) -> None:
    resources = build(DEPLOY / "example" / "job")
    pod = make_pod(resources, example=example)
    pod.container("remind")["args"][-1] = "sim-1"
    async with started(pod):
        assert await pod.process("remind").wait(timeout=20) == 0
        assert pod.process("remind").text.startswith("push_id ")
        await pod.stop_sidecars()
        assert await pod.process(SIDECAR).wait() == 0
    assert vendor.delivered == 1


async def test_simulated_vendor_needs_neither_configuration_nor_secret(
    make_pod: MakePod, tmp_path: Path, call: Call
) -> None:
    resources = build(write_overlay(tmp_path, [with_sleep("Deployment"), CONFIG_MAP], ["sidecar", "simulated"]))
    pod = make_pod(resources)
    assert pod.volumes == {}
    async with started(pod):
        assert (await call(pod).Push(android(app="demo-android"), timeout=10)).push_id
        assert list(pod.path(SIDECAR, "/tmp").iterdir()) != []  # noqa: S108  # the volume at that path
        assert list(pod.private(SIDECAR).iterdir()) == []
        pod.process(SIDECAR).send_signal(signal.SIGTERM)
        assert await pod.process(SIDECAR).wait() == 0
        assert list(pod.path(SIDECAR, "/tmp").iterdir()) == []  # noqa: S108


async def test_ordinary_container_holds_the_application_back_until_it_is_ready(
    make_pod: MakePod, tmp_path: Path, call: Call
) -> None:
    resources = build(write_overlay(tmp_path, [with_sleep("Deployment"), CONFIG_MAP], ["ordinary"]))
    pod = make_pod(resources)
    async with started(pod):
        # The hook has ended, without any probe of the harness.
        assert (await call(pod).Push(android(), timeout=10)).push_id


async def test_ordinary_sidecar_of_a_job_ends_when_the_application_has(
    make_pod: MakePod, tmp_path: Path, vendor: Simulator
) -> None:
    script = "push-sidecar wait --target 127.0.0.1:50053; code=$?; touch /run/push-sidecar/ended; exit $code"
    resources = build(write_overlay(tmp_path, [with_sleep("Job", "sh", "-c", script), CONFIG_MAP], ["ordinary"]))
    async with started(make_pod(resources)) as pod:
        assert await pod.process("app").wait(timeout=20) == 0
        assert await pod.process(SIDECAR).wait(timeout=20) == 0
        assert pod.process(SIDECAR).lines[-1]["event"] == "stopped"


async def test_ordinary_sidecar_of_a_job_drains_when_it_is_told_to_stop(
    make_pod: MakePod, tmp_path: Path, call: Call, vendor: Simulator
) -> None:
    resources = build(write_overlay(tmp_path, [with_sleep("Job"), CONFIG_MAP], ["ordinary"]))
    async with started(make_pod(resources)) as pod:
        in_flight = asyncio.ensure_future(call(pod).Push(android("fault-latency-1.0:sim-1"), timeout=10))
        await until(lambda: vendor.received == 1)
        pod.process(SIDECAR).send_signal(signal.SIGTERM)
        assert (await in_flight).push_id
        assert await pod.process(SIDECAR).wait(timeout=20) == 0


async def test_ordinary_sidecar_of_a_job_that_cannot_start_ends_with_its_status(
    make_pod: MakePod, tmp_path: Path
) -> None:
    resources = build(write_overlay(tmp_path, [with_sleep("Job"), CONFIG_MAP], ["ordinary"]))
    pod = make_pod(resources, PUSH_SIDECAR_SERVER__LISTEN="nonsense")
    del pod.container(SIDECAR)["lifecycle"]
    async with started(pod):
        assert await pod.process(SIDECAR).wait(timeout=20) == 2
