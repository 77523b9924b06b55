"""Cuts errors from the frames that they passed through.

An error holds its traceback, the traceback holds frames, and a frame often holds what holds the error, as the task that
failed with it. Such a circle keeps a call's request and body until the garbage collector runs. It is cut where an error
has been recorded, and nobody asks any more where it was raised.
"""


def drop_tracebacks(error: BaseException) -> None:
    """Cut an error, and every error that it came from, from their frames."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            found.__traceback__ = None
            waiting += (found.__cause__, found.__context__)
