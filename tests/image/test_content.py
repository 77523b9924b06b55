"""What is in the image, and what is not: the base, less what installs, plus what the locked wheels hold."""

import importlib.metadata
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from sidecar import __version__
from tests.image.conftest import GIVEN, Built
from tests.image.lock import locked
from tests.support.buildah import ROOT

pytestmark = pytest.mark.timeout(600)  # the first one builds the image


def paths_of(root: Path) -> Iterator[tuple[str, Path]]:
    """Give everything below, links not followed, by its name in the image."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield f"/{path.relative_to(root)}", path


def is_byte_code(path: Path) -> bool:
    return path.name == "__pycache__" or path.parent.name == "__pycache__"


@pytest.fixture(scope="module")
def added(built: Built) -> dict[str, Path]:
    """Give what the image has and its base has not."""
    base = {name for name, _ in paths_of(built.base_root)}
    return {name: path for name, path in paths_of(built.root) if name not in base}


def megabytes(path: Path) -> float:
    files = [path, *path.rglob("*")]
    return sum(each.lstat().st_size for each in files if each.is_file() and not each.is_symlink()) / 1e6


def test_image_is_its_base_and_one_folder_and_byte_code(
    built: Built, added: dict[str, Path], state: Callable[[str], None]
) -> None:
    byte_code = megabytes(built.root / "usr/lib") - megabytes(built.base_root / "usr/lib")
    state(f"image above its base: /opt/push-sidecar {megabytes(built.home):.1f} MB, byte code {byte_code:.1f} MB")
    largest = sorted(((megabytes(path), path.name) for path in built.site_packages.iterdir()), reverse=True)[:6]
    state("the largest of it: " + ", ".join(f"{name} {size:.1f} MB" for size, name in largest))
    rest = {
        name for name, path in added.items() if not name.startswith("/opt/push-sidecar/") and not is_byte_code(path)
    }
    assert rest == {"/opt/push-sidecar"}


def test_nothing_of_the_base_is_gone_but_what_installs(built: Built) -> None:
    image = {name for name, _ in paths_of(built.root)}
    gone = [name for name, _ in paths_of(built.base_root) if name not in image]
    folder = f"/usr/local/lib/python{built.python['python_version']}/dist-packages"
    assert gone
    assert [name for name in gone if not name.startswith(folder)] == []


def test_installed_is_what_the_lock_asks_for_with_the_extra_for_redis(built: Built) -> None:
    wanted = {canonicalize_name(each.name): str(each.specifier)[2:] for each, _ in locked(built.python)}
    found = importlib.metadata.distributions(path=[str(built.site_packages)])
    versions = {canonicalize_name(each.metadata["Name"]): each.version for each in found}
    assert "redis" in wanted
    assert versions == {**wanted, "push-sidecar": __version__, "push-sidecar-client": __version__}


def test_every_installed_file_is_in_a_wheel_or_byte_code_of_one_that_is(built: Built) -> None:
    owned = {
        os.path.normpath(str(file.locate()))
        for each in importlib.metadata.distributions(path=[str(built.site_packages)])
        for file in each.files or ()
    }
    files = [path for _, path in paths_of(built.site_packages) if not path.is_dir()]
    sources = {path for path in files if not is_byte_code(path)}
    assert {str(path) for path in sources} <= owned
    compiled = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in files if is_byte_code(path)}
    assert compiled == {path for path in sources if path.suffix == ".py"}


def test_byte_code_is_not_compared_with_its_source(built: Built) -> None:
    flags = {path.read_bytes()[4:8] for path in built.site_packages.rglob("*.pyc")}
    assert flags == {b"\x01\0\0\0"}  # PEP 552: by hash, unchecked


@pytest.mark.parametrize(
    ("package", "source"), [("sidecar", "sidecar"), ("pushsidecar", "clients/python/src/pushsidecar")]
)
def test_project_is_there_as_it_is_tracked_and_without_its_tests(built: Built, package: str, source: str) -> None:
    tracked = subprocess.run(["git", "ls-files", "."], cwd=ROOT / source, check=True, capture_output=True, text=True)
    there = {
        name for name, path in paths_of(built.site_packages / package) if path.is_file() and not is_byte_code(path)
    }
    assert there == {f"/{name}" for name in tracked.stdout.split()}


@pytest.mark.parametrize("module", ["pip", "setuptools", "wheel"])
@pytest.mark.parametrize("python", ["/opt/push-sidecar/bin/python", "/usr/local/bin/python"])
def test_nothing_that_installs_can_be_imported(built: Built, python: str, module: str) -> None:
    command = ["chroot", built.root, python, "-c", f"import {module}"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr


def test_no_command_builds_or_installs(built: Built) -> None:
    commands = {
        path.name
        for folder in built.config.environment["PATH"].split(":")
        for path in (built.root / folder.lstrip("/")).glob("*")
    }
    assert "push-sidecar" in commands
    tools = {
        "cc",
        "gcc",
        "g++",
        "clang",
        "ld",
        "as",
        "make",
        "cmake",
        "cargo",
        "rustc",
        "go",
        "git",
        "curl",
        "wget",
        "uv",
    }
    assert {name for name in commands if name in tools or name.startswith(("pip", "easy_install", "wheel"))} == set()


def test_all_belongs_to_root_and_nobody_else_can_write_it(added: dict[str, Path]) -> None:
    found = {name: path.lstat() for name, path in added.items()}
    assert {(status.st_uid, status.st_gid) for status in found.values()} == {(0, 0)}
    loose = [name for name, status in found.items() if not stat.S_ISLNK(status.st_mode) and status.st_mode & 0o6022]
    assert loose == []


def test_all_can_be_read_by_the_user_that_it_runs_as(built: Built, added: dict[str, Path]) -> None:
    assert built.config.user == "65532:65532"
    modes = {name: path.lstat().st_mode for name, path in added.items()}
    assert [name for name, mode in modes.items() if mode & 0o004 == 0] == []
    assert [name for name, mode in modes.items() if stat.S_ISDIR(mode) and mode & 0o001 == 0] == []


def test_labels_say_what_the_build_was_told(built: Built) -> None:
    prefix = "org.opencontainers.image."
    assert {key.removeprefix(prefix): text for key, text in built.config.labels.items() if key.startswith(prefix)} == {
        "title": "push-sidecar",
        "licenses": "Apache-2.0",
        "version": GIVEN["VERSION"],
        "revision": GIVEN["REVISION"],
        "source": GIVEN["SOURCE"],
    }
