"""What a type checker accepts can be imported: every public name of the hints exists at run time."""

import ast
import importlib
from pathlib import Path

import pytest

import pushsidecar
from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceAsyncStub, PushServiceStub

PACKAGE = Path(pushsidecar.__file__).parent
HINTS = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.pyi"))
}


def names_of(hints: Path) -> set[str]:
    """Return the public names that a file of hints defines itself."""
    names = set()
    for node in ast.parse(hints.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(ast.unparse(node.target))
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("module", HINTS)
def test_every_name_of_the_hints_exists(module):
    names = names_of(HINTS[module])
    assert names
    assert names - set(dir(importlib.import_module(module))) == set()


def test_stub_of_asyncio_is_the_stub():
    assert PushServiceAsyncStub is PushServiceStub
