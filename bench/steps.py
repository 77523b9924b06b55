"""Tells the steps of a push apart in what perf and py-spy sampled. Pure: it samples and prints nothing."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.programs import ROOT

PYTHON = "Python code"

# Libraries whose file name does not tell the step.
STEPS = {
    "grpc": "gRPC core and its Cython layer (grpc)",
    "libssl": "TLS (OpenSSL)",
    "libcrypto": "TLS (OpenSSL)",
    "_ssl": "TLS (OpenSSL)",
    "uvloop": "event loop and socket I/O (uvloop)",
    "google": "protobuf (google.protobuf)",
    "_protovalidate": "validation (protovalidate)",
    "protovalidate": "validation (protovalidate)",
    "msgspec": "JSON (msgspec)",
}


def step_of_library(path: str) -> str | None:
    """Name the step of an extension module or of OpenSSL; None: it works for its caller (libc, kernel)."""
    name = Path(path).name.partition(".")[0]
    in_packages = re.search(r"/(?:site|dist)-packages/([^/.]+)", path)
    package = in_packages.group(1) if in_packages else name
    if in_packages or name in STEPS or "/lib-dynload/" in path:
        return STEPS.get(name) or STEPS.get(package) or package
    return None


def is_source_of_a_library(path: str) -> bool:
    """Tell a library's C source, named where it has debug information, from Python's own."""
    is_c = re.search(r"\.(c|cc|cpp|h|pyx|rs)$", path) is not None
    return is_c and re.search(r"(^|/)(Python|Objects|Modules|Include|Parser)/|/include/python3", path) is None


def step_of_source(path: str) -> str | None:
    """Name the step of a Python file; None: it works for its caller (the standard library)."""
    if path.startswith(f"{ROOT / 'sidecar'}/"):
        parts = Path(path).relative_to(ROOT).with_suffix("").parts
        return ".".join(parts)
    in_packages = re.search(r"/(?:site|dist)-packages/([^/.]+)", path)
    return in_packages.group(1) if in_packages else None


def native_steps(script: str) -> Counter[str]:
    """Count perf's samples by the innermost frame that names a step; Python code is one step."""
    counted: Counter[str] = Counter()
    for sample in script.split("\n\n"):
        thread, *frames = sample.strip().splitlines() or [""]
        if not frames:
            continue
        named = (_native_step(frame) for frame in frames)
        counted[next((step for step in named if step), f"other of thread {thread.split()[0]}")] += 1
    return counted


def _native_step(frame: str) -> str | None:
    parts = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", frame)
    if parts is None:
        return None
    symbol, library = parts.groups()
    return PYTHON if symbol.startswith("_PyEval_EvalFrameDefault") else step_of_library(library)


def python_steps(stacks: Iterable[str]) -> Counter[str]:
    """Count py-spy's samples in which Python code was at work, by the innermost file that names a step."""
    counted: Counter[str] = Counter()
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        for frame in reversed(stack.split(";")):
            parts = re.match(r".* \((.*?)(?::\d+)?\)$", frame)
            if parts is None:
                continue
            file = parts.group(1)
            if not file.endswith(".py"):
                if step_of_library(file) or is_source_of_a_library(file):
                    break  # the library was at work
            elif step := step_of_source(file):
                counted[step] += int(samples)
                break
    return counted


def shares(native: Counter[str], python: Counter[str]) -> dict[str, float]:
    """Put both together: perf's shares, with the one of Python code divided as py-spy saw it."""
    whole, named = native.total(), python.total()
    found = {step: count / whole for step, count in native.items() if step != PYTHON}
    for module, count in python.items():
        step = f"{module} (Python)"
        found[step] = native[PYTHON] / whole * count / named
    if not named:
        found[PYTHON] = native[PYTHON] / whole
    return found
