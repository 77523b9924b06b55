"""Names of spans' attributes: OpenTelemetry's semantic conventions 1.45 for RPC and HTTP, and our own, in one place."""

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"

RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS_CODE: Final = "rpc.status_code"
ERROR_TYPE: Final = "error.type"

HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL_FULL: Final = "url.full"
URL_TEMPLATE: Final = "url.template"

# Ours.
APP: Final = "push_sidecar.app"
PROVIDER: Final = "push_sidecar.provider"
AUDIENCE: Final = "push_sidecar.audience"
REASON: Final = "push_sidecar.reason"
SENT: Final = "push_sidecar.sent"
VENDOR_CODE: Final = "push_sidecar.vendor_code"
CALLER: Final = "push_sidecar.caller"
TARGET_HASH: Final = "push_sidecar.target_hash"
REPLAYED: Final = "push_sidecar.replayed"
CONNECTION_REUSED: Final = "push_sidecar.connection_reused"

# Spans of waiting, children of the server span.
SPAN_ADMISSION_WAIT: Final = "admission wait"
SPAN_PACING_WAIT: Final = "pacing wait"
SPAN_REQUEST_ID_WAIT: Final = "request_id wait"
SPAN_RETRY_BACKOFF: Final = "retry backoff"
# Event of an attempt: from here on the push may have gone out.
EVENT_BODY_SENT: Final = "request.body.sent"
EVENT_HEADERS_RECEIVED: Final = "response.headers.received"
