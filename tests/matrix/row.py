"""What a row of the fault matrix says: what goes wrong, and what is seen of it. Which rows there are is not here."""

from dataclasses import dataclass
from typing import Any

from pushsidecar.xg.v1 import PushRequest
from tests.matrix.faults import Fault
from tests.matrix.verdict import DONE, Attempt, Seen, Verdict
from tests.support.running import android

# Calls to the vendor for one push, where nothing was sent or the vendor was busy.
TRIES = 3


@dataclass(frozen=True)
class Row:
    """One row. `calls` are the requests that the vendor read whole, `connections` those that reached it.

    `cause` is the attempts' `error.type` where it is not the verdict's reason: it proves that what went wrong is what
    the row says. `spans` are the attempts where they are not all the same.
    """

    name: str
    fault: Fault
    verdict: Verdict
    audience: str = "token"
    timeout_s: float = 10.0
    attempts: int = 1
    calls: int = 1
    connections: int = 1
    retry_after_s: Any = None
    cause: str = ""
    spans: tuple[Attempt, ...] = ()
    results: tuple[int, ...] | None = None

    @property
    def request(self) -> PushRequest:
        """The push, without its app."""
        return android(**AUDIENCES[self.audience])

    @property
    def expected(self) -> Seen:
        """What must be seen."""
        is_ok = self.verdict.code == "OK"
        attempt = DONE if is_ok else Attempt("error", self.cause or self.verdict.reason)
        return Seen(
            self.verdict,
            self.attempts,
            self.calls,
            self.connections,
            self.retry_after_s,
            self.spans or (attempt,) * self.attempts,
        )


AUDIENCES: dict[str, dict[str, Any]] = {
    "all": {"all": {}},
    "tag": {"tag": {"tags": ["tag1"], "op": "TAG_OP_OR"}},
    "token": {"token": "sim-1"},
    "token_list": {"token_list": {"tokens": ["sim-1", "sim-2"]}},
    "account": {"account": {"account": "sim-1"}},
    "account_list": {"account_list": {"accounts": ["sim-1", "sim-2"]}},
    "unknown token": {"token": "nobody"},
    "unknown account": {"account": {"account": "nobody"}},
    "account without device": {"account": {"account": "account-without-device"}},
    "half-known tokens": {"token_list": {"tokens": ["sim-1", "nobody"]}},
    "half-known accounts": {"account_list": {"accounts": ["nobody", "sim-1"]}},
    "unknown tokens": {"token_list": {"tokens": ["nobody", "no-one"]}},
    "unknown accounts": {"account_list": {"accounts": ["nobody", "no one"]}},
    "ended task": {"token_list": {"tokens": ["sim-1"]}, "push_id": "42"},
}
