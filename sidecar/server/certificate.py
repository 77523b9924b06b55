"""What a caller's certificate says: its names and its end. Whom a name means is callers.py's.

All is read from the certificate itself: gRPC shows the names as well, but ends each at its first NUL, so that
`orders<NUL>.evil` would pass as `orders`.
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

URI: Literal["uri"] = "uri"
DNS: Literal["dns"] = "dns"
IP: Literal["ip"] = "ip"

# A kind of name and the name, of a DNS name in lower case.
San = tuple[Literal["uri", "dns", "ip"], str]


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """`names` in the order in which they count. `refusal` tells why the certificate is good for nothing, if so."""

    names: tuple[San, ...] = ()
    expires_at_unix_s: float = 0.0
    refusal: str | None = None


@lru_cache(maxsize=1024)
def read_peer(pem: bytes) -> PeerCertificate:
    """Read a certificate, as PEM; raises nothing. It is kept: a connection's calls all show the same."""
    from cryptography import x509  # noqa: PLC0415  # only listeners with TLS need it

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        expires_at_unix_s = certificate.not_valid_after_utc.timestamp()
        names = [
            name
            for found in certificate.extensions
            if isinstance(found.value, x509.SubjectAlternativeName)
            for name in found.value
        ]
    except Exception:  # noqa: BLE001  # a peer made it: whatever is wrong with it, its names are not known
        return PeerCertificate(refusal="the caller's certificate has names or extensions that cannot be read")
    if not all(is_plain(name.value) for name in names if isinstance(name.value, str)):
        return PeerCertificate(refusal="the caller's certificate has a name with a NUL or another character of no name")
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    if len(uris) > 1:
        # A certificate of SPIFFE has exactly one URI; of one that breaks this rule, no name is taken.
        return PeerCertificate((), expires_at_unix_s)
    found: list[San] = [(URI, uri) for uri in uris]
    found += [(DNS, name.value.lower()) for name in names if isinstance(name, x509.DNSName)]
    found += [
        (IP, str(name.value))
        for name in names
        if isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Address | IPv6Address)
    ]
    return PeerCertificate(tuple(found), expires_at_unix_s)


def is_plain(name: str) -> bool:
    """Tell whether a name is printable ASCII: others, such as the Kelvin sign, may become ASCII in lower case."""
    return name.isascii() and name.isprintable()
