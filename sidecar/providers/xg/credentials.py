"""The vendor's authentication: HTTP Basic of `APPID:SECRETKEY` (S0, "权鉴方式")."""

from base64 import b64encode


def authorization(app_id: str, secret_key: str) -> str:
    """Return the value of the `Authorization` header."""
    return "Basic " + b64encode(f"{app_id}:{secret_key}".encode()).decode("ascii")
