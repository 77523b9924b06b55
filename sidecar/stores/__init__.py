"""Where request ids are kept. Knows keys, owners and bytes; never a push, a vendor or a gRPC call."""
