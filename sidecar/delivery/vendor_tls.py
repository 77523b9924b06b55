"""TLS towards an app's vendor: whom it trusts and which certificate it shows, from files that are read on change.

What is new is for the connections that are made from then on. How a connection is made is the transport's.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from sidecar.certificate_files import read_again, read_pair
from sidecar.config import AppConfig, ConfigError
from sidecar.key_log import check_key_log
from sidecar.secrets import Watched
from sidecar.transport.tls import PassphraseError, build_tls_context, show_certificate


@dataclass(frozen=True, slots=True)
class VendorTls:
    """What an app's connections are encrypted by. `digest` is that of its files; None where it has none.

    `expires_at` is the end of its client certificate.
    """

    context: ssl.SSLContext
    digest: bytes | None = field(repr=False)
    expires_at: datetime | None = None

    @property
    def is_from_files(self) -> bool:
        """Whether there is anything to watch: the system's store is read once."""
        return self.digest is not None


class WatchedVendorTls(Watched[VendorTls]):
    """The files of one app; `use` is given each new context."""

    def __init__(
        self,
        name: str,
        app: AppConfig,
        *,
        current: VendorTls,
        use: Callable[[ssl.SSLContext], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.app = name
        self._now = now
        self._config = app
        self._last = current
        super().__init__(
            what="vendor TLS",
            labels={"app": name},
            key=f"apps.{name}",
            read=lambda: read_again(self._read_if_new),
            digest=lambda tls: tls.digest or b"",
            current=current,
            use=lambda tls: use(tls.context),
        )

    def _read_if_new(self) -> VendorTls:
        """Read the files; to build a context takes a thousand times as long as to see that nothing has changed."""
        last = self._last
        if _digest_of(self.app, self._config) != last.digest:
            self._last = last = read_vendor_tls(self.app, self._config)
        elif last.expires_at is not None and last.expires_at.timestamp() <= self._now():
            file = self._config.client_cert_file
            raise ConfigError(f"apps.{self.app}.client_cert_file: the certificate in {file} has expired")
        return last


def read_vendor_tls(name: str, app: AppConfig) -> VendorTls:
    """Read and check the files of an app's TLS.

    Raises `ConfigError` naming the file that cannot be used, or `SSLKEYLOGFILE`.
    """
    digest = _digest_of(name, app)
    try:
        context = build_tls_context(app.ca_file)
    except OSError as error:
        check_key_log()
        raise ConfigError(f"apps.{name}.ca_file: cannot be used: {error.strerror or error}") from None
    expires_at = None
    if app.client_cert_file is not None and app.client_key_file is not None:
        cert_key, key_key = f"apps.{name}.client_cert_file", f"apps.{name}.client_key_file"
        expires_at = read_pair(cert_key, app.client_cert_file, key_key, app.client_key_file).expires_at
        try:
            show_certificate(context, app.client_cert_file, app.client_key_file)
        except (OSError, PassphraseError):
            raise ConfigError(f"{cert_key}: cannot be used with {app.client_key_file}") from None
    if _digest_of(name, app) != digest:
        # OpenSSL reads paths: what it has read may be of both.
        raise ConfigError(f"apps.{name}: files of TLS were changed while they were read")
    return VendorTls(context, digest, expires_at)


def _digest_of(name: str, app: AppConfig) -> bytes | None:
    files = {"ca_file": app.ca_file, "client_cert_file": app.client_cert_file, "client_key_file": app.client_key_file}
    if not any(files.values()):
        return None
    parts = [_read(f"apps.{name}.{key}", file) for key, file in files.items() if file is not None]
    return blake2b(b"".join(blake2b(part).digest() for part in parts), digest_size=16).digest()


def _read(key: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}: cannot be used: {error.strerror}") from None
