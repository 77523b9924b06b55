"""The credentials of a verb that calls a sidecar with TLS, from its flags."""

import argparse
from pathlib import Path

import grpc

from sidecar.cli.send_request import UsageError


def credentials_of(args: argparse.Namespace) -> grpc.ChannelCredentials | None:
    """Return what `--ca-file`, `--cert-file` and `--key-file` make together; None without them.

    Raises `UsageError`.
    """
    if (args.cert_file is None) != (args.key_file is None):
        raise UsageError("--cert-file and --key-file belong together")
    if args.ca_file is None:
        if args.cert_file is not None:
            raise UsageError("--cert-file needs --ca-file")
        return None
    return grpc.ssl_channel_credentials(
        _read("--ca-file", args.ca_file),
        private_key=_read("--key-file", args.key_file),
        certificate_chain=_read("--cert-file", args.cert_file),
    )


def _read(flag: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{flag}: {path}: {error.strerror}") from None
