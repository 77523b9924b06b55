"""Reads secrets from files and variables, and says which texts can be one: the same rules for both, in `secret_of`.

What is wrong is said in words that hold nothing of the secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from sidecar.config_records import AppConfig, Secret
from sidecar.config_tree import ConfigError

# Targets such as phone numbers can all be tried; the key is what keeps them from being found by their hashes.
MIN_HASH_KEY_CHARS = 32
TARGET_HASH_KEY = "log.target_hash_key_file"

# What nobody sees in an editor, and every vendor refuses. Anything else that is not visible has no name here.
_INVISIBLE: Mapping[str, str] = {
    "\n": "a line break",
    "\r": "a line break",
    "\x85": "a line break",
    "\u2028": "a line break",
    "\u2029": "a line break",
    "\t": "a tab",
    "\0": "a NUL",
    "\ufeff": "a byte order mark",
    "\u00a0": "a no-break space",
    "\u00ad": "a soft hyphen",
    "\u200b": "a zero-width space",
    "\u200c": "a zero-width non-joiner",
    "\u200d": "a zero-width joiner",
}


def secret_of(key: str, text: str) -> Secret:
    """Return the secret that a text holds, without the white space around it.

    Raises `ConfigError` naming `key` when there is none, or something in it that cannot be seen.
    """
    value = text.strip()
    if not value:
        raise ConfigError(f"{key}: the secret is empty or missing")
    for character in value:
        if not character.isprintable():
            what = _INVISIBLE.get(character, "a character that is not visible")
            raise ConfigError(f"{key}: the secret holds {what}")
    return Secret(value)


def read_secret(name: str, app: AppConfig, environment: Mapping[str, str] = os.environ) -> Secret:
    """Return an app's secret key, from its file or environment variable.

    Raises `ConfigError` as `secret_of` does, and when the file cannot be read.
    """
    if app.secret_key_file is not None:
        return read_secret_file(f"apps.{name}.secret_key_file", app.secret_key_file)
    return secret_of(f"apps.{name}.secret_key_env", environment.get(app.secret_key_env or "", ""))


def read_secret_file(key: str, path: Path) -> Secret:
    """Return the secret that a file holds.

    Raises `ConfigError` as `secret_of` does, and when the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(f"{key}: cannot read {path}: {why}") from None
    return secret_of(key, text)


def read_target_hash_key(path: Path, key: str = TARGET_HASH_KEY) -> Secret:
    """Return the key of targets' hashes that a file holds.

    Raises `ConfigError` as `read_secret_file` does, and when the key is short enough to be guessed.
    """
    secret = read_secret_file(key, path)
    if len(secret.reveal()) < MIN_HASH_KEY_CHARS:
        raise ConfigError(
            f"{key}: {path} must hold at least {MIN_HASH_KEY_CHARS} characters, such as `openssl rand -hex 32` makes"
        )
    return secret
