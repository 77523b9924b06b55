"""The JSON endpoints under /_sim/: ask what was received, script faults, change the state.

Must not live here: a vendor's own calls (it brings them), what the calls do beyond the simulator's own parts.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from sidecar.simulator.body import BodyRefused, read_body
from sidecar.simulator.exchange import NOT_JSON, parse_json
from sidecar.simulator.fields import InputError

PREFIX: Final = "/_sim/"

AdminHandler = Callable[[object, Mapping[str, str]], Awaitable[object]]
"""JSON in (None without a body) and the query -> JSON out."""


class Admin:
    """The table of admin calls, (method, name) -> handler, and their common shape."""

    def __init__(self, body_timeout_s: float) -> None:
        self._body_timeout_s = body_timeout_s
        self._calls: dict[tuple[str, str], AdminHandler] = {}

    def add(self, method: str, name: str, handler: AdminHandler) -> None:
        """Add one call; two for the same method and name are a mistake."""
        if (method, name) in self._calls:
            raise ValueError(f"{method} {PREFIX}{name} is there already")
        self._calls[method, name] = handler

    async def serve(self, http: web.BaseRequest) -> web.Response:
        """Answer one call: 200 with JSON, or 400, 404, 405, 408, 413 with `{"error": {"field", "rule"}}`."""
        name = http.path.removeprefix(PREFIX)
        methods = sorted(method for method, known in self._calls if known == name)
        if not methods:
            known = ", ".join(sorted({f"{PREFIX}{known}" for _, known in self._calls}))
            return _error(404, "path", f"is unknown; known: {known}")
        handler = self._calls.get((http.method, name))
        if handler is None:
            return _error(405, "method", f"must be one of {', '.join(methods)}", {"Allow": ", ".join(methods)})
        try:
            raw = await read_body(http, self._body_timeout_s)
        except BodyRefused as refused:
            response = _error(refused.status, "body", f"cannot be read: {refused.reason}")
            response.force_close()
            return response
        body = parse_json(raw) if raw else None
        if body is NOT_JSON:
            return _error(400, "body", "must be JSON")
        try:
            return _json(200, await handler(body, http.query))
        except InputError as bad:
            return _error(400, bad.field, bad.rule)


def read_count(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number >= 0 from the query; raises InputError."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 15:  # noqa: PLR2004 - far from any real count
        raise InputError(name, "must be a whole number, 0 or more")
    return int(text)


def _error(status: int, field: str, rule: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json(status, {"error": {"field": field, "rule": rule}}, headers)


def _json(status: int, value: object, headers: Mapping[str, str] | None = None) -> web.Response:
    # A recorded header may hold bytes that are not UTF-8; they come as the JSON escapes of lone surrogates.
    body = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
