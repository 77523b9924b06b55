"""Which texts are a vendor's address: what the rules say, and what the HTTP client and IDNA refuse is refused."""

import httpx
import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config_address import is_address


@pytest.mark.parametrize(
    "text",
    [
        "https://h", "https://push.example.com.", "https://push_vendor:8443", "https://10.0.0.1:1", "https://[fd00::2]:65535/a",
        "https://xn--fiq228c.com", "https://a.xn--mnchen-3ya.de/b", "https://xn--strae-oqa.de", f"https://{'a' * 63}",
    ],
)  # fmt: skip
def test_addresses(text: str) -> None:
    assert is_address(text, "https", allow_path=True)


@pytest.mark.parametrize(
    "text",
    [
        "https://xn--a", "https://b.xn--a", "https://xn--", "https://xn--abc-", "https://xn--i-7iq.example", "https://XN--A",
        "https://[v1.x]/", "https://[::1]x/", "https://[::1%25eth0]", "https://[]", "https://[1.2.3.4]", "https://::1",
        "https://256.1.1.1", "https://1.2.3", "https://1", "https://a..b", "https://.a", "https://-a", "https://a-",
        "https://a%41", "https://a,b", f"https://{'a' * 64}", f"https://{'a.' * 127}a", "https://h:", "https://h:65536",
        "https://h:000001", "http://h", f"https://h/{'a' * 3000}",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text, "https", allow_path=True)


def test_path_only_where_it_is_allowed() -> None:
    assert is_address("http://p:1/", "http", allow_path=False)
    assert not is_address("http://p:1/a", "http", allow_path=False)


@given(
    st.from_regex(
        r"https://(\[[0-9a-fv.:%]{0,12}\]|[a-z0-9._~%!$&'()*+,;=-]{1,20})(:[0-9]{0,6})?(/[ -~]{0,10})?", fullmatch=True
    )
)
def test_what_is_taken_the_http_client_takes(text: str) -> None:
    if is_address(text, "https", allow_path=True):
        url = httpx.URL(text)
        assert url.host
        assert url.port != 0


@given(st.text(min_size=1, max_size=12))
def test_encoded_labels_that_are_taken_are_those_of_idna(text: str) -> None:
    try:
        label = "xn--" + text.encode("punycode").decode()
    except UnicodeError:
        return
    if is_address(f"https://{label}", "https", allow_path=False):
        assert idna.encode(idna.decode(label)).decode() == label.lower()


def test_no_character_is_taken_that_idna_refuses() -> None:
    taken = 0
    for code in (*range(0x80, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)):
        label = "xn--" + f"a{chr(code)}b".encode("punycode").decode()
        if is_address(f"https://{label}", "https", allow_path=False):
            taken += 1
            assert idna.encode(idna.decode(label)).decode() == label.lower(), hex(code)
    assert taken > 50_000
