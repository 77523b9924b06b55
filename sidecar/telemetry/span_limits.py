"""OpenTelemetry's own limits of a span, which its SDK reads when it is imported: so they are looked at before that."""

from collections.abc import Mapping

from sidecar.config import ConfigError

_VARIABLES = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
)
# The SDK reads it as a number, and Python refuses to read thousands of digits.
MAX_DIGITS = 9


def check_span_limits(environment: Mapping[str, str]) -> None:
    """Check them, also when traces are off: the SDK does so, too, and would end the process with a traceback.

    Raises `ConfigError`.
    """
    for name in _VARIABLES:
        text = environment.get(name, "").strip()
        if text and text.lower() != "unset" and not (text.isdecimal() and len(text) <= MAX_DIGITS):
            raise ConfigError(f"{name}: must be a whole number, not {text!r}")
