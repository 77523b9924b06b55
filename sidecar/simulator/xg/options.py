"""The optional parameters beside audience and message (S1 "Push API 可选参数").

Must not live here: the audience's own fields, the clock.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final, cast

from sidecar.simulator.xg.codes import invalid, missing
from sidecar.simulator.xg.rules import Json, Rule, boolean, check, integer, is_integer, one_of, required_text, text

DEFAULT_EXPIRE_S: Final = 259_200
"""S1, S0: 72 hours, which is also the longest."""
SHORTEST_EXPIRE_S: Final = 800
"""S1: 1..799 become 800."""
MAX_EXPIRE_S: Final = 2_147_483_647
"""S1: above it the push fails."""
MAX_LOOP_INTERVAL: Final = 14
"""S1, S0: days."""
PRODUCT: Final = "product"
ENVIRONMENTS: Final = (PRODUCT, "dev")
_INT64: Final = 2**63
_SEND_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")

_TABLE: Final[dict[str, Rule]] = {
    "expire_time": integer(low=0, high=MAX_EXPIRE_S),
    "multi_pkg": boolean,
    "loop_times": integer(low=0),
    "loop_interval": integer(low=0, high=MAX_LOOP_INTERVAL),
    "environment": one_of(*ENVIRONMENTS),
    "stat_tag": text,
    "seq": integer(low=-_INT64, high=_INT64 - 1),
    "send_time": text,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What acting on a push needs of them. `life_s`: how long the text of a list task lives."""

    environment: str
    life_s: int
    seq: int


def read_options(body: Json, *, is_ios: bool, is_broadcast: bool) -> Options:
    """Read and check the options; raises Refused. Only all and tag pushes may be timed or looped."""
    if is_ios:
        required_text(body, "environment")  # S1: required for iOS, beside a default; S0: optional
    check(body, _TABLE, "")
    _check_send_time(body, is_broadcast=is_broadcast)
    _check_loop(body, is_broadcast=is_broadcast)
    return Options(environment_of(body), _life(body.get("expire_time")), seq_of(body))


def seq_of(body: object) -> int:
    """Return the number to echo: 0 when the request is not JSON (S1, S0) or has no usable one."""
    seq = body.get("seq") if isinstance(body, dict) else None
    return cast("int", seq) if is_integer(seq) and -_INT64 <= cast("int", seq) < _INT64 else 0


def environment_of(body: object) -> str:
    """Return the environment asked for, S1's default when there is none or an unusable one."""
    environment = body.get("environment") if isinstance(body, dict) else None
    return environment if isinstance(environment, str) and environment in ENVIRONMENTS else PRODUCT


def _life(expire_time: object) -> int:
    """Return the seconds that a text lives, as S1 resets and caps it; 0 ("real time") lives like 1 (ours)."""
    if expire_time is None:
        return DEFAULT_EXPIRE_S
    return min(max(cast("int", expire_time), SHORTEST_EXPIRE_S), DEFAULT_EXPIRE_S)


def _check_send_time(body: Json, *, is_broadcast: bool) -> None:
    send_time = cast("str | None", body.get("send_time"))
    if not send_time:
        return
    if not is_broadcast:
        raise invalid("send_time", "is for all and tag pushes only")
    if not _SEND_TIME.fullmatch(send_time) or not _is_a_time(send_time):
        raise invalid("send_time", "must be a time as yyyy-MM-dd HH:MM:SS")


def _is_a_time(written: str) -> bool:
    try:
        dt.datetime.fromisoformat(written)
    except ValueError:
        return False
    return True


def _check_loop(body: Json, *, is_broadcast: bool) -> None:
    times, interval = body.get("loop_times"), body.get("loop_interval")
    if not times and not interval:
        return
    if not is_broadcast:
        raise invalid("loop_times", "and loop_interval are for all and tag pushes only")
    if times is None or interval is None:
        raise missing("loop_interval" if interval is None else "loop_times")
    if times == 0:
        raise invalid("loop_times", "must be at least 1 beside loop_interval")
    if interval == 0:
        raise invalid("loop_interval", f"must be 1 to {MAX_LOOP_INTERVAL}")
