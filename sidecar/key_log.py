"""The file of `SSLKEYLOGFILE`, to which Python's `ssl` writes the keys of connections: told of by its own name.

Every context of `ssl.create_default_context` opens it, and raises the same `OSError` as for a file of CAs.
"""

import os
from collections.abc import Mapping

from sidecar.config import ConfigError

VARIABLE = "SSLKEYLOGFILE"


def check_key_log(environment: Mapping[str, str] = os.environ) -> None:
    """Check that the file can be written, where there is to be one.

    Raises `ConfigError` naming the variable.
    """
    if not (name := environment.get(VARIABLE)):
        return
    try:
        # Without waiting for the reader of a pipe. The file will hold keys: nobody else may read it.
        os.close(os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600))
    except OSError as error:
        raise ConfigError(f"{VARIABLE}: cannot write {name}: {error.strerror}") from None
