"""What kustomize makes of deploy/kubernetes: valid for the API, restricted, and what the documents promise of it."""

import copy
import re
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar import __version__
from sidecar.config_records import ServerConfig
from tests.kubernetes.manifests import (
    DEPLOY,
    KUSTOMIZE_VERSION,
    ROOT,
    SIDECAR,
    VERSIONS,
    Resource,
    build,
    one,
    pod_template,
    sidecar_of,
    validate,
    workload,
    write_overlay,
)
from tests.support.toolchains import find_tool, run_tool

KINDS = ["Deployment", "StatefulSet", "Job"]
EXAMPLES = ["example/service", "example/job"]
# What a stop takes beyond server.shutdown_grace_s: peers that do not leave (1), admin (2), traces (5).
END_OF_SIDECAR_S = 8


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_valid(example: str, version: str) -> None:
    validate(build(DEPLOY / example), version)


@pytest.mark.parametrize("components", [["sidecar"], ["sidecar", "simulated", "podmonitor"], ["ordinary"]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_components_make_of_a_workload_is_valid(kind: str, components: list[str], tmp_path: Path) -> None:
    resources = build(write_overlay(tmp_path, [workload(kind)], components))
    assert sidecar_of(resources)["image"] == f"{SIDECAR}:{__version__}"
    for version in VERSIONS:
        validate(resources, version)


def test_validation_finds_a_field_that_does_not_exist(tmp_path: Path) -> None:
    resources = build(write_overlay(tmp_path, [workload("Deployment")]))
    sidecar_of(resources)["startupProbe"]["grpc"]["services"] = "liveness"
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(resources, VERSIONS[0])


@pytest.mark.parametrize("kind", KINDS)
def test_sidecar_is_native_and_first_and_the_rest_of_the_pod_stays(kind: str, tmp_path: Path) -> None:
    init = {"name": "migrate", "image": "migrate"}
    volume = {"name": "data", "emptyDir": {}}
    given = workload(kind, initContainers=[init], volumes=[volume])
    resource = one(build(write_overlay(tmp_path, [given])), kind)
    pods = resource["spec"]["template"]["spec"]
    assert [container["name"] for container in pods["initContainers"]] == [SIDECAR, "migrate"]
    assert pods["initContainers"][0]["restartPolicy"] == "Always"
    assert pods["initContainers"][1] == init
    assert volume in pods["volumes"]
    assert pods["containers"] == given["spec"]["template"]["spec"]["containers"]
    assert resource["metadata"] == given["metadata"]
    assert resource["spec"].get("selector") == given["spec"].get("selector")


def test_a_workload_that_says_so_is_left_alone(tmp_path: Path) -> None:
    given = workload("Deployment")
    given["metadata"]["labels"] = {SIDECAR: "disabled"}
    for components in (["sidecar", "simulated"], ["ordinary"]):
        assert build(write_overlay(tmp_path, [given], components)) == [given]


@pytest.mark.parametrize("components", [["sidecar"], ["sidecar", "simulated"], ["ordinary"]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_sidecar_keeps_to_the_restricted_pod_security_standard(
    kind: str, components: list[str], tmp_path: Path
) -> None:
    resources = build(write_overlay(tmp_path, [workload(kind)], components))
    check_restricted(sidecar_of(resources))
    assert {next(iter(volume.keys() - {"name"})) for volume in pod_template(resources)["spec"]["volumes"]} <= {
        "emptyDir",
        "configMap",
        "secret",
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_pod_of_the_example_keeps_to_it_as_a_whole(example: str) -> None:
    pods = pod_template(build(DEPLOY / example))["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pods.keys()
    for container in [*pods["initContainers"], *pods["containers"]]:
        check_restricted({**container, "securityContext": {**pods["securityContext"], **container["securityContext"]}})


def check_restricted(container: Resource) -> None:
    """Hold a container against the Pod Security Standards' level `restricted`, and a read-only root."""
    context = dict(container["securityContext"])
    assert context.pop("runAsUser") > 0
    context.pop("runAsGroup", None)
    assert context == {
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert [port for port in container.get("ports", []) if "hostPort" in port] == []


def test_user_of_the_manifest_is_the_user_of_the_image(tmp_path: Path) -> None:
    context = sidecar_of(build(write_overlay(tmp_path, [workload("Job")])))["securityContext"]
    user = f"{context['runAsUser']}:{context['runAsGroup']}"
    assert f"\nUSER {user}\n" in (ROOT / "Dockerfile").read_text()


def test_probes_ask_what_the_health_listener_has(tmp_path: Path) -> None:
    sidecar = sidecar_of(build(write_overlay(tmp_path, [workload("Deployment")])))
    asked = {kind: sidecar[kind]["grpc"].get("service", "") for kind in sidecar if kind.endswith("Probe")}
    assert asked == {"startupProbe": "", "readinessProbe": "", "livenessProbe": "liveness"}
    listeners = {v["name"]: v["value"].rpartition(":") for v in sidecar["env"] if v["name"].endswith("__LISTEN")}
    ports = {port["name"]: port["containerPort"] for port in sidecar["ports"]}
    host, _, health_port = listeners["PUSH_SIDECAR_HEALTH__LISTEN"]
    assert host == "0.0.0.0"  # noqa: S104  # the kubelet comes from outside
    assert {sidecar[kind]["grpc"]["port"] for kind in asked} == {int(health_port)} == {ports["push-health"]}
    assert listeners["PUSH_SIDECAR_ADMIN__LISTEN"] == ("0.0.0.0", ":", str(ports["push-admin"]))  # noqa: S104
    assert listeners["PUSH_SIDECAR_SERVER__LISTEN"] == ("unix", ":", "/run/push-sidecar/push.sock")


@pytest.mark.parametrize("component", ["sidecar", "ordinary"])
def test_grace_is_enough_for_the_longest_end(component: str, tmp_path: Path) -> None:
    resources = build(write_overlay(tmp_path, [workload("Deployment")], [component]))
    grace_s = pod_template(resources)["spec"]["terminationGracePeriodSeconds"]
    lifecycle = sidecar_of(resources).get("lifecycle", {})
    before_s = int(re.findall(r"sleep\((\d+)\)", str(lifecycle))[0]) if lifecycle else 30
    assert before_s + ServerConfig().shutdown_grace_s + END_OF_SIDECAR_S <= grace_s


def test_an_overlay_has_the_last_word(tmp_path: Path) -> None:
    patch = {"op": "replace", "path": "/spec/template/spec/terminationGracePeriodSeconds", "value": 300}
    more: dict[str, Any] = {
        "patches": [{"patch": yaml.safe_dump([patch]), "target": {"kind": "Deployment"}}],
        "images": [{"name": SIDECAR, "newName": "registry.example.com/push", "newTag": "9"}],
    }
    resources = build(write_overlay(tmp_path, [workload("Deployment")], **more))
    assert pod_template(resources)["spec"]["terminationGracePeriodSeconds"] == 300
    assert sidecar_of(resources)["image"] == "registry.example.com/push:9"


@pytest.mark.parametrize("example", EXAMPLES)
def test_another_configuration_is_a_rollout_and_the_secret_is_not_part_of_it(example: str) -> None:
    resources = build(DEPLOY / example)
    name = one(resources, "ConfigMap")["metadata"]["name"]
    volumes = {volume["name"]: volume for volume in pod_template(resources)["spec"]["volumes"]}
    assert re.fullmatch(r"push-sidecar-config-[a-z0-9]{10}", name)
    assert volumes["push-sidecar-config"]["configMap"] == {"name": name}
    assert volumes["push-sidecar-secrets"]["secret"] == {"secretName": "push-sidecar-secrets"}
    assert "Secret" not in {resource["kind"] for resource in resources}


@pytest.mark.parametrize("example", EXAMPLES)
def test_secrets_reach_the_sidecar_alone_and_as_a_directory(example: str) -> None:
    resources = build(DEPLOY / example)
    mounts = {
        container["name"]: [mount for mount in container["volumeMounts"] if mount["name"] == "push-sidecar-secrets"]
        for key in ("initContainers", "containers")
        for container in pod_template(resources)["spec"][key]
    }
    wanted = {"name": "push-sidecar-secrets", "mountPath": "/run/secrets/push-sidecar", "readOnly": True}
    assert mounts.pop(SIDECAR) == [wanted]
    assert list(mounts.values()) == [[]]


def test_pod_monitor_selects_the_pods_and_names_the_port(tmp_path: Path) -> None:
    """Its kind is a custom resource: what is used of it is held against the operator's reference by hand."""
    resources = build(write_overlay(tmp_path, [workload("Deployment")], ["sidecar", "podmonitor"]))
    monitor, template = one(resources, "PodMonitor"), pod_template(resources)
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {"selector", "podMetricsEndpoints"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint.keys() == {"port", "path", "interval"}
    assert endpoint["path"] == "/metrics"
    assert re.fullmatch(r"[0-9]+s", endpoint["interval"])
    assert endpoint["port"] in {port["name"] for port in sidecar_of(resources)["ports"]}
    assert monitor["spec"]["selector"].keys() == {"matchLabels"}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_container_is_the_same_but_for_its_place(kind: str, tmp_path: Path) -> None:
    native = build(write_overlay(tmp_path, [workload(kind)]))
    ordinary = build(write_overlay(tmp_path, [workload(kind)], ["ordinary"]))
    changed = copy.deepcopy(pod_template(ordinary))
    first, *others = changed["spec"]["containers"]
    assert first.pop("lifecycle").keys() == {"postStart", "preStop"}
    assert (first.pop("command", None) is None) == (kind != "Job")
    changed["spec"].update(initContainers=[{**first, "restartPolicy": "Always"}], containers=others)
    assert changed == pod_template(native)


def test_ci_builds_the_kustomize_that_the_tests_look_for() -> None:
    run = (ROOT / ".ci" / "run").read_text()
    assert f"push-sidecar/kustomize-{KUSTOMIZE_VERSION}" in run
    assert f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE_VERSION}" in run


@pytest.mark.timeout(600)
def test_example_application_is_formatted_and_vetted() -> None:
    go, folder = find_tool("go"), DEPLOY / "example"
    assert run_tool(str(Path(go).with_name("gofmt")), "-l", ".", cwd=folder) == ""
    run_tool(go, "vet", "./...", cwd=folder)


def test_dockerfile_of_the_example_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    assert run_tool(str(hadolint), str(DEPLOY / "example" / "Dockerfile"), cwd=DEPLOY) == ""
