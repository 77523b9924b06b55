"""The files of an app's TLS: which are refused, and what a watch takes over of those that change."""

import logging
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from sidecar.config import AppConfig, ConfigError
from sidecar.delivery.vendor_tls import WatchedVendorTls, read_vendor_tls
from tests.support.certificates import Authority, Leaf

KEPT = "vendor TLS cannot be used, the last good one is"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "ca").mkdir()
    return Authority(tmp_path / "ca")


class Volume:
    """Files of an app, in a folder that is swapped as the kubelet does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = 0
        folder.mkdir()

    def app(self, **changes: Any) -> AppConfig:
        """Return an app that has all three."""
        files = {
            "ca_file": self._folder / "ca.crt",
            "client_cert_file": self._folder / "tls.crt",
            "client_key_file": self._folder / "tls.key",
        }
        return AppConfig(
            platform="android", base_url="https://127.0.0.1:1", app_id="1", secret_key_env="KEY", **{**files, **changes}
        )

    def put(self, authority: Authority, leaf: Leaf) -> None:
        """Put other files there, all at once."""
        self._versions += 1
        version = self._folder / f"..{self._versions}"
        version.mkdir()
        sources = {"ca.crt": authority.ca_file, "tls.crt": leaf.cert_file, "tls.key": leaf.key_file}
        for name, source in sources.items():
            shutil.copy(source, version / name)
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(f"..data/{name}")
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._folder / "..data")

    def write(self, name: str, content: bytes) -> None:
        """Write into one file, in its place."""
        (self._folder / name).write_bytes(content)


@pytest.fixture
def volume(tmp_path: Path, authority: Authority) -> Volume:
    volume = Volume(tmp_path / "volume")
    volume.put(authority, authority.leaf())
    return volume


class Watch:
    """A watch of an app's files, and the contexts that it has given out."""

    def __init__(self, app: AppConfig, now: Callable[[], float] = time.time) -> None:
        self.used: list[ssl.SSLContext] = []
        self.current = read_vendor_tls("shop", app)
        self.files = WatchedVendorTls("shop", app, current=self.current, use=self.used.append, now=now)


def serials_of(context: ssl.SSLContext) -> set[str]:
    return {certificate["serialNumber"] for certificate in context.get_ca_certs()}


async def test_swapped_files_are_taken_together_and_once(volume: Volume, tmp_path: Path) -> None:
    watch = Watch(volume.app())
    assert not await watch.files.refresh()
    (tmp_path / "next").mkdir()
    following = Authority(tmp_path / "next")
    volume.put(following, following.leaf())
    assert await watch.files.refresh()
    assert not await watch.files.refresh()
    (context,) = watch.used
    assert serials_of(context) != serials_of(watch.current.context)
    assert not watch.files.is_stale


async def test_file_that_is_written_in_its_place_is_taken(volume: Volume, tmp_path: Path) -> None:
    watch = Watch(volume.app())
    (tmp_path / "next").mkdir()
    following = Authority(tmp_path / "next")
    volume.write("ca.crt", following.ca_file.read_bytes())
    assert await watch.files.refresh()
    assert len(watch.used) == 1


BROKEN: dict[str, Callable[[Volume, Authority], None]] = {
    "empty-ca": lambda volume, _: volume.write("ca.crt", b""),
    "half-a-ca": lambda volume, authority: volume.write("ca.crt", authority.ca_file.read_bytes()[:300]),
    "half-a-certificate": lambda volume, authority: volume.write(
        "tls.crt", authority.leaf().cert_file.read_bytes()[:200]
    ),
    "only-the-certificate": lambda volume, authority: volume.write("tls.crt", authority.leaf().cert_file.read_bytes()),
    "only-the-key": lambda volume, authority: volume.write("tls.key", authority.leaf().key_file.read_bytes()),
    "expired": lambda volume, authority: volume.put(authority, authority.leaf(is_expired=True)),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_files_that_cannot_be_used_leave_the_last_good_ones(
    case: str, volume: Volume, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch = Watch(volume.app())
    BROKEN[case](volume, authority)
    for _ in range(2):
        assert not await watch.files.refresh()
    assert (watch.used, watch.files.is_stale) == ([], True)
    volume.put(authority, authority.leaf())
    assert await watch.files.refresh()
    assert (len(watch.used), watch.files.is_stale) == (1, False)
    lines = [record.message for record in caplog.records]
    assert lines == [KEPT, "vendor TLS can be used again", "vendor TLS changed"]
    assert vars(caplog.records[0])["app"] == "shop"
    assert vars(caplog.records[0])["why"].startswith("apps.shop.c")
    assert "PRIVATE" not in caplog.text


async def test_certificate_that_ends_while_it_is_in_use_is_stale(volume: Volume) -> None:
    now = 0.0
    watch = Watch(volume.app(), now=lambda: now)
    assert watch.current.expires_at is not None
    end = watch.current.expires_at.timestamp()
    for now, is_stale in ((end - 1, False), (end, True)):  # noqa: B007  # the watch reads it
        assert not await watch.files.refresh()
        assert watch.files.is_stale is is_stale


def test_systems_store_is_not_watched(volume: Volume) -> None:
    nothing = volume.app(ca_file=None, client_cert_file=None, client_key_file=None)
    assert not read_vendor_tls("shop", nothing).is_from_files
    assert read_vendor_tls("shop", volume.app(client_cert_file=None, client_key_file=None)).is_from_files
    assert read_vendor_tls("shop", volume.app(ca_file=None)).is_from_files


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no-ca": ({"ca_file": "junk.pem"}, r"ca_file: cannot be used: "),
    "missing": ({"client_cert_file": "none.pem"}, r"client_cert_file: cannot be used: No such file"),
    "no-certificate": (
        {"client_cert_file": "junk.pem"},
        r"client_cert_file: .*junk\.pem holds no PEM that can be used",
    ),
    "key-as-certificate": ({"client_cert_file": "other.key"}, r"client_cert_file: .*other\.key holds no PEM that can"),
    "no-key": ({"client_key_file": "junk.pem"}, r"client_key_file: .*junk\.pem holds no PEM that can be used"),
    "other-key": ({"client_key_file": "other.key"}, r"client_key_file: .*other\.key is not the key of the certificate"),
    "passphrase": ({"client_key_file": "locked.key"}, r"client_key_file: .*locked\.key holds a key with a passphrase"),
    "old-passphrase": ({"client_key_file": "old.key"}, r"client_key_file: .*old\.key holds a key with a passphrase"),
    "expired": (
        {"client_cert_file": "expired.pem", "client_key_file": "expired.key"},
        r"client_cert_file: the certificate in .* has expired",
    ),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG)
def test_files_that_cannot_be_used_are_named(
    changes: dict[str, str], said: str, tmp_path: Path, volume: Volume, authority: Authority
) -> None:
    other, expired = authority.leaf(), authority.leaf(is_expired=True)
    (tmp_path / "junk.pem").write_text("junk")
    shutil.copy(other.key_file, tmp_path / "other.key")
    shutil.copy(expired.cert_file, tmp_path / "expired.pem")
    shutil.copy(expired.key_file, tmp_path / "expired.key")
    key = serialization.load_pem_private_key(other.key_file.read_bytes(), None)
    forms = {
        "locked.key": serialization.PrivateFormat.PKCS8,
        "old.key": serialization.PrivateFormat.TraditionalOpenSSL,
    }
    for name, form in forms.items():
        locked = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"word"))
        (tmp_path / name).write_bytes(locked)
    app = volume.app(**{key: tmp_path / name for key, name in changes.items()})
    with pytest.raises(ConfigError, match=rf"^apps\.shop\.{said}") as refused:
        read_vendor_tls("shop", app)
    assert "BEGIN" not in str(refused.value)


def test_nothing_of_the_key_is_shown(volume: Volume) -> None:
    app = volume.app()
    watch = Watch(app)
    assert app.client_key_file is not None
    secret = app.client_key_file.read_text().splitlines()[1]
    for shown in (repr(watch.current), repr(watch.files), repr(app)):
        assert secret not in shown
        assert "digest" not in shown
