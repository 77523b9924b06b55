"""The arrows between modules, read from every import statement, those inside functions and for types included."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.process import ROOT

PACKAGE = ROOT / "sidecar"

# What a part may import of the others; "." is the package itself (its version). Itself it may always.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "tracebacks": set(),
    "config_address": set(),
    "config_tree": set(),
    "config_records": set(),
    "config_secrets": {"config_records", "config_tree"},
    "config": {"config_address", "config_records", "config_secrets", "config_tree"},
    "key_log": {"config"},
    "secrets": {"config"},
    "certificate_files": {"config"},
    "target_hash": {"config"},
    "stores": {"config", "key_log", "transport"},
    "telemetry": {".", "config"},
    "transport": set(),
    "delivery": {
        "certificate_files",
        "config",
        "errors",
        "key_log",
        "secrets",
        "stores",
        "target_hash",
        "telemetry",
        "tracebacks",
        "transport",
    },
    "providers": {".", "config", "delivery", "errors", "secrets", "target_hash", "transport"},
    "server": {
        "certificate_files",
        "config",
        "config_address",
        "delivery",
        "errors",
        "providers",
        "secrets",
        "telemetry",
        "tracebacks",
    },
    "simulator": set(),
    "descriptors": {"config"},
    "app": {".", "config", "delivery", "descriptors", "providers", "secrets", "server", "telemetry", "transport"},
    "cli": {"app", "config", "descriptors", "simulator", "target_hash", "telemetry"},
    "__main__": {".", "cli"},
    ".": set(),
}

# Third-party packages, and the only modules that may know them. What is not named is free.
OWNERS: dict[str, dict[str, str]] = {
    "httpx": {"sidecar.transport": "the vendor side of HTTP"},
    "httptools": {"sidecar.transport.answer": "parses the vendors' answers"},
    "aiohttp": {
        "sidecar.server.admin": "serves the operators' HTTP (aiohttp.web)",
        "sidecar.simulator": "serves the simulated vendor (aiohttp.web)",
    },
    "grpc": {"sidecar.server": "the callers' side", "sidecar.cli": "a caller itself, of the verbs that push"},
    "grpc_health": {"sidecar.server.health": "health", "sidecar.cli.wait": "asks for it, as a probe does"},
    "grpc_reflection": {"sidecar.server.server": "reflection"},
    "opentelemetry": {"sidecar.telemetry": "spans"},
    "prometheus_client": {"sidecar.telemetry": "metrics"},
    "protovalidate": {"sidecar.providers": "the rules of the contract"},
    "pushsidecar": {
        "sidecar.providers": "the contract of the provider",
        "sidecar.cli": "a caller itself, of the verbs that push",
    },
    "redis": {
        "sidecar.stores.redis": "the shared store of request ids",
        "sidecar.stores.quota_redis": "the shared counter of quotas",
        "sidecar.stores.redis_client": "its connection",
        "sidecar.stores.redis_check": "what is asked of it at the start",
        "sidecar.stores.redis_failure": "its errors",
        "sidecar.stores.build": "the type of that connection",
    },
    "sqlite3": {
        "sidecar.stores.sqlite": "the store of request ids in a file",
        "sidecar.stores.sqlite_clock": "its time, which stands in the file",
        "sidecar.stores.sqlite_share": "whose its records are",
    },
    "yaml": {"sidecar.config_tree": "the configuration file", "sidecar.cli": "writes an example of it"},
    "rich": {"sidecar.cli": "tables for people"},
    "cryptography": {
        "sidecar.simulator.tls": "the throw-away CA",
        "sidecar.certificate_files": "checks a certificate and its key",
        "sidecar.server.tls": "checks a listener's certificate",
        "sidecar.server.certificate": "reads a caller's certificate",
    },
    "uvloop": {"sidecar.cli": "the verbs that run a loop"},
}

# Names of the XG document that are not the contract's own.
VENDOR_NAMES = (
    "ret_code", "err_msg", "audience_type", "message_type", "aty_attr", "loop_times", "loop_interval",
    "xg_media_resources", "badge_type", "mutable-content", "content-available", "/v3/push", "tencent",
)  # fmt: skip
VENDOR_PLACES = {
    "sidecar.providers.xg": "the vendor's provider",
    "sidecar.simulator": "the vendor's simulator",
    "sidecar.providers.common.redact": "protobuf's descriptors have a `message_type`",
    "sidecar.providers.common.plain": "protobuf's descriptors have a `message_type`",
    "sidecar.cli.simulate": "its help shows what to ask of the simulator",
    "sidecar.cli.send_request": "a flag of its own is called `--message-type`",
}

# Start-up time and memory: `serve` without traces has no use for these.
NOT_FOR_SERVE = (
    "rich", "cryptography", "matplotlib", "numpy", "requests", "opentelemetry.exporter", "sidecar.simulator",
    "pytest", "redis", "sidecar.stores.sqlite", "sidecar.stores.redis", "sidecar.stores.quota_redis",
)  # fmt: skip


# What the providers share; it knows none of them.
COMMON = "common"


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(), str(path))
    return found


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """Return the full names that a module imports: of `from a import b` both `a` and `a.b`, if that is a module."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from submodules
            # A package that only serves as the way to its modules is not meant itself.
            if len(submodules) < len(node.names):
                yield node.module


def part_of(name: str) -> str:
    """Return the first part below `sidecar`; "." for the package itself."""
    return name.split(".")[1] if "." in name else "."


def is_in(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def test_every_part_has_its_arrows_here() -> None:
    assert {part_of(name) for name in MODULES} == set(ARROWS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_arrows(name: str) -> None:
    part = part_of(name)
    for target in imported(name):
        if is_in(target, "sidecar"):
            to = part_of(target)
            assert to == part or to in ARROWS[part], f"{name} imports {target}"


def test_every_arrow_is_used() -> None:
    used = {part: {part_of(to) for name in MODULES if part_of(name) == part for to in imported(name)
                   if is_in(to, "sidecar")} - {part} for part in ARROWS}  # fmt: skip
    assert {part: targets - used[part] for part, targets in ARROWS.items() if targets - used[part]} == {}


def test_provider_knows_no_other_provider() -> None:
    for name in MODULES:
        parts = name.split(".")
        if parts[:2] != ["sidecar", "providers"] or len(parts) < 4:
            continue
        for target in imported(name):
            others = target.split(".")
            if others[:2] == ["sidecar", "providers"] and len(others) > 3:
                assert others[2] in {parts[2], COMMON}, f"{name} imports {target}"


def test_only_the_registry_knows_the_providers() -> None:
    for name in MODULES:
        if part_of(name) == "providers" and name != "sidecar.providers.registry" and name.count(".") == 2:
            assert not [target for target in imported(name) if is_in(target, "sidecar.providers.xg")], name
        if part_of(name) not in {"providers", "cli"}:
            assert not [target for target in imported(name) if is_in(target, "sidecar.providers.xg")], name


def test_no_module_imports_itself_over_others() -> None:
    edges = {name: {target for target in imported(name) if target in MODULES} - {name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in edges[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("package", OWNERS)
def test_third_party_package_is_known_to_its_owners_only(package: str) -> None:
    users = {name for name in MODULES for target in imported(name) if is_in(target, package)}
    places = OWNERS[package]
    assert {name for name in users if not any(is_in(name, place) for place in places)} == set()
    unused = {place for place in places if not any(is_in(name, place) for name in users)}
    assert unused == set(), "an exception that nobody uses any more"


@pytest.mark.parametrize("name", ["sidecar.server.admin", *(n for n in MODULES if is_in(n, "sidecar.simulator"))])
def test_servers_use_no_http_client(name: str) -> None:
    clients = {"ClientSession", "TCPConnector", "UnixConnector", "request", "ClientTimeout"}
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ImportFrom) and node.module == "aiohttp":
            assert not {alias.name for alias in node.names} & clients
        if isinstance(node, ast.Import):
            # `import aiohttp` would hide which half is used.
            assert "aiohttp" not in {alias.name for alias in node.names}
    assert not [target for target in imported(name) if is_in(target, "aiohttp.client")]


@pytest.mark.parametrize("vendor_name", VENDOR_NAMES)
def test_vendors_own_names_stay_in_its_folders(vendor_name: str) -> None:
    users = set()
    for name in MODULES:
        path = ROOT / name.replace(".", "/")
        text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        if vendor_name.lower() in text.lower():
            users.add(name)
    assert {name for name in users if not any(is_in(name, place) for place in VENDOR_PLACES)} == set()
    assert any(is_in(name, "sidecar.simulator") or is_in(name, "sidecar.providers.xg") for name in users)


def test_serve_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import json, sys\n"
        "import sidecar.__main__\n"
        "import uvloop, sidecar.app, sidecar.telemetry.logs\n"
        "from sidecar.telemetry.export import build_exporter\n"
        "assert build_exporter({}) is None\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True))
    assert "sidecar.server.server" in loaded
    found = [name for name in loaded if any(is_in(name, unwanted) for unwanted in NOT_FOR_SERVE)]
    assert found == []


def test_package_is_typed_and_has_a_header_in_every_module() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_this_reads_what_python_reads() -> None:
    """The walk finds imports inside functions and those for types."""
    tree = ast.parse(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\ndef f():\n    from b import c\n"
    )
    MODULES["sidecar.probe"] = tree
    try:
        assert set(imported("sidecar.probe")) == {"typing", "a", "b"}
    finally:
        del MODULES["sidecar.probe"]
