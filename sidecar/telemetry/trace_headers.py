"""Reads the headers of W3C's Trace Context from a call's metadata, in which a key may stand several times.

What their values mean is OpenTelemetry's propagator's to say.
"""

from collections.abc import Iterable, Mapping

# Of a call without a `traceparent`: its trace begins here.
NO_HEADERS: Mapping[str, str] = {}


def trace_headers(pairs: Iterable[tuple[str, str | bytes]]) -> Mapping[str, str]:
    """Return `traceparent` and `tracestate`, or nothing where a call has not exactly one parent.

    Several `tracestate` entries are one list, in their order. A value in bytes is one that gRPC could not decode; it
    makes the whole list invalid. gRPC's C core hands over the last of several parents, so that they are seen here only
    where a version of it hands over all. Source: W3C Trace Context, 3.2 and 3.3.
    """
    parents: list[str | bytes] = []
    states: list[str | bytes] = []
    for key, value in pairs:
        if key == "traceparent":
            parents.append(value)
        elif key == "tracestate":
            states.append(value)
    if len(parents) != 1 or isinstance(parents[0], bytes):
        return NO_HEADERS
    texts = [state for state in states if isinstance(state, str)]
    if not texts or len(texts) != len(states):
        return {"traceparent": parents[0]}
    return {"traceparent": parents[0], "tracestate": ",".join(texts)}
