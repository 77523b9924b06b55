"""docs/kubernetes.md followed to the letter: its files, in folders as it says, give pods that push."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.simulator import Simulator
from tests.kubernetes.conftest import MakePod
from tests.kubernetes.manifests import DEPLOY, ROOT, SIDECAR, VERSIONS, build, one, pod_template, sidecar_of, validate
from tests.kubernetes.pod import Pod, started
from tests.support.running import android

Call = Callable[[Pod], PushServiceStub]

DOCUMENT = (ROOT / "docs" / "kubernetes.md").read_text()
FILES = dict(re.findall(r"^```yaml\n# shop/([\w.-]+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Give the folder `shop` beside the checkout, as the document has them."""
    (tmp_path / "push-sidecar").symlink_to(ROOT)
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def change(folder: Path, **keys: object) -> None:
    path = folder / "kustomization.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))


def test_every_file_of_the_document_is_used_here() -> None:
    assert DOCUMENT.count("```yaml\n") == len(FILES)
    assert set(FILES) == {
        "config.yaml",
        "kustomization.yaml",
        "deployment.yaml",
        "sidecar-patch.yaml",
        "networkpolicy.yaml",
        "job.yaml",
    }


@pytest.mark.parametrize("more", [[], ["simulated"], ["podmonitor"]], ids=str)
async def test_deployment_of_the_document_pushes(
    shop: Path, more: list[str], make_pod: MakePod, call: Call, vendor: Simulator
) -> None:
    paths = [f"../push-sidecar/deploy/kubernetes/{name}" for name in ["sidecar", *more]]
    assert all(path in DOCUMENT for path in paths)
    change(shop, components=paths)
    resources = build(shop)
    for version in VERSIONS:
        validate(resources, version)
    app = "demo-android" if more == ["simulated"] else "shop-android"
    async with started(make_pod(resources)) as pod:
        assert (await call(pod).Push(android(app=app), timeout=10)).push_id
    assert vendor.delivered == (app == "shop-android")


async def test_patch_of_the_document_keeps_request_ids_in_a_file(shop: Path, make_pod: MakePod, call: Call) -> None:
    assert "`patches: [{path: sidecar-patch.yaml}]`" in DOCUMENT
    change(shop, patches=[{"path": "sidecar-patch.yaml"}])
    resources = build(shop)
    validate(resources, VERSIONS[0])
    assert pod_template(resources)["spec"]["terminationGracePeriodSeconds"] == 120
    assert sidecar_of(resources)["resources"]["requests"] == {"cpu": "100m", "memory": "128Mi"}
    # The collector of the document is not there, which costs no push.
    async with started(make_pod(resources, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")) as pod:
        stub = call(pod)
        first = await stub.Push(android(request_id="order-1"), timeout=10)
        again = await stub.Push(android(request_id="order-1"), timeout=10)
        assert (again.push_id, again.replayed) == (first.push_id, True)
        assert pod.path(SIDECAR, "/var/lib/push-sidecar/ids.db").exists()


def test_network_policy_of_the_document_is_valid_and_selects_the_pods(shop: Path) -> None:
    change(shop, resources=["deployment.yaml", "networkpolicy.yaml"])
    resources = build(shop)
    for version in VERSIONS:
        validate(resources, version)
    selector = one(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= pod_template(resources)["metadata"]["labels"].items()


async def test_job_of_the_document_ends_without_native_sidecars(shop: Path, make_pod: MakePod) -> None:
    assert "`deploy/kubernetes/ordinary` in the place of `deploy/kubernetes/sidecar`" in DOCUMENT
    change(shop, resources=["job.yaml"], components=["../push-sidecar/deploy/kubernetes/ordinary"])
    resources = build(shop)
    validate(resources, VERSIONS[0])
    pod = make_pod(resources)
    command = pod.container("remind")["command"]
    command[-1] = command[-1].replace("remind;", "(exit 7);")
    async with started(pod):
        assert await pod.process("remind").wait(timeout=20) == 7
        assert await pod.process(SIDECAR).wait(timeout=20) == 0


def test_configuration_of_the_document_is_that_of_the_examples() -> None:
    wanted = yaml.safe_load(FILES["config.yaml"])
    for example in ("service", "job"):
        assert yaml.safe_load((DEPLOY / "example" / example / "config.yaml").read_text()) == wanted


def test_figures_of_the_document_are_those_of_the_manifest(shop: Path) -> None:
    resources = build(shop)
    requests, limits = (sidecar_of(resources)["resources"][key] for key in ("requests", "limits"))
    assert f"request {requests['cpu']}," in DOCUMENT
    assert f"request {requests['memory']} |" in DOCUMENT
    assert f"limit {limits['memory']} |" in DOCUMENT
    grace_s = pod_template(resources)["spec"]["terminationGracePeriodSeconds"]
    assert f"| all of it | {grace_s} s | `terminationGracePeriodSeconds` |" in DOCUMENT
