"""TLS of a listener: its certificate, read from files and read again when they change, without dropping connections.

A new certificate is shown at the next handshake. What callers' certificates say is certificate.py's.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import grpc

from sidecar.config import ConfigError, TlsConfig
from sidecar.secrets import Watched

# gRPC's C core offers no signature by P-521.
_CURVES = frozenset({"secp256r1", "secp384r1"})
# So long a swap of the files may take, in the midst of which they do not fit each other.
_SWAP_S = 0.1


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a listener needs, as PEM. `client_ca` is None without mutual TLS."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expires_at: datetime

    @property
    def digest(self) -> bytes:
        """Tells whether anything is new."""
        parts = [self.chain, self.key, self.client_ca or b""]
        return blake2b(b"".join(blake2b(part).digest() for part in parts), digest_size=16).digest()


def check_tls(key: str, tls: TlsConfig) -> None:
    """Check the files of a listener; `key` is that of its `tls` in the configuration.

    Raises `ConfigError` naming the key.
    """
    if tls.cert_file is None and tls.key_file is None:
        if tls.client_ca_file is not None:
            raise ConfigError(f"{key}.client_ca_file: needs cert_file and key_file")
        return
    if tls.cert_file is None or tls.key_file is None:
        missing = "cert_file" if tls.cert_file is None else "key_file"
        raise ConfigError(f"{key}.{missing}: is required beside the other")
    read_certificates(key, tls)


def read_certificates(key: str, tls: TlsConfig) -> Certificates:
    """Read and check a listener's files.

    Raises `ConfigError` naming the key of the file that cannot be used.
    """
    from cryptography import x509  # noqa: PLC0415  # only listeners with TLS need it
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    def load(name: str, path: Path, parse: Callable[[bytes], Any]) -> tuple[bytes, Any]:
        try:
            pem = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{key}.{name}: cannot read {path}: {error.strerror}") from None
        try:
            return pem, parse(pem)
        except (ValueError, TypeError, UnsupportedAlgorithm):  # a TypeError is a key with a passphrase
            raise ConfigError(f"{key}.{name}: {path} holds no PEM that can be used") from None

    assert tls.cert_file is not None and tls.key_file is not None  # noqa: S101, PT018  # as check_tls has seen
    chain, certificates = load("cert_file", tls.cert_file, x509.load_pem_x509_certificates)
    private, private_key = load("key_file", tls.key_file, partial(load_pem_private_key, password=None))
    # With another kind gRPC goes on with the last certificate without a word, or no caller agrees with it.
    is_rsa = isinstance(private_key, rsa.RSAPrivateKey)
    if not is_rsa and not (isinstance(private_key, ec.EllipticCurvePrivateKey) and private_key.curve.name in _CURVES):
        raise ConfigError(f"{key}.key_file: {tls.key_file} must be a key of RSA, P-256 or P-384")
    client_ca = None
    if tls.client_ca_file is not None:
        client_ca, _ = load("client_ca_file", tls.client_ca_file, x509.load_pem_x509_certificates)
    if certificates[0].public_key() != private_key.public_key():
        raise ConfigError(f"{key}.key_file: {tls.key_file} is not the key of the certificate in {tls.cert_file}")
    expires_at, now = certificates[0].not_valid_after_utc, datetime.now(UTC)
    if expires_at <= now:
        raise ConfigError(f"{key}.cert_file: the certificate in {tls.cert_file} has expired")
    if certificates[0].not_valid_before_utc > now:
        raise ConfigError(f"{key}.cert_file: the certificate in {tls.cert_file} is not valid yet")
    return Certificates(chain, private, client_ca, expires_at)


class ListenerTls:
    """The credentials of one listener, which follow its files."""

    def __init__(self, listener: str, key: str, tls: TlsConfig) -> None:
        """Read the files.

        Raises `ConfigError`.
        """
        self.listener = listener
        self._current = read_certificates(key, tls)
        # What the next handshake has to take over; asked for by gRPC in a thread of its own.
        self._next: grpc.ServerCertificateConfiguration | None = None
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(self._current),
            self._fetch,  # type: ignore[arg-type]  # None is "nothing new", by grpc's own documentation
            require_client_authentication=self._current.client_ca is not None,
        )
        self.files = Watched(
            what="certificate",
            labels={"listener": listener},
            key=key,
            read=partial(_read_after_swap, key, tls),
            digest=lambda certificates: certificates.digest,
            current=self._current,
            use=self._use,
        )

    @property
    def expires_at(self) -> float:
        """When the certificate in use ends, in seconds since the epoch."""
        return self._current.expires_at.timestamp()

    def _use(self, certificates: Certificates) -> None:
        self._next = _configuration(certificates)
        self._current = certificates

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what is new since the last handshake."""
        found, self._next = self._next, None
        return found


def _read_after_swap(key: str, tls: TlsConfig) -> Certificates:
    """Read the files, and once more when they do not fit: for a thread, which may wait."""
    try:
        return read_certificates(key, tls)
    except ConfigError:
        time.sleep(_SWAP_S)
        return read_certificates(key, tls)


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.key, certificates.chain)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=certificates.client_ca)
