"""One request through the simulator: read, pick a fault, ask the vendor, record, answer.

Must not live here: sockets and TLS (listener.py), any vendor's rules, the doing of faults (wire.py).
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiohttp import web

from sidecar.simulator import wire
from sidecar.simulator.body import BodyRefused, read_body
from sidecar.simulator.exchange import Delivery, Labels, Reply, Request, Vendor, parse_json, refuse_by_status
from sidecar.simulator.faults import Fault, FaultScript, Kind
from sidecar.simulator.magic import find_magic
from sidecar.simulator.record import Journal, Record
from sidecar.simulator.redact import redact_headers

_NO_LABELS: Final = Labels()


class Endpoint:
    """What happens to every request that is for a vendor."""

    def __init__(
        self,
        vendor: Vendor,
        journal: Journal,
        script: FaultScript,
        clock: Callable[[], float],
        body_timeout_s: float,
    ) -> None:
        self._vendor = vendor
        self._journal = journal
        self._script = script
        self._clock = clock
        self._body_timeout_s = body_timeout_s
        self._numbers = itertools.count(1)

    async def serve(self, http: web.BaseRequest, connection: int) -> web.StreamResponse:
        """Answer one request, or do what a fault wants instead."""
        headers = _join(http.headers.items())
        record = Record(
            number=next(self._numbers),
            time=self._clock(),
            connection=connection,
            method=http.method,
            path=http.path,
            headers=redact_headers(headers, self._vendor.secret_headers),
        )
        fault = self._script.pick(http.path, headers, _NO_LABELS, is_before_body=True)
        if fault is not None:
            record.fault = fault.kind
            self._journal.requests.add(record)
            return await self._spoil(http, fault, Reply(200, None), record)
        try:
            record.raw = await read_body(http, self._body_timeout_s)
        except BodyRefused as refused:
            self._journal.requests.add(record)
            return self._refuse_body(refused, record)
        except (ConnectionError, asyncio.CancelledError):
            record.reason = "the body was not wholly read"
            self._journal.requests.add(record)
            raise
        record.is_complete = True
        return await self._answer(http, record, headers)

    def _refuse_body(self, refused: BodyRefused, record: Record) -> web.Response:
        reply = refuse_by_status(refused.status, refused.reason)
        record.status = reply.status
        self._note(record, reply)
        response = wire.encode(reply)
        response.force_close()  # what else comes on this connection is the rest of that body
        return response

    async def _answer(self, http: web.BaseRequest, record: Record, headers: Mapping[str, str]) -> web.StreamResponse:
        request = Request(record.number, record.time, record.method, record.path, headers, parse_json(record.raw))
        labels = self._vendor.labels(request)
        fault = self._script.pick(http.path, headers, labels, is_before_body=False) or find_magic(
            (*labels.tokens, *labels.accounts)
        )
        self._journal.requests.add(record)
        if fault is None:
            reply = self._vendor.answer(request)
            self._note(record, reply)
            record.status = reply.status
            return wire.encode(reply)
        record.fault = fault.kind
        return await self._spoil(http, fault, self._reply_under(fault, request, record), record)

    def _reply_under(self, fault: Fault, request: Request, record: Record) -> Reply:
        reply = Reply(fault.status, None)
        if fault.is_acted_on:
            reply = self._vendor.answer(request)
            self._note(record, reply)
        if fault.kind is Kind.RET_CODE:
            reply = self._vendor.refuse(request, fault.ret_code, fault.err_msg, fault.result)
            record.answer, record.reason = reply.json, reply.reason
        return reply

    def _note(self, record: Record, reply: Reply) -> None:
        record.answer, record.reason = reply.json, reply.reason
        delivery: Delivery | None = reply.delivery
        if delivery is not None:
            record.was_delivered = True
            self._journal.deliveries.add(delivery)

    async def _spoil(self, http: web.BaseRequest, fault: Fault, reply: Reply, record: Record) -> web.StreamResponse:
        if fault.latency_s:
            await asyncio.sleep(fault.latency_s)
        record.status, response = await wire.perform(http, fault, reply)
        return response


def _join(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers under lower-case names, those that came several times as one (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined
