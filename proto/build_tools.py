"""The programs that build the contract: how they are found, run and installed."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GO_PLUGINS = (
    ("protoc-gen-go", "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12"),
    ("protoc-gen-go-grpc", "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2"),
)


class BuildError(Exception):
    """Something that the person at the terminal has to mend."""


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return its output; its own words are the error."""
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"{Path(command[0]).name} failed:\n{result.stdout}{result.stderr}".rstrip())
    return result.stdout


def tool(name: str) -> str:
    """Return the path of a command that the `dev` extra installs."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise BuildError(f"{name} is missing: run `make setup`")
    return str(path)


def go(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Run the Go command."""
    found = shutil.which("go")
    if found is None:
        raise BuildError("Go is missing (1.26 or newer, https://go.dev/dl): the contract is built with it")
    return run(found, *arguments, cwd=Path(tempfile.gettempdir()), env=env)


def plugin_folder() -> Path:
    """Return the folder of the Go plugins, installed at their pinned versions, outside of the repository."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "push-sidecar" / "go-plugins"
    for name, source in GO_PLUGINS:
        folder = cache / source.rpartition("@")[2]
        if not (folder / name).exists():
            go("install", source, env={**os.environ, "GOBIN": str(folder)})
        cache.mkdir(parents=True, exist_ok=True)
        link = cache / name
        link.unlink(missing_ok=True)
        link.symlink_to(folder / name)
    return cache
