"""Has gRPC read and write by its older poller, not by its event engine, where that is known to work.

Must run before gRPC is imported: its core reads the environment once. Other settings of gRPC must not live here.
"""

from collections.abc import Callable, MutableMapping
from importlib.metadata import version

# The release that was measured and tested without (docs/performance.md). Experiments come and go with the releases,
# and gRPC's core writes a raw line to standard error for a name that it does not know.
GRPCIO = "1.82.3"

VARIABLE = "GRPC_EXPERIMENTS"
WITHOUT_EVENT_ENGINE = "-event_engine_listener,-event_engine_client"


def leave_event_engine(environment: MutableMapping[str, str], installed: Callable[[str], str] = version) -> None:
    """Set `VARIABLE` if the release of grpcio, which `installed` tells, is `GRPCIO`; not where it is set already."""
    if VARIABLE not in environment and installed("grpcio") == GRPCIO:
        environment[VARIABLE] = WITHOUT_EVENT_ENGINE
