"""A clock that a test sets: seconds from a point of its own."""


class Clock:
    """Says `now` until a test changes it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now
