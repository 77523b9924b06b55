"""Serves one RPC method: deadline, trace, metrics and errors around a provider's method. The hot path's outer shell."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message

from sidecar.delivery.byte_budget import ByteBudget
from sidecar.delivery.call import Call
from sidecar.delivery.deadline import Deadline
from sidecar.errors import CallCancelled, DeadlineExceeded, InvalidRequest, PushError, SidecarBug, Violation
from sidecar.providers.provider import Method
from sidecar.server.access import log_push
from sidecar.server.activity import Activity
from sidecar.server.early_headers import EarlyHeaders
from sidecar.server.status import Refusal, Trailers, code_of, refusal_of
from sidecar.telemetry import names
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.trace_headers import NO_HEADERS, trace_headers
from sidecar.telemetry.tracing import Tracers
from sidecar.tracebacks import drop_tracebacks

# A caller asks for the trace of his own call by this metadata, and gets it in the trailer of the same name.
TRACE_KEY = "push-sidecar-trace"

# The C core of gRPC (C++, Python, ...) tells a server deadlines rounded up, by at most 1 %: 30 s become 30.1 s.
_EXACT_SHARE = 0.99

# A call that holds so many bytes counts until gRPC has let go of them, too, which may hang on who reads the answer.
_LARGE_BYTES = 64 * 1024

# So long a push waits for its caller's connection to take the early headers. It takes them at once, unless it is full,
# since the caller does not read.
EARLY_HEADERS_LIMIT_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Times of a call, in seconds."""

    default_timeout_s: float
    deadline_margin_s: float
    early_headers_s: float = EARLY_HEADERS_LIMIT_S


Context = grpc.aio.ServicerContext[Any, Any]
# Names the caller of a call that came through a listener, or refuses it.
Admit = Callable[[Call, Context, str], None]


class UnaryHandler:
    """Serves `path` (`package.Service/Method`); `handle`, as `handle_at` gives it, is what grpc.aio calls.

    `admit` names the caller of a call and may refuse it; None lets everybody in.
    """

    def __init__(
        self,
        path: str,
        method: Method,
        *,
        tracers: Tracers,
        metrics: Metrics,
        limits: Limits,
        activity: Activity,
        process_bytes: ByteBudget,
        admit: Admit | None = None,
    ) -> None:
        self._path = path
        self._method = method
        self._tracers = tracers
        # To look a child up by its labels costs as much as to count with it. All label sets are bounded.
        self._rpc_duration = cache(lambda code: metrics.rpc_duration.labels(path, code))
        self._pushes = cache(metrics.pushes.labels)
        self._active = 0
        metrics.rpc_active.labels(path).set_function(lambda: self._active)
        self._limits = limits
        self._activity = activity
        self._process_bytes = process_bytes
        self._admit = admit

    def handle_at(self, listener: str) -> Callable[[bytes, Context], Awaitable[Message]]:
        """Return what serves the calls that come through this listener."""
        # grpc.aio inspects what it calls at every call, and takes longer over a partial.
        return self.handle if self._admit is None else partial(self.handle, listener=listener)

    async def handle(self, request: bytes, context: Context, listener: str = "") -> Message:
        """Serve one call; `request` is the message as it came, `listener` the name of what it came through."""
        headers = EarlyHeaders(context, self._limits.early_headers_s)
        self._active += 1
        self._activity.begin()
        try:
            outcome = await self._serve(request, context, listener, headers)
        finally:
            headers.close()
            self._activity.end()
            self._active -= 1
        if not isinstance(outcome, Refusal):
            # An attempt may have left them under way before the answer of another call was given again.
            await headers.ended()
            return outcome
        refusing = _refuse(context, headers, outcome)
        # gRPC's call keeps the error that ends it, and the error keeps the frames that it passes: none of them may keep
        # the call.
        del request, context, headers
        return await refusing

    async def _serve(self, request: bytes, context: Context, listener: str, headers: EarlyHeaders) -> Message | Refusal:
        started = time.perf_counter()
        remaining_s: float | None = context.time_remaining()
        call = self._start(context, remaining_s, headers)
        try:
            if self._admit is not None:
                self._admit(call, context, listener)
            call.hold_request(len(request))
            response = await self._method.serve(self._parse(request), call)
        except PushError as error:
            # No name of this frame may keep it: both would stay, and the request with them.
            drop_tracebacks(error)
            return refusal_of(error, self._finish(call, context, error, started))
        except asyncio.CancelledError:
            # grpc.aio cancels for both: the caller's hang-up, and his deadline when our answer was too late for it.
            is_late = remaining_s is not None and context.time_remaining() <= 0
            gone = DeadlineExceeded("the deadline passed", sent=call.sent) if is_late else CallCancelled(sent=call.sent)
            self._finish(call, context, gone, started)
            raise
        except Exception as bug:  # noqa: BLE001  # whatever it is, the caller is told whether the push may have gone out
            _log.exception("bug", extra={"app": call.app, **call.trace.ids})
            drop_tracebacks(bug)
            error_of_ours = SidecarBug(type(bug).__name__, sent=call.sent)
            return refusal_of(error_of_ours, self._finish(call, context, error_of_ours, started))
        if trailers := self._finish(call, context, None, started):
            context.set_trailing_metadata(trailers)
        return response

    def _parse(self, request: bytes) -> Message:
        # Not by grpc: its error would not say that nothing was sent, and be neither counted nor traced.
        try:
            return self._method.request_type.FromString(request)
        except DecodeError:
            broken = Violation("request", "request.protobuf", f"is no {self._method.request_type.DESCRIPTOR.full_name}")
            raise InvalidRequest([broken]) from None

    def _start(self, context: Context, remaining_s: float | None, headers: EarlyHeaders) -> Call:
        pairs = context.invocation_metadata() or ()
        is_requested = has_parent = False
        for key, value in pairs:
            if key == TRACE_KEY:
                is_requested = is_requested or isinstance(value, str)
            elif key == "traceparent":
                has_parent = True
        timeout_s = self._limits.default_timeout_s if remaining_s is None else remaining_s * _EXACT_SHARE
        return Call(
            deadline=Deadline(timeout_s, self._limits.deadline_margin_s),
            trace=self._tracers.start_call(
                self._path, trace_headers(pairs) if has_parent else NO_HEADERS, is_requested=is_requested
            ),
            commit=headers.send,
            commit_limit_s=self._limits.early_headers_s,
            process_bytes=self._process_bytes,
        )

    def _finish(self, call: Call, context: Context, error: PushError | None, started: float) -> Trailers:
        """Record what became of the call; returns the trailers that the caller asked for."""
        _release(call, context)
        code = "OK" if error is None else code_of(error).name
        if error is None:
            reason, sent = "OK", "replayed" if call.replayed else "yes"
        else:
            reason, sent = error.reason.value, str(error.sent)
        duration_s = time.perf_counter() - started
        exemplar = call.trace.exemplar
        self._rpc_duration(code).observe(duration_s, exemplar)
        self._pushes(call.app, call.provider, call.audience, reason, sent).inc(1, exemplar)
        if call.trace.is_recording:
            _end_trace(call, code, error)
        log_push(call, error, code=code, duration_s=duration_s)
        recorded = call.trace.recorded()
        return ((TRACE_KEY, recorded),) if recorded is not None else ()


def _release(call: Call, context: Context) -> None:
    """Release what a call holds: now, at the end of the RPC, or, by the lane, at that of its vendor call."""
    if call.is_detached:
        return
    if call.held_bytes < _LARGE_BYTES:
        call.release_bytes()
    else:
        # grpc-stubs asks for a class of its own here; grpc.aio takes any callable.
        context.add_done_callback(lambda _: call.release_bytes())  # type: ignore[arg-type]


async def _refuse(context: Context, headers: EarlyHeaders, refusal: Refusal) -> NoReturn:
    """End a call with an error. A caller that does not read is waited for, until its deadline: no place is held."""
    try:
        await headers.ended()
        await context.abort(*refusal)
    except grpc.aio.AbortError:
        raise
    except Exception:
        if not context.done():
            raise
    finally:
        del context, headers
    # Nobody is there to be told: its deadline passed, or it hung up, while the answer was made.
    raise asyncio.CancelledError


def _end_trace(call: Call, code: str, error: PushError | None) -> None:
    attributes: dict[str, str | int | bool] = {
        names.RPC_STATUS_CODE: code,
        names.PROVIDER: call.provider,
        names.APP: call.app,
        names.AUDIENCE: call.audience,
    }
    if call.replayed:
        attributes[names.REPLAYED] = True
    if call.caller:
        attributes[names.CALLER] = call.caller
    if call.target_hash:
        attributes[names.TARGET_HASH] = call.target_hash
    if error is not None:
        attributes |= {names.ERROR_TYPE: code, names.REASON: error.reason.value, names.SENT: str(error.sent)}
        if error.vendor is not None and error.vendor.code is not None:
            attributes[names.VENDOR_CODE] = error.vendor.code
    call.trace.end(attributes, is_error=error is not None and _is_server_error(code))


# Semantic conventions for gRPC servers: these codes are the server's failures, all others are the caller's.
_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


def _is_server_error(code: str) -> bool:
    return code in _SERVER_ERRORS
