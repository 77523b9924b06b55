"""The vendor's authentication: HTTP Basic of `APPID:SECRETKEY` (S0, "权鉴方式")."""

from base64 import b64encode
from collections.abc import Mapping

from sidecar.config import Secret


def authorization(app_id: str, secret_key: str) -> str:
    """Return the value of the `Authorization` header."""
    return "Basic " + b64encode(f"{app_id}:{secret_key}".encode()).decode("ascii")


class Credentials:
    """The headers of an app's calls: fixed ones, and the credentials with the secret key as it was given last."""

    __slots__ = ("_app_id", "_fixed", "headers")

    def __init__(self, app_id: str, secret_key: Secret, fixed: Mapping[str, str]) -> None:
        self._app_id = app_id
        self._fixed = fixed
        self.use(secret_key)

    def use(self, secret_key: Secret) -> None:
        """Authenticate later calls with this key."""
        self.headers: Mapping[str, str] = {
            "authorization": authorization(self._app_id, secret_key.reveal()),
            **self._fixed,
        }
