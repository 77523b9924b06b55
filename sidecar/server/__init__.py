"""The callers' side: gRPC, its health and its operators' HTTP. Knows no vendor."""
