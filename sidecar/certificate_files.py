"""Reads a certificate and its private key from PEM files, and checks that they can be used together, now."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sidecar.config import ConfigError

# So long a swap of the files may take, in the midst of which they do not fit each other.
_SWAP_S = 0.1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and its key, as PEM; `private_key` is the parsed key."""

    chain: bytes
    key: bytes = field(repr=False)
    private_key: Any = field(repr=False)
    expires_at: datetime


def read_pair(cert_key: str, cert_file: Path, key_key: str, key_file: Path) -> Pair:
    """Read and check a certificate and its key; `cert_key` and `key_key` are their keys in the configuration.

    Raises `ConfigError` naming the key of the file that cannot be used.
    """
    from cryptography import x509  # noqa: PLC0415  # only who has such files needs it
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    chain, certificates = load_pem(cert_key, cert_file, x509.load_pem_x509_certificates)
    private, private_key = load_pem(key_key, key_file, partial(load_pem_private_key, password=None))
    if certificates[0].public_key() != private_key.public_key():
        raise ConfigError(f"{key_key}: {key_file} is not the key of the certificate in {cert_file}")
    expires_at, now = certificates[0].not_valid_after_utc, datetime.now(UTC)
    if expires_at <= now:
        raise ConfigError(f"{cert_key}: the certificate in {cert_file} has expired")
    if certificates[0].not_valid_before_utc > now:
        raise ConfigError(f"{cert_key}: the certificate in {cert_file} is not valid yet")
    return Pair(chain, private, private_key, expires_at)


def load_pem(key: str, path: Path, parse: Callable[[bytes], Any]) -> tuple[bytes, Any]:
    """Return the content of a file, and what `parse` makes of it.

    Raises `ConfigError` naming `key`.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # as above

    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}: cannot read {path}: {error.strerror}") from None
    try:
        return pem, parse(pem)
    except TypeError:
        raise ConfigError(f"{key}: {path} holds a key with a passphrase: it must have none") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{key}: {path} holds no PEM that can be used") from None


def read_again(read: Callable[[], T]) -> T:
    """Read files that may be swapped right now, and once more when they do not fit: for a thread, which may wait.

    Raises `ConfigError` as `read` does.
    """
    try:
        return read()
    except ConfigError:
        time.sleep(_SWAP_S)
        return read()
