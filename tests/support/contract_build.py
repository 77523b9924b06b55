"""The modules of `proto/`, which are programs beside each other and no package."""

import importlib.util
import sys
from types import ModuleType

from tests.support.process import ROOT


def load(name: str) -> ModuleType:
    """Import a module of `proto/`, which may import others of that folder."""
    folder = str(ROOT / "proto")
    spec = importlib.util.spec_from_file_location(name, f"{folder}/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)  # not for longer: its folder `pushsidecar` must not hide the package
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module
