"""Reading the body of an HTTP request whole, or saying by which status it is refused.

Must not live here: what a body means, records.
"""

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class BodyRefused(Exception):
    """The body could not be read: `status` is HTTP's answer to that, `reason` says it in words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


async def read_body(http: web.BaseRequest, timeout_s: float) -> bytes:
    """Return the body as it came, content coding and all; raises BodyRefused, and ConnectionError when it was cut."""
    try:
        async with asyncio.timeout(timeout_s):
            return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise BodyRefused(413, "the body is too large") from None
    except (HttpProcessingError, web.RequestPayloadError):  # the first to a reader that waits, else the second
        raise BodyRefused(400, "the body is not framed as HTTP/1.1 asks") from None
    except TimeoutError:
        # aiohttp's parser in C drops the body when its chunks are malformed: it never ends.
        raise BodyRefused(408, f"the body did not come whole within {timeout_s:g} s") from None
