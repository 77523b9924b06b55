"""Writes the keys of `docs/configuration.md` from the records of `sidecar/config_records.py`.

`python docs/generate_configuration.py` writes; with `--check` it fails when the file is not current. What is
not a key is written by hand, in the file.
"""
# ruff: noqa: INP001  # a program, not a package

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as records

from sidecar.config_records import Config
from sidecar.config_tree import ENV_NESTING, ENV_PREFIX

FILE = Path(__file__).parent / "configuration.md"
APP = "NAME"

BEGIN = "<!-- The keys: written by docs/generate_configuration.py from sidecar/config_records.py. Do not edit. -->\n"
END = "<!-- End of the keys. -->\n"


def document(current: str) -> str:
    """Return the whole file: `current` with its keys as the records have them."""
    before, begin, rest = current.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{FILE.name} has lost the marks around its keys")
    return "".join([before, begin, "\n", "\n".join(_sections()), "\n", end, after])


def _sections() -> Iterator[str]:
    root, _ = _unwrap(records.type_info(Config))
    for field in root.fields:
        kind, _ = _unwrap(field.type)
        if isinstance(kind, records.StructType):
            yield _section(field.encode_name, kind, [field.encode_name])
        else:
            app, _ = _unwrap(kind.value_type)
            yield _section(f"{field.encode_name}.{APP}", app, [field.encode_name, APP])


def _section(title: str, record: records.StructType, path: list[str]) -> str:
    about = (record.cls.__doc__ or "").strip().splitlines()[0]
    rows = "\n".join(_rows(record, path, ""))
    return f"## `{title}`\n\n{about}\n\n| key | type | default | environment | |\n|---|---|---|---|---|\n{rows}\n"


def _rows(record: records.StructType, path: list[str], prefix: str) -> Iterator[str]:
    for field in record.fields:
        kind, description = _unwrap(field.type)
        name = f"{prefix}{field.encode_name}"
        here = [*path, field.encode_name]
        if isinstance(kind, records.StructType):
            yield from _rows(kind, here, f"{name}.")
            continue
        default = "**required**" if field.required else _default(field)
        variable = ENV_PREFIX + ENV_NESTING.join(part.upper() for part in here)
        yield f"| `{name}` | {_type(kind)} | {default} | `{variable}` | {description} |"


def _default(field: records.Field) -> str:
    if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return "unset"
    value: Any = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _unwrap(kind: Any) -> tuple[Any, str]:
    """Return a type without its description, and the description."""
    description = ""
    while isinstance(kind, records.Metadata):
        description = (kind.extra_json_schema or {}).get("description", description)
        kind = kind.type
    return kind, description


def _type(kind: Any) -> str:
    kind, _ = _unwrap(kind)
    match kind:
        case records.UnionType():
            return _type(next(option for option in kind.types if not isinstance(option, records.NoneType)))
        case records.BoolType():
            return "true, false"
        case records.StrType():
            return "text"
        case records.IntType() | records.FloatType():
            return ("whole number" if isinstance(kind, records.IntType) else "number") + _range(kind)
        case records.LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case records.CustomType():
            return "path"
        case records.ListType():
            return f"list of {_type(kind.item_type)}"
        case records.DictType():
            return f"mapping of {_type(kind.key_type)} to {_type(kind.value_type)}"
    raise TypeError(f"no words for {kind!r}")


def _range(kind: records.IntType | records.FloatType) -> str:
    low = f", {kind.ge:g} or more" if kind.ge is not None else f", above {kind.gt:g}" if kind.gt is not None else ""
    return f"{low}, at most {kind.le:,}" if kind.le is not None else low


def main() -> int:
    """Write or check the file; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")
    args = parser.parse_args()
    current = FILE.read_text()
    wanted = document(current)
    if not args.check:
        FILE.write_text(wanted)
        return 0
    if current == wanted:
        return 0
    sys.stderr.write(f"{FILE.name} is not current: run `python docs/{Path(__file__).name}`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
