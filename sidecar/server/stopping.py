"""Bounds the steps of a stop: none of them may wait for a peer, whatever the peer does."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


async def stop_within(limit_s: float, what: str, step: Coroutine[Any, Any, None]) -> None:
    """Wait for a step, and go on without it when its time is up.

    `what` is the key of the configuration for what is stopped.
    """
    task = asyncio.ensure_future(step)
    done, _ = await asyncio.wait({task}, timeout=limit_s)
    if done:
        task.result()
        return
    _log.warning("stop goes on without waiting for a listener", extra={"key": what, "limit_s": limit_s})
    leave(task, what)
    task.cancel()


def leave(task: asyncio.Future[Any], what: str) -> None:
    """Log how a step fails that nobody waits for any more; `what` names the step."""

    def look(done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.warning("a step of the stop failed", extra={"step": what, "error": type(error).__name__})

    task.add_done_callback(look)
