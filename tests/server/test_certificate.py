"""What is read from a caller's certificate, and which certificates are good for nothing."""

import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.server.certificate import PeerCertificate, read_peer
from tests.support.certificates import Authority, names_der

URI, DNS, EMAIL = x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name
EMAIL_TAG, DNS_TAG, URI_TAG, IP_TAG = 1, 2, 6, 7
NO_NAME = "the caller's certificate has a name with a NUL or another character of no name"
UNREADABLE = "the caller's certificate has names or extensions that cannot be read"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def read(authority: Authority, *names: str | x509.GeneralName, der: bytes | None = None) -> PeerCertificate:
    return read_peer(authority.leaf(*names, names_der=der).cert_file.read_bytes())


def test_names_are_read_uri_first_then_dns_names_then_addresses(authority: Authority) -> None:
    found = read(authority, "10.1.2.3", "2001:DB8::1", "Billing.EXAMPLE", "spiffe://example.org/Orders", "b.example")
    assert found.names == (
        ("uri", "spiffe://example.org/Orders"),
        ("dns", "billing.example"),
        ("dns", "b.example"),
        ("ip", "10.1.2.3"),
        ("ip", "2001:db8::1"),
    )
    assert found.refusal is None


def test_end_is_read(tmp_path: Path) -> None:
    leaf = Authority(tmp_path).leaf("a.example")
    end = x509.load_pem_x509_certificate(leaf.cert_file.read_bytes()).not_valid_after_utc
    assert read_peer(leaf.cert_file.read_bytes()).expires_at_unix_s == end.timestamp()


OTHER_KINDS: dict[str, x509.GeneralName] = {
    "email": EMAIL("billing@example.org"),
    "directory": x509.DirectoryName(x509.Name([])),
    "other": x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x03a\x00b"),
    "registered-id": x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    "network": x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
}


@pytest.mark.parametrize("name", OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_names_of_other_kinds_are_no_names_and_do_no_harm(authority: Authority, name: x509.GeneralName) -> None:
    found = read(authority, name, "a.example")
    assert (found.names, found.refusal) == ((("dns", "a.example"),), None)


def test_certificate_with_two_uris_counts_by_none_of_its_names(authority: Authority) -> None:
    found = read(authority, URI("spiffe://example/a"), URI("spiffe://example/b"), "a.example", "10.1.2.3")
    assert (found.names, found.refusal) == ((), None)


@pytest.mark.parametrize(
    "name",
    [URI("spiffe://example/a\0.evil"), DNS("a.example\0.evil"), EMAIL("a@b\0.evil"), DNS("\0"), DNS("a.example\n")],
    ids=["uri", "dns", "email", "nul-alone", "newline"],
)
def test_certificate_with_a_nul_in_any_name_is_refused_without_quoting_it(
    authority: Authority, name: x509.GeneralName
) -> None:
    found = read(authority, "good.example", name)
    assert found == PeerCertificate(refusal=NO_NAME)


UNUSUAL: dict[str, tuple[bytes, str]] = {
    # `K`, the Kelvin sign, is `k` in lower case.
    "kelvin-sign": (names_der((DNS_TAG, "boo\N{KELVIN SIGN}ing.example".encode())), NO_NAME),
    "latin-1": (names_der((DNS_TAG, b"caf\xe9.example"), (DNS_TAG, b"a.example")), UNREADABLE),
    "address-of-five-bytes": (names_der((IP_TAG, b"\x0a\x01\x02\x03\x04"), (DNS_TAG, b"a.example")), UNREADABLE),
    "kind-that-there-is-not": (names_der((9, b"x"), (DNS_TAG, b"a.example")), UNREADABLE),
    "x400-address": (names_der((3, b""), (DNS_TAG, b"a.example")), UNREADABLE),
    "cut": (names_der((DNS_TAG, b"a.example"))[:-3], UNREADABLE),
    "nothing": (b"", UNREADABLE),
}


@pytest.mark.parametrize(("der", "refusal"), UNUSUAL.values(), ids=UNUSUAL)
def test_certificate_that_cannot_be_read_is_refused(authority: Authority, der: bytes, refusal: str) -> None:
    assert read(authority, der=der) == PeerCertificate(refusal=refusal)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=20)), max_size=5).map(lambda n: names_der(*n)),
    )
)
def test_no_names_of_a_certificate_raise(authority: Authority, der: bytes) -> None:
    found = read(authority, der=der)
    assert all(name.isascii() and "\0" not in name for _, name in found.names)


def test_certificate_without_names_names_nobody(authority: Authority) -> None:
    assert Path(authority.ca_file).is_file()
    assert read_peer(authority.ca_file.read_bytes()).names == ()


def test_what_is_no_certificate_is_refused() -> None:
    assert read_peer(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").refusal == UNREADABLE


def test_certificate_is_read_once(authority: Authority) -> None:
    pem = authority.leaf("a.example").cert_file.read_bytes()
    assert read_peer(pem) is read_peer(bytes(bytearray(pem)))
