"""push-sidecar: push notifications as typed gRPC calls, beside the application."""

__version__ = "0.1.0"
