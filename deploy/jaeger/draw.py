"""Draws a trace that a Jaeger has as an SVG: `python deploy/jaeger/draw.py TRACE_ID > trace.svg`.

It needs Python alone. `--latest SERVICE` takes the newest trace of a service instead of an id.
"""

import argparse
import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LABELS, RIGHT = 1080, 400, 90
ROW, BAR, TOP = 46, 14, 64
COLOURS = ("#4878a8", "#d08030", "#5a9a5a", "#8a6aa8")
RED, INK, PALE = "#d01010", "#222222", "#dddddd"
OUTLINE = f'fill="none" stroke="{RED}" stroke-width="2"'


@dataclass(frozen=True)
class Span:
    """A span, its times in microseconds from the start of the trace."""

    service: str
    name: str
    depth: int
    start_us: int
    duration_us: int
    is_error: bool
    tags: Mapping[str, Any]
    events: Sequence[tuple[str, int]]


def fetch(address: str, path: str) -> Any:
    """Ask Jaeger's query API."""
    if urllib.parse.urlsplit(address).scheme not in {"http", "https"}:
        raise SystemExit(f"{address}: an address of Jaeger starts with http:// or https://")
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as answer:  # noqa: S310  # looked at above
        found = json.load(answer)["data"]
    if not found:
        raise SystemExit("Jaeger has no such trace")
    return found[0]


def read(trace: Mapping[str, Any]) -> list[Span]:
    """Put the spans of a trace in the order of a tree, children below their parents as they began."""
    first_us = min(span["startTime"] for span in trace["spans"])
    ids = {span["spanID"] for span in trace["spans"]}
    children: dict[str, list[Mapping[str, Any]]] = {}
    for span in sorted(trace["spans"], key=lambda span: span["startTime"]):
        parents = [reference["spanID"] for reference in span["references"]]
        children.setdefault(parents[0] if parents and parents[0] in ids else "", []).append(span)

    def walk(parent: str, depth: int) -> Iterator[Span]:
        for span in children.get(parent, []):
            yield _span(trace, span, depth, first_us)
            yield from walk(span["spanID"], depth + 1)

    return list(walk("", 0))


def _span(trace: Mapping[str, Any], span: Mapping[str, Any], depth: int, first_us: int) -> Span:
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    events = [
        (str(field["value"]), log["timestamp"] - first_us)
        for log in span["logs"]
        for field in log["fields"]
        if field["key"] == "event"
    ]
    return Span(
        service=trace["processes"][span["processID"]]["serviceName"],
        name=span["operationName"],
        depth=depth,
        start_us=span["startTime"] - first_us,
        duration_us=span["duration"],
        is_error=tags.get("error") is True,
        tags=tags,
        events=sorted(events, key=lambda event: event[1]),
    )


def draw(trace_id: str, spans: Sequence[Span]) -> str:
    """Draw the spans as a waterfall."""
    total_us = max(1, *(span.start_us + span.duration_us for span in spans))
    services = list(dict.fromkeys(span.service for span in spans))
    height = TOP + ROW * len(spans) + 12
    scale = (WIDTH - LABELS - RIGHT) / total_us

    def at(time_us: float) -> float:
        return LABELS + time_us * scale

    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="{INK}">',
        f"<title>Trace {escape(trace_id)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    colours = {service: COLOURS[index % len(COLOURS)] for index, service in enumerate(services)}
    legend = [*((service, f'fill="{colour}"') for service, colour in colours.items()), ("with an error", OUTLINE)]
    for index, (text, style) in enumerate(legend):
        left = 12 + 160 * index
        lines.append(f'<rect x="{left}" y="12" width="12" height="12" {style}/>')
        lines.append(f'<text x="{left + 18}" y="22">{escape(text)}</text>')
    for quarter in range(5):
        x = at(total_us * quarter / 4)
        lines.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 8}" stroke="{PALE}"/>')
        text = _milliseconds(total_us * quarter / 4)
        lines.append(f'<text x="{x:.1f}" y="{TOP - 14}" text-anchor="middle">{text}</text>')
    for index, span in enumerate(spans):
        y = TOP + ROW * index
        style = f'fill="{colours[span.service]}"' + (f' stroke="{RED}" stroke-width="2"' if span.is_error else "")
        start, width = at(span.start_us), max(2.0, span.duration_us * scale)
        lines += [
            f'<text x="{12 + 14 * span.depth}" y="{y + 12}">{escape(span.name)}</text>',
            f'<rect x="{start:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" {style}/>',
            *(
                f'<line x1="{at(time_us):.1f}" y1="{y - 2}" x2="{at(time_us):.1f}" y2="{y + BAR + 2}" stroke="{INK}"/>'
                for _, time_us in span.events
            ),
            f'<text x="{start + width + 6:.1f}" y="{y + 12}">{_milliseconds(span.duration_us)}</text>',
            f'<text x="{12 + 14 * span.depth}" y="{y + 29}" font-size="10" fill="#666666">{escape(note(span))}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def note(span: Span) -> str:
    """Say in words what the bar cannot show."""
    parts = []
    if resend_count := span.tags.get("http.request.resend_count"):
        parts.append(f"resend {resend_count}")
    if status := span.tags.get("http.response.status_code"):
        parts.append(f"HTTP {status}")
    parts += [str(span.tags[key]) for key in ("push_sidecar.reason", "error.type") if key in span.tags][:1]
    started = {name.removesuffix(".start"): time_us for name, time_us in span.events if name.endswith(".start")}
    ended = {name.removesuffix(".end"): time_us for name, time_us in span.events if name.endswith(".end")}
    parts += [f"{name} {_milliseconds(ended[name] - time_us)}" for name, time_us in started.items() if name in ended]
    parts += [
        f"{name} at {_milliseconds(time_us - span.start_us)}"
        for name, time_us in span.events
        if name.removesuffix(".start").removesuffix(".end") not in started.keys() & ended.keys()
    ]
    return ", ".join(parts)


def _milliseconds(time_us: float) -> str:
    return f"{time_us / 1000:.{1 if time_us < 100_000 else 0}f} ms"  # noqa: PLR2004  # three digits are enough


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch and draw."""
    parser = argparse.ArgumentParser(description="Draw a trace that a Jaeger has as an SVG, to standard output.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("trace_id", nargs="?", metavar="TRACE_ID", help="32 hexadecimal digits")
    which.add_argument("--latest", metavar="SERVICE", help="the newest trace of a service")
    parser.add_argument("--jaeger", metavar="URL", default="http://127.0.0.1:16686", help="default %(default)s")
    given = parser.parse_args(argv)
    if given.latest:
        path = "/api/traces?" + urllib.parse.urlencode({"service": given.latest, "limit": 1, "lookback": "1h"})
    else:
        path = f"/api/traces/{urllib.parse.quote(given.trace_id, safe='')}"
    trace = fetch(given.jaeger, path)
    sys.stdout.write(draw(trace["traceID"], read(trace)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
