"""Causes of failed attempts that are not the transport's, as logs and metrics name them."""

# The caller's initial metadata could not be sent: it is gone.
EARLY_HEADERS = "early_headers"
# The caller left, or the stop cut the call off.
CANCELLED = "cancelled"
