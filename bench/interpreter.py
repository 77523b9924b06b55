"""Which Python the servers run on: an optimised build where there is one, as in the image. It starts no server.

One that was built without PGO and LTO, as by pyenv, costs some ten percent more a push. The packages are those beside
the running Python: an optimised one of the same version and ABI finds them by PYTHONPATH.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.programs import ROOT, BenchError, run

PROBED_WITHIN_S = 30.0
# What is imported shows whether the packages with C parts work in it.
PROBE = """
import json, platform, sys, sysconfig
import grpc, uvloop
print(json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "abi": sysconfig.get_config_var("SOABI"),
    "config_args": sysconfig.get_config_var("CONFIG_ARGS") or "",
    "schemes": sysconfig.get_scheme_names(),
}))
"""
PACKAGES = os.pathsep.join([
    str(ROOT),
    str(ROOT / "clients" / "python" / "src"),  # the editable installs of .venv work in .venv alone
    *dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")),
])  # fmt: skip


@dataclass(frozen=True)
class Interpreter:
    """A Python that servers are started with. `build` says how it is optimised; empty: it is not."""

    executable: str
    version: str
    build: str

    @property
    def is_running(self) -> bool:
        """Whether it is the one that runs this program, and so finds the packages by itself."""
        return self.executable == sys.executable

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Add to `env` what it needs to find the packages; what `env` itself has comes first."""
        if self.is_running:
            return dict(env)
        first = env.get("PYTHONPATH")
        return {**env, "PYTHONPATH": PACKAGES if first is None else f"{first}{os.pathsep}{PACKAGES}"}

    def __str__(self) -> str:
        """Say it as in "Python 3.11.2, optimised (PGO, LTO)"."""
        if self.build:
            return f"Python {self.version}, optimised ({self.build})"
        return f"Python {self.version}, not optimised: no such build of the same version was found on PATH"


def build_of(config_args: str, schemes: Iterable[str]) -> str:
    """Say how a Python is optimised, by the arguments of its `configure`; empty: it is not."""
    if "deb_system" in schemes:  # Debian and Ubuntu do it without an argument, and leave no trace of the flags
        return "PGO and LTO, as Debian builds it"
    if "--enable-optimizations" not in config_args:
        return ""
    return "PGO and LTO" if "--with-lto" in config_args else "PGO"


def find_interpreter() -> Interpreter:
    """Return the running Python if it is optimised, else one of PATH that is, else the running one."""
    running, abi = _probe(sys.executable, {})
    if running.build:
        return running
    for candidate in _candidates():
        try:
            found, its_abi = _probe(candidate, {"PYTHONPATH": PACKAGES})
        except BenchError:
            continue  # it is none, or it cannot use the packages
        if found.build and its_abi == abi:
            return found
    return running


def _candidates() -> Iterator[str]:
    names = (f"python{sys.version_info.major}.{sys.version_info.minor}", "python3")
    seen = {Path(sys.executable).resolve()}
    for folder in (*os.get_exec_path(), "/usr/bin"):
        for name in names:
            path = Path(folder, name)
            if os.access(path, os.X_OK) and path.resolve() not in seen:
                seen.add(path.resolve())
                yield str(path)


def _probe(executable: str, env: Mapping[str, str]) -> tuple[Interpreter, str]:
    told = json.loads(run([executable, "-c", PROBE], within_s=PROBED_WITHIN_S, env=env))
    build = build_of(told["config_args"], told["schemes"])
    return Interpreter(told["executable"], told["version"], build), told["abi"]
