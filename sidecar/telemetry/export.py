"""Builds the tracers: sampling, batching and the OTLP exporter, from the standard `OTEL_*` variables.

One stated deviation: traces are off unless `OTEL_TRACES_EXPORTER=otlp` or an OTLP endpoint is set, so that a sidecar
without a collector tries to reach none.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, AlwaysRecordSampler, Sampler
from opentelemetry.trace import NoOpTracer, Tracer

from sidecar import __version__
from sidecar.config import ConfigError
from sidecar.telemetry import names
from sidecar.telemetry.backlog import Backlog, Limits
from sidecar.telemetry.sampling import CallSampler
from sidecar.telemetry.tracing import SpanRecorder, Tracers

SCOPE = "push-sidecar"
FLUSH_TIMEOUT_S = 5.0
# Of it, the rest is for an exporter that is cut off to let go of its connection.
_FLUSH_SHARE = 0.95
# Of a number in a variable: longer ones are no time and no size that a thread can wait for, or Python can read.
MAX_DIGITS = 9

_log = logging.getLogger(__name__)

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_INSECURE = ("OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_TRACES_INSECURE")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_DEFAULT_TIMEOUT_MS = 10_000
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_FILES = tuple(
    f"OTEL_EXPORTER_OTLP_{signal}{kind}"
    for signal in ("", "TRACES_")
    for kind in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
)
_MAX_QUEUE_SIZE = "OTEL_BSP_MAX_QUEUE_SIZE"
_MAX_EXPORT_BATCH_SIZE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_SCHEDULE_DELAY = "OTEL_BSP_SCHEDULE_DELAY"

_SAMPLER = "OTEL_TRACES_SAMPLER"
_SAMPLER_ARG = "OTEL_TRACES_SAMPLER_ARG"
# The SDK warns of another one, and samples everything.
_RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off", *_RATIO_SAMPLERS)


class TracePipeline:
    """The tracers and what has to be flushed at the end."""

    def __init__(
        self,
        exporter: SpanExporter | None,
        limits: Limits | None = None,
        *,
        flush_timeout_s: float = FLUSH_TIMEOUT_S,
    ) -> None:
        self._flush_timeout_s = flush_timeout_s
        self._backlog = Backlog(exporter, limits or Limits()) if exporter is not None else None
        # Whether the exporter was ended while it sent. What gRPC's C core then has open holds the exit of a process.
        self.was_cut = False
        self._providers: list[TracerProvider] = []
        resource = _resource()
        processors: list[SpanProcessor] = []
        tracer: Tracer = NoOpTracer()
        sampler: Sampler = ALWAYS_OFF
        call_sampler: CallSampler | None = None
        if self._backlog is not None:
            # The SDK reads OTEL_TRACES_SAMPLER for a provider only.
            sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
            call_sampler = CallSampler(sampler)
            provider = TracerProvider(
                resource=resource, sampler=call_sampler, id_generator=call_sampler, shutdown_on_exit=False
            )
            processors = [self._backlog]
            tracer = self._tracer(provider, processors)
        # Who asks for the trace of his own call gets it, sampled or not; only what is sampled goes to the collector.
        on_request = TracerProvider(sampler=AlwaysRecordSampler(sampler), resource=resource, shutdown_on_exit=False)
        recorder = SpanRecorder()
        tracer_on_request = self._tracer(on_request, [recorder, *processors])
        if self._backlog is None:
            self.tracers = Tracers(tracer, tracer_on_request, recorder)
        else:
            self.tracers = Tracers(tracer, tracer_on_request, recorder, self._backlog.admits_call, call_sampler)

    def _tracer(self, provider: TracerProvider, processors: Iterable[SpanProcessor]) -> Tracer:
        for processor in processors:
            provider.add_span_processor(processor)
        self._providers.append(provider)
        return provider.get_tracer(SCOPE, __version__, schema_url=names.SCHEMA_URL)

    def shutdown(self) -> None:
        """Send what is left, for at most five seconds: a dead collector must not hold the exit."""
        if self._backlog is not None:
            self._backlog.stop_resting()
        flush = threading.Thread(target=self._shutdown_providers, name="trace-flush", daemon=True)
        flush.start()
        flush.join(self._flush_timeout_s * _FLUSH_SHARE)
        if self._backlog is not None:
            if flush.is_alive():
                # By a thread of its own: nothing of an exporter may hold the exit.
                threading.Thread(target=self._backlog.cut, name="trace-cut", daemon=True).start()
                flush.join(self._flush_timeout_s * (1 - _FLUSH_SHARE))
                self.was_cut = True
            self._backlog.close()

    def _shutdown_providers(self) -> None:
        for provider in self._providers:
            provider.shutdown()


def build_traces(environment: Mapping[str, str]) -> TracePipeline:
    """Build the tracers that the environment asks for.

    Raises `ConfigError` for a variable that cannot be used.
    """
    exporter = build_exporter(environment)
    limits = _limits(environment) if exporter is not None else None
    if exporter is not None and (name := _tls_by_default(environment)):
        _log.warning(
            "the address of the collector has no scheme and so means TLS: set http:// for cleartext",
            extra={"key": name},
        )
    try:
        return TracePipeline(exporter, limits)
    except Exception as error:  # noqa: BLE001  # the SDK has no exception of its own for a wrong variable
        raise ConfigError(f"the OTEL_* variables: the OpenTelemetry SDK refuses a value: {error}") from None


def _resource() -> Resource:
    """Return what these spans come from. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over our names."""
    ours = Resource.create({"service.name": SCOPE, "service.version": __version__})
    return ours.merge(OTELResourceDetector().detect())


def is_on(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces.

    Raises `ConfigError` for an exporter that is not here.
    """
    wanted = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or wanted == "none":
        return False
    if wanted not in {"", "otlp"}:
        raise ConfigError(f"OTEL_TRACES_EXPORTER: only otlp and none are supported, not {wanted!r}")
    return wanted == "otlp" or any(environment.get(name, "").strip() for name in _ENDPOINTS)


def check_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Check the `OTEL_*` variables of traces, and build nothing that stays.

    Raises `ConfigError`.
    """
    if (exporter := build_exporter(environment)) is not None:
        exporter.shutdown()


def build_exporter(environment: Mapping[str, str]) -> SpanExporter | None:
    """Build the OTLP exporter, or None when traces are off. It reads its other `OTEL_*` variables itself.

    Raises `ConfigError` for a variable of traces that cannot be used.
    """
    if not is_on(environment):
        return None
    _check_sampler(environment)
    _limits(environment)
    _check_endpoints(environment)
    _check_files(environment)
    _check_headers(environment)
    kind, timeout_s = _exporter_type(environment), _timeout_s(environment)
    try:
        return kind(timeout=timeout_s)
    except Exception as error:  # noqa: BLE001  # the exporters have no exception of their own for a wrong variable
        raise ConfigError(f"the OTEL_EXPORTER_OTLP_* variables: the exporter refuses a value: {error}") from None


def _exporter_type(environment: Mapping[str, str]) -> Callable[..., SpanExporter]:
    if _protocol(environment) == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415  # 100 ms of imports
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  # 100 ms of imports
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter


def _protocol(environment: Mapping[str, str]) -> str:
    for name in _PROTOCOLS:
        if wanted := environment.get(name, "").strip():
            if wanted not in {"grpc", "http/protobuf"}:
                raise ConfigError(f"{name}: only grpc and http/protobuf are supported, not {wanted!r}")
            return wanted
    return "grpc"


def _timeout_s(environment: Mapping[str, str]) -> float:
    """Return the limit of one export. The specification counts in milliseconds; left alone, the SDK takes seconds."""
    for name in _TIMEOUTS:
        if environment.get(name, "").strip():
            return _number(environment, name, _DEFAULT_TIMEOUT_MS) / 1000
    return _DEFAULT_TIMEOUT_MS / 1000


def _limits(environment: Mapping[str, str]) -> Limits:
    usual = Limits()
    limits = Limits(
        max_queue_size=_number(environment, _MAX_QUEUE_SIZE, usual.max_queue_size),
        max_export_batch_size=_number(environment, _MAX_EXPORT_BATCH_SIZE, usual.max_export_batch_size),
        schedule_delay_ms=_number(environment, _SCHEDULE_DELAY, usual.schedule_delay_ms),
    )
    if limits.max_export_batch_size > limits.max_queue_size:
        raise ConfigError(
            f"{_MAX_QUEUE_SIZE}: must be at least {_MAX_EXPORT_BATCH_SIZE} ({limits.max_export_batch_size})"
        )
    return limits


def _check_endpoints(environment: Mapping[str, str]) -> None:
    """Check the addresses: one that is none would be tried for ever, without a word."""
    is_grpc = _protocol(environment) == "grpc"
    for name in _ENDPOINTS:
        if not (text := environment.get(name, "").strip()):
            continue
        try:
            url = urlsplit(text if "://" in text or not is_grpc else f"http://{text}")
            is_usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        except ValueError:  # brackets that do not match, or a port that is none
            is_usable = False
        if not is_usable or ("://" not in text and ":" not in text):
            # Not shown: it may hold a password.
            raise ConfigError(f"{name}: must be http://host:port or https://host:port")


def _tls_by_default(environment: Mapping[str, str]) -> str | None:
    """Return the variable whose address means TLS without saying so, if there is one: gRPC's exporter takes it so."""
    if any(environment.get(name, "").strip() for name in _INSECURE):
        return None
    # The address of traces wins.
    name = next((name for name in reversed(_ENDPOINTS) if environment.get(name, "").strip()), None)
    return name if name is not None and "://" not in environment[name] else None


def _check_files(environment: Mapping[str, str]) -> None:
    for name in _FILES:
        text = environment.get(name, "").strip()
        if text and not os.access(text, os.R_OK):
            raise ConfigError(f"{name}: cannot read {text}")


def _check_headers(environment: Mapping[str, str]) -> None:
    """Check how they are written; they may hold a secret, and are not shown."""
    for name in _HEADERS:
        pairs = [pair for pair in environment.get(name, "").split(",") if pair.strip()]
        if any(not pair.partition("=")[0].strip() or "=" not in pair for pair in pairs):
            raise ConfigError(f"{name}: must be key=value, several separated by commas")


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) == 0:
        raise ConfigError(f"{name}: must be a whole number above 0, not {text!r}")
    return int(text)


def _check_sampler(environment: Mapping[str, str]) -> None:
    sampler = environment.get(_SAMPLER, "").lower()
    if sampler and sampler not in _SAMPLERS:
        raise ConfigError(f"{_SAMPLER}: must be one of {', '.join(_SAMPLERS)}, not {sampler!r}")
    ratio = environment.get(_SAMPLER_ARG, "")
    if sampler in _RATIO_SAMPLERS and ratio and not _is_ratio(ratio):
        raise ConfigError(f"{_SAMPLER_ARG}: must be a number from 0 to 1, not {ratio!r}")


def _is_ratio(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
