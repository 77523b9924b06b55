"""Throw-away certificates for the tests' TLS servers: an authority, and leaves that are right or wrong on purpose."""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtensionOID, NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Leaf:
    """A certificate and its key, as PEM files."""

    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority; `ca_file` is what clients trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("push-sidecar test CA")
        self._id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = (
            _builder(self._name, self._name, self._key, dt.datetime.now(dt.UTC) + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(self._id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, *names: str, is_expired: bool = False) -> ssl.SSLContext:
        """Return a server's TLS context with a leaf for `names` (host names or addresses; default: loopback)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = self.leaf(*names, is_expired=is_expired)
        context.load_cert_chain(leaf.cert_file, leaf.key_file)
        return context

    def leaf(
        self,
        *names: str | x509.GeneralName,
        is_expired: bool = False,
        lives_s: float | None = None,
        key: CertificateIssuerPrivateKeyTypes | None = None,
        names_der: bytes | None = None,
    ) -> Leaf:
        """Make a certificate and its key (default: P-256).

        `names` are host names, addresses or URIs as text, or names of any kind; default: loopback. `names_der` takes
        their place, as it is. The certificate ends in `lives_s` from now, and began ten days before that.
        """
        alternatives: x509.ExtensionType
        if names_der is None:
            alternatives = x509.SubjectAlternativeName(
                [_alternative(name) for name in names or ("127.0.0.1", "localhost")]
            )
        else:
            alternatives = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names_der)
        key = key or ec.generate_private_key(ec.SECP256R1())
        lives = _DAY if lives_s is None else dt.timedelta(seconds=lives_s)
        end = dt.datetime.now(dt.UTC) + (-_DAY if is_expired else lives)
        leaf = (
            _builder(_name("push-sidecar test"), self._name, key, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._id), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_file = self._directory / f"leaf-{leaf.serial_number:x}.pem"
        key_file = cert_file.with_suffix(".key")
        cert_file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Leaf(cert_file, key_file)

    def demanding_context(self, *, revoked: Leaf | None = None) -> ssl.SSLContext:
        """Return a server's TLS context that demands a certificate of this authority."""
        context = self.server_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.ca_file)
        if revoked is not None:
            context.load_verify_locations(self._revoke(revoked))
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return context

    def _revoke(self, leaf: Leaf) -> Path:
        certificate = x509.load_pem_x509_certificate(leaf.cert_file.read_bytes())
        now = dt.datetime.now(dt.UTC)
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now).build()
        revoked = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - _DAY)
            .next_update(now + _DAY)
            .add_revoked_certificate(entry)
            .sign(self._key, hashes.SHA256())
        )
        file = self._directory / f"revoked-{certificate.serial_number:x}.pem"
        file.write_bytes(revoked.public_bytes(serialization.Encoding.PEM))
        return file


def strict_context(ca_file: Path) -> ssl.SSLContext:
    """Return a client's TLS context that checks as Python 3.13 and later do by default, on any Python."""
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def names_der(*names: tuple[int, bytes]) -> bytes:
    """Return alternative names, encoded: each by its tag (1 email, 2 DNS, 6 URI, 7 address) and its bytes."""
    return _der(0x30, b"".join(_der(0x80 | tag, name) for tag, name in names))


def _der(tag: int, content: bytes) -> bytes:
    assert len(content) < 128  # a length of one byte
    return bytes([tag, len(content)]) + content


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str | x509.GeneralName) -> x509.GeneralName:
    if isinstance(name, x509.GeneralName):
        return name
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificateIssuerPrivateKeyTypes, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 10 * _DAY)
        .not_valid_after(end)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
