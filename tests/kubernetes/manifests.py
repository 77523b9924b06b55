"""The manifests of deploy/kubernetes as an operator gets them: built by kustomize, read as plain data."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import yaml

from tests.support.toolchains import find_tool, run_tool

Resource = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy" / "kubernetes"
SIDECAR: Final = "push-sidecar"
KUSTOMIZE_VERSION: Final = "v5.8.2"
# The first version whose clusters have native sidecars without a feature gate, and the newest that is known.
VERSIONS: Final = ("1.29", kubernetes_validate.latest_version())


def build(folder: Path) -> list[Resource]:
    """Build a kustomization."""
    return [resource for resource in yaml.safe_load_all(run_tool(*_command(), str(folder), cwd=ROOT)) if resource]


def _command() -> tuple[str, ...]:
    if shutil.which("kubectl"):
        return "kubectl", "kustomize"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kustomize = shutil.which("kustomize", path=str(cache / "push-sidecar" / f"kustomize-{KUSTOMIZE_VERSION}"))
    if kustomize is not None:
        return kustomize, "build"
    return find_tool("kubectl"), "kustomize"


def write_overlay(
    folder: Path, resources: Sequence[Resource], components: Sequence[str] = ("sidecar",), **more: Any
) -> Path:
    """Write a kustomization that adds components of ours to resources; `more` are further keys of it."""
    names = []
    for number, resource in enumerate(resources):
        names.append(f"resource-{number}.yaml")
        (folder / names[-1]).write_text(yaml.safe_dump(resource))
    paths = [os.path.relpath((DEPLOY / name).resolve(), folder.resolve()) for name in components]
    tree = {"resources": names, "components": paths, **more}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(tree))
    return folder


def validate(resources: Sequence[Resource], version: str) -> None:
    """Hold resources against the API's schemas, unknown fields included; a custom resource has none.

    Raises `kubernetes_validate.ValidationError`.
    """
    for resource in resources:
        if resource["kind"] != "PodMonitor":
            kubernetes_validate.validate(resource, version, strict=True)


def workload(kind: str, **pod_spec: Any) -> Resource:
    """Return a small workload of one container, called `shop`; `pod_spec` are further keys of its pods."""
    pods: Resource = {"containers": [{"name": "app", "image": "shop"}], **pod_spec}
    template = {"metadata": {"labels": {"app": "shop"}}, "spec": pods}
    spec: Resource = {"template": template}
    if kind == "Job":
        pods["restartPolicy"] = "Never"
    else:
        spec["selector"] = {"matchLabels": {"app": "shop"}}
    if kind == "StatefulSet":
        spec["serviceName"] = "shop"
    version = "batch/v1" if kind == "Job" else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "shop"}, "spec": spec}


def one(resources: Sequence[Resource], kind: str) -> Resource:
    """Return the only resource of a kind."""
    (found,) = [resource for resource in resources if resource["kind"] == kind]
    return found


def pod_template(resources: Sequence[Resource]) -> Resource:
    """Return the pod template of the only workload."""
    (found,) = [resource["spec"]["template"] for resource in resources if "template" in resource.get("spec", {})]
    template: Resource = found
    return template


def sidecar_of(resources: Sequence[Resource]) -> Resource:
    """Return the sidecar's container, a native sidecar or an ordinary one."""
    spec = pod_template(resources)["spec"]
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    (found,) = [container for container in containers if container["name"] == SIDECAR]
    sidecar: Resource = found
    return sidecar
