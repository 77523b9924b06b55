"""How many bytes the calls in progress may hold together: one budget for the process, one for each app.

A call pays by the size of its request before anything is made of the request, and by the size of the body once there
is one. An answer of the vendor is counted, and never refused: the push is out, and its caller must be told. So a budget
may be overdrawn by answers, and then refuses further requests. What gRPC itself buffers, and what lives only while one
step is made, such as the copies of the rules' check, is not counted.
"""

from sidecar.errors import Overloaded

# A request is held twice for as long as its call: as the bytes that came (by grpc.aio), and as the message.
COPIES_OF_REQUEST = 2

# What OVERLOADED tells a caller to wait before it is known which app the call is for, in seconds.
RETRY_AFTER_S = 1.0


class ByteBudget:
    """The bytes that calls hold, at most `limit`. For one event loop; nothing waits here.

    `setting` is the key of the configuration that sets the limit: what is refused names it.
    """

    __slots__ = ("_retry_after_s", "_setting", "limit", "pending")

    def __init__(self, setting: str, *, limit: int, retry_after_s: float = RETRY_AFTER_S) -> None:
        self._setting = setting
        self._retry_after_s = retry_after_s
        self.limit = limit
        self.pending = 0

    def charge(self, size: int, *, own: int) -> None:
        """Count `size` bytes more of a call that has `own` bytes here already.

        A call that is alone is let through whatever its size: to wait would not help it.

        Raises `Overloaded`, and counts nothing.
        """
        if self.pending + size > self.limit and self.pending > own:
            raise Overloaded(
                f"the calls in progress hold as many bytes as {self._setting} allows",
                retry_after_s=self._retry_after_s,
            )
        self.pending += size

    def overdraw(self, size: int) -> None:
        """Count `size` bytes more, whether or not there is room: they are there, and cannot be refused."""
        self.pending += size

    def release(self, size: int) -> None:
        """Count `size` bytes less."""
        self.pending -= size
