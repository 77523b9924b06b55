"""The vendor side of HTTP: bytes out, bytes back, and the proof of what was sent. Knows no vendor and no gRPC."""
