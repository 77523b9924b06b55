"""Reads the configuration file and the environment into one tree of plain values, and remembers what came from where.

What the keys are and mean is `config.py`'s.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ENV_PREFIX = "PUSH_SIDECAR_"
ENV_CONFIG = ENV_PREFIX + "CONFIG"
ENV_NESTING = "__"
# Sixty-four bits in the longest form, binary with its signs between the digits, take fewer.
MAX_INT_CHARS = 200
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
# The sections whose keys are names that the operator chooses.
_NAMED = frozenset({"APPS", "LISTENERS", "CALLERS"})
# Kubernetes gives these to every container near a Service called `push-sidecar` or `push-sidecar-...`: no keys of ours.
_KUBERNETES = re.compile(
    r"([A-Z0-9]+_)*(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class ConfigError(Exception):
    """A configuration that the sidecar refuses; the text names the key and where it stands."""


class _BeyondBounds(ConfigError):
    """YAML that no configuration is; the text quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where keys come from: the file, and the variables by the keys that they set or that are there by them alone."""

    file: str
    variables: Mapping[str, str]

    def of(self, key: str) -> str:
        """Return the name of the file or of the variable that set a key or what it stands in, the nearest first."""
        while key and key not in self.variables:
            key = key.rpartition(".")[0]
        return self.variables.get(key, self.file)


def read_tree(path: Path | None, environment: Mapping[str, str]) -> tuple[dict[str, Any], Source]:
    """Read the file (or that of `PUSH_SIDECAR_CONFIG`), if there is one, and set in it what the environment sets.

    Raises `ConfigError` naming the file or the variable.
    """
    if path is None and (named := environment.get(ENV_CONFIG)):
        path = Path(named)
    tree = _read_file(path) if path else {}
    return tree, Source(str(path) if path else "the environment", _apply_environment(tree, environment))


class _StrictLoader(yaml.SafeLoader):
    """PyYAML without its silent "the last of two equal keys wins", without dates, and with bounds."""

    # Nothing here is a date: `2024-01-31` stays the text that it is, as in YAML 1.2.
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own form
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _bounded_int(loader: _StrictLoader, node: yaml.ScalarNode) -> int:
    # Python refuses to read or to show an integer of many digits, by an exception of its own.
    if len(node.value) <= MAX_INT_CHARS and -(2**63) <= (value := loader.construct_yaml_int(node)) < 2**64:
        return value
    raise _BeyondBounds(f"a whole number is out of range (line {node.start_mark.line + 1})")


def _whole_text(loader: _StrictLoader, node: yaml.ScalarNode) -> str:
    # An escape such as `\ud800` makes half a character, which no file name, address or secret can have.
    text = loader.construct_yaml_str(node)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _BeyondBounds(f"a text holds half of a character (line {node.start_mark.line + 1})")
    return text


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    merge = "tag:yaml.org,2002:merge"  # `<<: *anchor`, which a mapping may have several times
    keys = [None if key.tag == merge else loader.construct_object(key) for key, _ in node.value]
    for index, key in enumerate(keys):
        if key is not None and key in keys[:index]:
            raise ConfigError(f"the key {key!r} stands twice (line {node.value[index][0].start_mark.line + 1})")
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG, _whole_text)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _bounded_int)


def _read_yaml(text: str) -> Any:
    """Read a YAML document.

    Raises `ConfigError` for everything that is none, or that no configuration is.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {_problem_of(error)}") from None
    except RecursionError:
        raise _BeyondBounds("it is nested too deeply") from None
    except (ValueError, LookupError, AttributeError, ArithmeticError):
        # PyYAML's constructors do not expect a tag, such as `!!int` or `!!timestamp`, before a text that is no such.
        raise ConfigError("not YAML: a value does not fit its tag") from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        tree = _read_yaml(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not YAML: {_problem_of(error)}") from None
    except ValueError:
        raise ConfigError(f"{str(path)!r}: is no name of a file") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: the top level must be a mapping")
    return tree


def _problem_of(error: Exception) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error).splitlines()[0]
    line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
    return f"{error.problem}{line}"


def _apply_environment(tree: dict[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Set the keys that the environment sets; returns the variables by these keys, and by the mappings they made."""
    secrets = _secret_variables(tree, environment)
    applied: dict[str, str] = {}
    for name, text in sorted(environment.items()):
        rest = name.removeprefix(ENV_PREFIX)
        if name in {rest, ENV_CONFIG, *secrets} or _KUBERNETES.fullmatch(rest):
            continue
        section, *keys = rest.split(ENV_NESTING)
        if section in _NAMED and keys:
            keys = [_own_name(tree, section.lower(), keys[0], name), *(key.lower() for key in keys[1:])]
        else:
            keys = [key.lower() for key in keys]
        keys = [section.lower(), *keys]
        made = _set(tree, keys, _parse(name, text), name)
        applied.update(dict.fromkeys([*made, ".".join(keys)], name))
    return applied


def _secret_variables(tree: dict[str, Any], environment: Mapping[str, str]) -> set[str]:
    """Return the variables that hold the apps' secrets, which may have our prefix, too."""
    found = {text for name, text in environment.items() if name.endswith("__SECRET_KEY_ENV")}
    apps = tree.get("apps")
    for app in apps.values() if isinstance(apps, dict) else ():
        if isinstance(app, dict) and isinstance(name := app.get("secret_key_env"), str):
            found.add(name)
    return found


def _own_name(tree: dict[str, Any], section: str, wanted: str, variable: str) -> str:
    """Environment names are upper case and know no dash: find the name that is meant, else a new one in lower case."""

    def fold(name: str) -> str:
        return name.upper().replace("-", "_").replace(".", "_")

    given = tree.get(section)
    names = given if isinstance(given, dict) else {}
    meant = [name for name in names if isinstance(name, str) and fold(name) == fold(wanted)]
    if len(meant) > 1:
        raise ConfigError(f"{variable}: may mean any of the {section} {', '.join(meant)}: set it in the file")
    return meant[0] if meant else wanted.lower()


def _parse(name: str, text: str) -> Any:
    try:
        return _read_yaml(text)
    except _BeyondBounds as error:
        raise ConfigError(f"{name}: {error}") from None
    except ConfigError:
        # Without its cause, which quotes what may be a secret in the wrong variable.
        raise ConfigError(f"{name}: the value is not YAML") from None


def _set(tree: dict[str, Any], keys: list[str], value: Any, name: str) -> list[str]:
    """Set a key; returns the mappings that had to be made for it."""
    made = []
    for number, key in enumerate(keys[:-1], start=1):
        if key not in tree:
            made.append(".".join(keys[:number]))
        below = tree.get(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{name}: {key} is not a mapping in the configuration file")
        # A copy: by a YAML anchor the same mapping may stand elsewhere, too.
        tree[key] = below = dict(below)
        tree = below
    tree[keys[-1]] = value
    return made
