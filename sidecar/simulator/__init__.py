"""A local vendor to develop and test against: real TLS, the documents' checks, scripted faults, a record.

It shares no code with the rest of the package, so that it cannot share its mistakes.
"""

from sidecar.simulator.exchange import Delivery
from sidecar.simulator.faults import Fault, Garbage, Kind, Match
from sidecar.simulator.record import Record
from sidecar.simulator.server import Simulator
from sidecar.simulator.xg.apps import (
    ANDROID_APP_ID,
    ANDROID_SECRET_KEY,
    IOS_APP_ID,
    IOS_SECRET_KEY,
    KNOWN_PREFIX,
    App,
)
from sidecar.simulator.xg.quota import Quota

__all__ = [
    "ANDROID_APP_ID",
    "ANDROID_SECRET_KEY",
    "IOS_APP_ID",
    "IOS_SECRET_KEY",
    "KNOWN_PREFIX",
    "App",
    "Delivery",
    "Fault",
    "Garbage",
    "Kind",
    "Match",
    "Quota",
    "Record",
    "Simulator",
]
