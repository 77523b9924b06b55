"""How much the tests of `tests/soak` and `tests/fuzz` do: the only reader of `PUSH_SIDECAR_SOAK`.

Unset, a short run that is the same every time, for every change; 1 is the full one, and takes other seeds each time.
"""

import os
import random

SCALE = float(os.environ.get("PUSH_SIDECAR_SOAK", "0.1"))
IS_FULL = SCALE >= 1

# What a test may take, in seconds: the full run is long on purpose.
TIME_LIMIT_S = 120 + 1800 * SCALE


def scaled(full: float, *, least: int = 1) -> int:
    """Return the count that stands for `full` of the full run, at least `least`."""
    return max(least, round(full * SCALE))


def examples(full: int) -> int:
    """Return how many examples stand for `full` of the full run; those of the short one are always the same."""
    return scaled(full if IS_FULL else full / 2)


def scaled_s(full_s: float, *, least_s: float) -> float:
    """Return the duration that stands for `full_s` of the full run, in seconds."""
    return max(least_s, full_s * SCALE)


def seeded(name: str) -> random.Random:
    """Return random numbers: those of `name` in the short run, others in each full one; the seed is printed."""
    seed = f"{name}-{random.SystemRandom().randrange(10**9)}" if IS_FULL else name
    print(f"seed: {seed}")  # noqa: T201  # pytest shows it when the test fails
    return random.Random(seed)  # noqa: S311  # no secret
