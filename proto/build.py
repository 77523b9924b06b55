"""Builds the contract: lint, breaking-change check, and the generated code that is committed.

Needs Go (it brings `buf/validate/validate.proto` and the Go plugins, both from its module proxy) and the project's
`dev` extra. Java callers generate their stubs in their own build (clients/java); what their helper is told of the
contract is written here.

    python proto/build.py lint        buf lint
    python proto/build.py breaking    buf breaking against the stored image of the last release
    python proto/build.py generate    writes the stubs of clients/python and clients/go, the names for the helpers, and
                                      the protos without rules of clients/proto, for every other language
    python proto/build.py check       fails when the committed stubs are not what `generate` writes
    python proto/build.py release     stores the image that `breaking` compares with
"""

import argparse
import filecmp
import importlib.metadata
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from build_tools import BuildError, go, plugin_folder, run, tool
from google.protobuf import descriptor_pb2
from plain_protos import VALIDATE_PROTO, write_plain_protos

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
RELEASED_IMAGE = PROTO / "released.binpb"
PROTOVALIDATE_MODULE = "github.com/bufbuild/protovalidate@v1.2.2"
GO_PACKAGE_ROOT = "github.com/push-sidecar/push-sidecar/clients/go"
GENERATED = {
    "python": ROOT / "clients/python/src/pushsidecar",
    "go": ROOT / "clients/go/pushsidecar",
    "java": ROOT / "clients/java/src/main/java/io/github/pushsidecar",
    "plain": ROOT / "clients/proto",
}
GENERATED_GLOBS = (
    "*_pb2*.py", "*_pb2*.pyi", "v1/__init__.py", "unary_methods.py", "*.pb.go", "UnaryMethods.java",
    "*.proto", "*.binpb",
)  # fmt: skip


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a buf workspace of our proto files and the one that they import."""
    with tempfile.TemporaryDirectory(prefix="push-sidecar-proto-") as name:
        folder = Path(name)
        shutil.copytree(PROTO / "pushsidecar", folder / "proto/pushsidecar")
        target = folder / "validate" / VALIDATE_PROTO
        target.parent.mkdir(parents=True)
        module = Path(json.loads(go("mod", "download", "-json", PROTOVALIDATE_MODULE))["Dir"])
        shutil.copyfile(module / "proto/protovalidate" / VALIDATE_PROTO, target)
        config = yaml.safe_load((PROTO / "buf.yaml").read_text())
        del config["deps"]  # the module beside ours stands in for them, so that no build asks buf's registry
        config["modules"] = [{"path": "proto"}, {"path": "validate"}]
        (folder / "buf.yaml").write_text(yaml.safe_dump(config))
        yield folder


def lint() -> None:
    """Check the style of the contract."""
    with workspace() as folder:
        run(tool("buf"), "format", "--diff", "--exit-code", "proto", cwd=folder)
        run(tool("buf"), "lint", "proto", cwd=folder)


def build_image(folder: Path) -> Path:
    """Compile the contract to a descriptor set that holds what it imports, too."""
    image = folder / "image.binpb"
    run(tool("buf"), "build", "proto", "-o", image, cwd=folder)
    return image


def breaking() -> None:
    """Compare with the stored image, and the image with the contract: what it lacks could be changed unseen."""
    with workspace() as folder:
        run(tool("buf"), "breaking", "proto", "--against", RELEASED_IMAGE, cwd=folder)
        stored, current = read_image(RELEASED_IMAGE), read_image(build_image(folder))
    known = {file.package for file in stored.file}
    missing = sorted(names_of(file for file in current.file if file.package in known) - names_of(stored.file))
    if missing:
        raise BuildError(
            f"proto/released.binpb is older than the contract, run `python proto/build.py release`: {missing[0]}"
        )


def names_of(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> set[str]:
    """Return the full names of everything that `buf breaking` protects: fields, enum values and methods."""
    names: set[str] = set()

    def add(prefix: str, messages: Iterable[descriptor_pb2.DescriptorProto]) -> None:
        for message in messages:
            inner = f"{prefix}.{message.name}"
            names.update(f"{inner}.{field.name}" for field in message.field)
            add_enums(inner, message.enum_type)
            add(inner, message.nested_type)

    def add_enums(prefix: str, enums: Iterable[descriptor_pb2.EnumDescriptorProto]) -> None:
        names.update(f"{prefix}.{enum.name}.{value.name}" for enum in enums for value in enum.value)

    for file in files:
        add(file.package, file.message_type)
        add_enums(file.package, file.enum_type)
        names.update(f"{file.package}.{service.name}.{rpc.name}" for service in file.service for rpc in service.method)
    return names


def release() -> None:
    """Store the image of this contract as the one that later ones must stay compatible with."""
    with workspace() as folder:
        image = read_image(build_image(folder))
        strip_validate(image)
        for file in image.file:
            file.ClearField("source_code_info")
        RELEASED_IMAGE.write_bytes(image.SerializeToString())


def read_image(path: Path) -> descriptor_pb2.FileDescriptorSet:
    """Read a descriptor set."""
    return descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())


def strip_validate(image: descriptor_pb2.FileDescriptorSet) -> None:
    """Take the import of `buf/validate/validate.proto` out, and leave the rules as they are.

    The rules then are options that the Python descriptor pool does not know, and keeps; protovalidate reads them. So
    our stubs never register `buf/validate/validate.proto`, and cannot collide with another copy of it.
    """
    kept = [file for file in image.file if file.name != VALIDATE_PROTO]
    for file in kept:
        dependencies = [name for name in file.dependency if name != VALIDATE_PROTO]
        del file.dependency[:]
        file.dependency.extend(dependencies)
    files = descriptor_pb2.FileDescriptorSet(file=kept)
    image.CopyFrom(files)


def generate_python(image_path: Path, out: Path) -> None:
    """Write messages, service stubs, and type hints for both."""
    image = read_image(image_path)
    strip_validate(image)
    stripped = image_path.with_name("stripped.binpb")
    stripped.write_bytes(image.SerializeToString())
    ours = sorted(file.name for file in image.file if file.name.startswith("pushsidecar/"))
    out.mkdir(parents=True)
    run(
        sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={stripped}",
        f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}", *ours,
    )  # fmt: skip
    services = [name for name in ours if name.endswith("_service.proto")]
    run(
        sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={stripped}",
        f"--plugin=protoc-gen-mypy_grpc={tool('protoc-gen-mypy_grpc')}", f"--mypy_grpc_out={out}", *services,
    )  # fmt: skip
    for path in out.rglob("*_pb2_grpc.py"):
        has_service = path.name.removesuffix("_pb2_grpc.py").endswith("_service")
        if not has_service:
            path.unlink()
    for path in out.rglob("*_pb2_grpc.pyi"):
        name_async_stubs(path)
    for package in sorted({str(Path(name).parent) for name in ours}):
        write_package(out / package, [file for file in image.file if str(Path(file.name).parent) == package])
    for path in out.rglob("*.py*"):
        path.write_text(path.read_text().rstrip() + "\n")


def name_async_stubs(hints: Path) -> None:
    """Give the types of asyncio's stubs, which the hints alone have, a name at run time: the same class serves both."""
    text = hints.read_text()
    module = hints.with_suffix(".py")
    names = re.findall(r"^class (\w+)AsyncStub\(", text, re.MULTILINE)
    lines = [f"{name}AsyncStub = {name}Stub  # the type of one that was made with a grpc.aio.Channel" for name in names]
    module.write_text("\n".join([module.read_text().rstrip(), "", "", *lines]) + "\n")
    hints.write_text(text.replace("@_typing.type_check_only\n", ""))


def write_package(folder: Path, files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    """Write the `__init__.py` that gathers the messages and enums of a proto package."""
    lines = ['"""Generated by proto/build.py. DO NOT EDIT!"""', ""]
    names: list[str] = []
    for file in sorted(files, key=lambda file: file.name):
        module = file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
        own = sorted([message.name for message in file.message_type] + [enum.name for enum in file.enum_type])
        own += [value.name for enum in file.enum_type for value in enum.value]
        lines += [f"from {module} import ("] + [f"    {name}," for name in own] + [")"]
        names += own
    lines += ["", "__all__ = ["] + [f'    "{name}",' for name in sorted(names)] + ["]"]
    (folder / "__init__.py").write_text("\n".join(lines) + "\n")


def generate_go(image_path: Path, out: Path) -> None:
    """Write the Go messages and service stubs."""
    plugins = plugin_folder()
    ours = sorted(f.name for f in read_image(image_path).file if f.name.startswith("pushsidecar/"))
    out.mkdir(parents=True)
    run(
        sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image_path}",
        f"--plugin=protoc-gen-go={plugins / 'protoc-gen-go'}",
        f"--plugin=protoc-gen-go-grpc={plugins / 'protoc-gen-go-grpc'}",
        f"--go_out={out}", f"--go_opt=module={GO_PACKAGE_ROOT}",
        f"--go-grpc_out={out}", f"--go-grpc_opt=module={GO_PACKAGE_ROOT}", *ours,
    )  # fmt: skip


def unary_methods(image: descriptor_pb2.FileDescriptorSet) -> list[tuple[str, str]]:
    """Return the methods of our services that take one message and give one back, as (service, method).

    A sidecar promises of each of them that UNAVAILABLE before its headers means "not sent", so that a client library
    may repeat it. Of a stream, which answers many pushes, no such thing can be said.
    """
    return sorted(
        (f"{file.package}.{service.name}", method.name)
        for file in image.file
        if file.package.startswith("pushsidecar.")
        for service in file.service
        for method in service.method
        if not method.client_streaming and not method.server_streaming
    )


def generate_unary_methods(image_path: Path, folder: Path) -> None:
    """Write which methods the retry policy of each language's helper is for, below `folder`."""
    methods = unary_methods(read_image(image_path))
    names = [f'{{"service": "{service}", "method": "{method}"}}' for service, method in methods]
    python = [
        '"""What the retry policy is for. Generated by proto/build.py. DO NOT EDIT."""',
        "",
        "from typing import Final",
        "",
        "# As a gRPC service config names them: the methods that take one message and give one back.",
        "UNARY_METHODS: Final = [",
        *(f"    {name}," for name in names),
        "]",
    ]
    go = [
        "// Code generated by proto/build.py. DO NOT EDIT.",
        "",
        "package pushsidecar",
        "",
        "// As a gRPC service config names them: the methods that take one message and give one back.",
        f"const unaryMethods = `{', '.join(names)}`",
    ]
    java = [
        "// Generated by proto/build.py. DO NOT EDIT!",
        "package io.github.pushsidecar.client;",
        "",
        "import java.util.List;",
        "import java.util.Map;",
        "",
        "/** The methods that take one message and give one back. */",
        "final class UnaryMethods {",
        "  /** As a gRPC service config names them. */",
        "  static final List<Map<String, String>> NAMES =",
        "      List.of(",
        ",\n".join(f'          Map.of("service", "{service}", "method", "{method}")' for service, method in methods)
        + ");",
        "",
        "  private UnaryMethods() {}",
        "}",
    ]
    for path, lines in (
        ("python/pushsidecar/unary_methods.py", python),
        ("go/pushsidecar/unary_methods.pb.go", go),
        ("java/pushsidecar/client/UnaryMethods.java", java),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("\n".join(lines) + "\n")


@contextmanager
def generated() -> Iterator[dict[str, Path]]:
    """Generate everything into a temporary folder; yields name -> folder, as in `GENERATED`."""
    with workspace() as folder:
        image = build_image(folder)
        generate_python(image, folder / "python")
        generate_go(image, folder / "go")
        generate_unary_methods(image, folder)
        write_plain_protos(read_image(image), folder / "proto", folder / "plain")
        fresh = {language: folder / language / "pushsidecar" for language in GENERATED}
        yield {**fresh, "plain": folder / "plain"}


def files_of(folder: Path) -> set[Path]:
    """Return the generated files below a folder, relative to it."""
    return {path.relative_to(folder) for glob in GENERATED_GLOBS for path in folder.rglob(glob)}


def generate() -> None:
    """Replace the committed stubs."""
    with generated() as folders:
        for language, fresh in folders.items():
            committed = GENERATED[language]
            for path in files_of(committed) - files_of(fresh):
                (committed / path).unlink()
            for path in files_of(fresh):
                (committed / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(fresh / path, committed / path)


def check() -> None:
    """Compare the committed stubs with fresh ones."""
    with generated() as folders:
        stale = [
            f"{GENERATED[language].relative_to(ROOT)}/{path}"
            for language, fresh in folders.items()
            for path in sorted(files_of(fresh) | files_of(GENERATED[language]))
            if not (fresh / path).exists()
            or not (GENERATED[language] / path).exists()
            or not filecmp.cmp(fresh / path, GENERATED[language] / path, shallow=False)
        ]
    if stale:
        raise BuildError("stale or edited generated files, run `make clients`:\n  " + "\n  ".join(stale))


COMMANDS: dict[str, Callable[[], None]] = {
    "lint": lint, "breaking": breaking, "generate": generate, "check": check, "release": release,
}  # fmt: skip


def main() -> int:
    """Run the named commands in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="+", choices=COMMANDS)
    try:
        for command in parser.parse_args().command:
            COMMANDS[command]()
            sys.stdout.write(f"proto {command}: ok\n")
    except (BuildError, importlib.metadata.PackageNotFoundError) as error:
        sys.stderr.write(f"proto: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
