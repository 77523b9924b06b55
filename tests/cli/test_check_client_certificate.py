"""`check --connect` against a vendor that looks at our certificate after our half of the handshake (TLS 1.3)."""

import asyncio
import ssl
from pathlib import Path

import pytest
import yaml

from sidecar.__main__ import main
from tests.support.certificates import Authority, Leaf
from tests.support.hand_tls import CLIENT_REFUSED, OTHER, HandTls
from tests.support.raw_server import RawConnection, Script, serving

PROVED = "valid, and its address is proved"
DEMANDED = "the vendor demands a client certificate: set client_cert_file"
REFUSED = "the vendor refuses the certificate of client_cert_file"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def check(script: Script, folder: Path, authority: Authority, shown: Leaf | None = None, **app: object) -> int:
    """Check against a vendor that does what a script says; returns the exit code."""
    (folder / "secret").write_text("s3cret-value")
    files = {} if shown is None else {"client_cert_file": str(shown.cert_file), "client_key_file": str(shown.key_file)}
    async with serving(script) as server:
        base = {
            "platform": "android", "base_url": f"https://127.0.0.1:{server.port}", "app_id": "a",
            "secret_key_file": str(folder / "secret"), "ca_file": str(authority.ca_file),
        }  # fmt: skip
        (folder / "config.yaml").write_text(yaml.safe_dump({"apps": {"shop": {**base, **files, **app}}}))
        code = await asyncio.to_thread(main, ["check", "--config", str(folder / "config.yaml"), "--connect"])
        await server.wait_all_closed()
    return code


def demanding(authority: Authority, *, revoked: Leaf | None = None, tickets: int = 2, is_tls12: bool = False) -> Script:
    """Return a vendor that demands a certificate; it must be sent nothing."""

    async def script(connection: RawConnection) -> None:
        context = authority.demanding_context(revoked=revoked)
        if is_tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        end = await HandTls.accept(connection, context, tickets=tickets)
        assert await end.read() == b""

    return script


def first_record(authority: Authority, name: str) -> Script:
    """Return a vendor that sends an alert as its first record."""

    async def script(connection: RawConnection) -> None:
        end = await HandTls.accept(connection, authority.server_context())
        await end.alert((CLIENT_REFUSED | OTHER)[name])
        await connection.read_eof()

    return script


async def test_vendor_that_demands_a_certificate_is_not_proved_without_one(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await check(demanding(authority), tmp_path, authority) == 1
    assert f"{DEMANDED} (certificate required)" in capsys.readouterr().out


@pytest.mark.parametrize("is_tls12", [False, True], ids=["tls-1.3", "tls-1.2"])
@pytest.mark.parametrize("tickets", [0, 2])
async def test_vendor_that_takes_our_certificate_is_proved(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str], *, tickets: int, is_tls12: bool
) -> None:
    script = demanding(authority, tickets=tickets, is_tls12=is_tls12)
    assert await check(script, tmp_path, authority, authority.leaf()) == 0
    assert PROVED in capsys.readouterr().out


@pytest.mark.parametrize("is_tls12", [False, True], ids=["tls-1.3", "tls-1.2"])
@pytest.mark.parametrize(("case", "why"), [("stranger", "unknown ca"), ("revoked", "certificate revoked")])
async def test_vendor_that_refuses_our_certificate_is_not_proved(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str], *, case: str, why: str, is_tls12: bool
) -> None:
    (tmp_path / "stranger").mkdir()
    shown = Authority(tmp_path / "stranger").leaf() if case == "stranger" else authority.leaf()
    script = demanding(authority, revoked=shown if case == "revoked" else None, is_tls12=is_tls12)
    assert await check(script, tmp_path, authority, shown) == 1
    assert f"{REFUSED}: {why}" in capsys.readouterr().out


@pytest.mark.parametrize("name", CLIENT_REFUSED)
async def test_every_alert_about_a_certificate_that_we_do_not_show_says_what_to_set(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert await check(first_record(authority, name), tmp_path, authority) == 1
    assert f"{DEMANDED} ({name.replace('_', ' ')})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("internal_error", "tlsv1 alert internal error"),
        ("close_notify", "the vendor ended the connection after the handshake"),
    ],
)
async def test_vendor_that_ends_right_after_the_handshake_is_not_proved(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    assert await check(first_record(authority, name), tmp_path, authority) == 1
    assert said in capsys.readouterr().out


async def test_files_are_read_anew_by_every_check(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Authority(_made(tmp_path / "other"))
    shown = authority.leaf()
    script = demanding(authority)
    assert await check(script, tmp_path, authority, shown, ca_file=str(other.ca_file)) == 1
    assert "certificate refused" in capsys.readouterr().out
    other.ca_file.write_bytes(authority.ca_file.read_bytes())
    assert await check(script, tmp_path, authority, shown, ca_file=str(other.ca_file)) == 0


async def test_certificate_is_shown_through_a_proxy(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(demanding(authority)) as vendor:

        async def proxy(connection: RawConnection) -> None:
            await connection.read_head()
            await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await connection.tunnel_to(vendor.port)

        async with serving(proxy) as listener:
            address = f"http://127.0.0.1:{listener.port}"
            for shown, code in ((None, 1), (authority.leaf(), 0)):
                assert await check(demanding(authority), tmp_path, authority, shown, proxy=address) == code
    assert DEMANDED in capsys.readouterr().out


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
