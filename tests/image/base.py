"""A stand-in for the base image that the Dockerfile names, made of Debian's packages, since nothing can be pulled here.

It has what the real one has and this image needs: Python of the same version from the same Debian, as `python`, with
pip and setuptools outside of Debian's own folders, the C++ library, and no byte code. It lacks the rest of Debian.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

from tests.support.buildah import ROOT, Store
from tests.support.toolchains import find_tool, run_tool

PACKAGES = ("python3-venv", "ca-certificates", "libstdc++6", "base-files", "coreutils", "dash")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}
HANDED_OVER = frozenset({"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"})
CA_FILE = "etc/ssl/pip-ca.pem"


class Base(NamedTuple):
    """The base image that the Dockerfile names."""

    python: str
    suite: str


def stated_base() -> Base:
    """Read it from the Dockerfile."""
    match = re.search(r"^ARG BASE=python:(3\.\d+)-slim-(\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert match is not None, "the base is no longer one of Python's slim images: mend the stand-in"
    return Base(*match.groups())


def build_base(store: Store, image: str) -> None:
    """Make the stand-in."""
    base = stated_base()
    name, root = store.mount("scratch")
    packages = f"--include={','.join(PACKAGES)}"
    run_tool(find_tool("mmdebstrap"), "--quiet", "--variant=extract", packages, base.suite, str(root), cwd=ROOT)
    library = root / "usr/lib" / f"python{base.python}"
    (library / "EXTERNALLY-MANAGED").unlink(missing_ok=True)
    command = root / "usr/local/bin/python"
    command.parent.mkdir(parents=True)
    command.symlink_to(f"/usr/bin/python{base.python}")
    for wheel in (root / "usr/share/python-wheels").glob("*.whl"):
        ZipFile(wheel).extractall(root / "usr/local/lib" / f"python{base.python}" / "dist-packages")
    for placeholder in ("etc/hosts", "etc/resolv.conf"):  # engines leave them in what they build
        (root / placeholder).touch()
    (root / "opt").mkdir(exist_ok=True)
    _hand_over_pip_configuration(root)
    store.commit(name, image, ENVIRONMENT)


def _hand_over_pip_configuration(root: Path) -> None:
    """Let pip in the base reach what pip reaches here: the same index, the same certificates."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    options: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):  # the environment wins
        key, value = line.split("=", 1)
        option, text = key.rsplit(".", 1)[-1], str(ast.literal_eval(value))
        if option == "cert":
            shutil.copyfile(text, root / CA_FILE)
            options[option] = f"/{CA_FILE}"
        elif option in HANDED_OVER:
            options[option] = text.replace("\n", "\n  ")
    lines = (f"{option} = {text}\n" for option, text in options.items())
    (root / "etc/pip.conf").write_text("[global]\n" + "".join(lines))
