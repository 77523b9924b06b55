"""What of ours only the garbage collector would find: objects that hold each other, after their use."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tests.support.process import ROOT


@contextmanager
def uncollected() -> Iterator[Counter[str]]:
    """Keep the garbage collector out of the block; tells afterwards what of ours only it would have found."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
    finally:
        gc.set_debug(0)
        found.update(name for garbage in gc.garbage if (name := _name(garbage)) is not None)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()


def _name(garbage: object) -> str | None:
    if isinstance(garbage, FrameType):
        code = garbage.f_code
        return f"frame {code.co_qualname}" if code.co_filename.startswith(f"{ROOT}/sidecar/") else None
    name = f"{type(garbage).__module__}.{type(garbage).__qualname__}"
    return name if name.startswith(("sidecar.", "pushsidecar.")) else None
