"""The Basic credentials of a request: base64 of APPID:SECRETKEY (S0 "权鉴方式").

Must not live here: the apps themselves.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping

from sidecar.simulator.xg.apps import App
from sidecar.simulator.xg.codes import APP_UNKNOWN, WRONG_KEY, Refused


def find_app(headers: Mapping[str, str], apps: Mapping[str, App]) -> App:
    """Return the app whose credentials the request carries; raises Refused."""
    app_id, secret_key = _read(headers.get("authorization", ""))
    app = apps.get(app_id)
    if app is None:
        raise Refused(APP_UNKNOWN, "the app id is not registered")
    if not hmac.compare_digest(app.secret_key.encode(), secret_key.encode()):
        raise Refused(WRONG_KEY, "the secret key is wrong")
    return app


def app_id_of(headers: Mapping[str, str]) -> str:
    """Return the app id that a request claims, "" when it carries none."""
    try:
        return _read(headers.get("authorization", ""))[0]
    except Refused:
        return ""


def _read(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Refused(WRONG_KEY, "there are no Basic credentials")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Refused(WRONG_KEY, "the Basic credentials are not base64 of UTF-8 text") from None
    app_id, colon, secret_key = decoded.partition(":")
    if not colon:
        raise Refused(WRONG_KEY, "the Basic credentials have no colon")
    return app_id, secret_key
