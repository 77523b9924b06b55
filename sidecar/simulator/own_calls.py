"""The admin calls of the simulator itself: requests, deliveries, faults, listener, reset.

Must not live here: a vendor's calls, HTTP.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping

from sidecar.simulator.admin import Admin, read_count
from sidecar.simulator.exchange import Vendor
from sidecar.simulator.faults import MAX_SECONDS, FaultScript, read_fault
from sidecar.simulator.fields import Fields
from sidecar.simulator.listener import Listener
from sidecar.simulator.record import Journal

_DEFAULT_PAGE = 1000


class OwnCalls:
    """Each method is one call: JSON in (None without a body) and the query, JSON out; raises InputError."""

    def __init__(
        self,
        journal: Journal,
        script: FaultScript,
        listener: Listener,
        reset: Callable[[], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._script = script
        self._listener = listener
        self._reset = reset

    async def show_requests(self, _: object, query: Mapping[str, str]) -> object:
        """Return the records numbered above `since`, oldest first, at most `limit`."""
        since = read_count(query, "since", 0)
        limit = read_count(query, "limit", _DEFAULT_PAGE)
        kept = self._journal.requests
        newer = [record for record in kept.items() if record.number > since]
        return {"total": kept.total, "requests": [record.to_json() for record in newer[:limit]]}

    async def forget_requests(self, _: object, __: Mapping[str, str]) -> object:
        """Forget the records and the deliveries; numbers go on."""
        self._journal.clear()
        return {"total": 0}

    async def show_deliveries(self, _: object, query: Mapping[str, str]) -> object:
        """Return the pushes acted on whose request is numbered above `since`, at most `limit`."""
        since = read_count(query, "since", 0)
        limit = read_count(query, "limit", _DEFAULT_PAGE)
        kept = self._journal.deliveries
        newer = [delivery for delivery in kept.items() if delivery.number > since]
        return {"total": kept.total, "deliveries": [dataclasses.asdict(each) for each in newer[:limit]]}

    async def show_faults(self, _: object, __: Mapping[str, str]) -> object:
        """Return the faults that can still strike."""
        return {"faults": [fault.to_json() for fault in self._script.faults()]}

    async def add_fault(self, body: object, query: Mapping[str, str]) -> object:
        """Arm one fault."""
        self._script.add(read_fault(body))
        return await self.show_faults(None, query)

    async def clear_faults(self, _: object, query: Mapping[str, str]) -> object:
        """Disarm all faults."""
        self._script.clear()
        return await self.show_faults(None, query)

    async def refuse(self, body: object, _: Mapping[str, str]) -> object:
        """Refuse connections for `refuse_s` seconds; idle connections are dropped unless told otherwise."""
        fields = Fields(body)
        seconds = fields.seconds("refuse_s", high=MAX_SECONDS)
        drop = fields.flag("drop_connections")
        fields.end()
        if seconds == 0:
            raise fields.bad("refuse_s", "must be above 0")
        await self._listener.refuse(seconds, drop_connections=drop is not False)
        return {"refuse_s": seconds}

    async def reset(self, _: object, __: Mapping[str, str]) -> object:
        """Go back to the state of the start."""
        await self._reset()
        return {"reset": True}


def register(admin: Admin, own: OwnCalls, vendor: Vendor) -> None:
    """Enter the simulator's and the vendor's calls into the table."""
    admin.add("GET", "requests", own.show_requests)
    admin.add("DELETE", "requests", own.forget_requests)
    admin.add("GET", "deliveries", own.show_deliveries)
    admin.add("GET", "faults", own.show_faults)
    admin.add("POST", "faults", own.add_fault)
    admin.add("DELETE", "faults", own.clear_faults)
    admin.add("POST", "listener", own.refuse)
    admin.add("POST", "reset", own.reset)
    for (method, name), call in vendor.admin_calls().items():

        async def handler(body: object, _: Mapping[str, str], call: Callable[[object], object] = call) -> object:
            return call(body)

        admin.add(method, name, handler)
