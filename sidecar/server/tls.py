"""TLS of a listener: its certificate, read from files and read again when they change, without dropping connections.

A new certificate is shown at the next handshake. What callers' certificates say is certificate.py's.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import blake2b

import grpc

from sidecar.certificate_files import load_pem, read_again, read_pair
from sidecar.config import ConfigError, TlsConfig
from sidecar.secrets import Watched

# gRPC's C core offers no signature by P-521.
_CURVES = frozenset({"secp256r1", "secp384r1"})


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
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415

    assert tls.cert_file is not None and tls.key_file is not None  # noqa: S101, PT018  # as check_tls has seen
    pair = read_pair(f"{key}.cert_file", tls.cert_file, f"{key}.key_file", tls.key_file)
    # With another kind gRPC goes on with the last certificate without a word, or no caller agrees with it.
    private = pair.private_key
    is_rsa = isinstance(private, rsa.RSAPrivateKey)
    if not is_rsa and not (isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES):
        raise ConfigError(f"{key}.key_file: {tls.key_file} must be a key of RSA, P-256 or P-384")
    client_ca = None
    if tls.client_ca_file is not None:
        client_ca, _ = load_pem(f"{key}.client_ca_file", tls.client_ca_file, x509.load_pem_x509_certificates)
    return Certificates(pair.chain, pair.key, client_ca, pair.expires_at)


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
            read=partial(read_again, partial(read_certificates, key, tls)),
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


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.key, certificates.chain)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=certificates.client_ca)
