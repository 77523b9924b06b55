"""The keyed hash of a single target, by which a support case is followed without a target in any log or trace.

The same target has the same hash in each app and of each kind, so that whoever knows the target alone finds its lines.
Without the key nobody can try targets out against it. What the key is read from is the configuration's.
"""

from hashlib import blake2b

from sidecar.config import Secret

# Sixty-four bits: no two targets of an installation share a hash by chance.
DIGEST_BYTES = 8
_PURPOSE = b"target"


class TargetHash:
    """Computes the hashes by the key as it was given last, which is `secret`."""

    __slots__ = ("_key", "secret")

    def __init__(self, secret: Secret) -> None:
        self.use(secret)

    def use(self, secret: Secret) -> None:
        """Compute later hashes by this key."""
        self.secret = secret
        # BLAKE2b takes a key of at most 64 bytes; the secret may be longer.
        self._key = blake2b(secret.reveal().encode(), digest_size=32, person=_PURPOSE).digest()

    def of(self, target: str) -> str:
        """Return the hash of a token or an account: 16 hexadecimal digits."""
        return blake2b(target.encode(), digest_size=DIGEST_BYTES, key=self._key, person=_PURPOSE).hexdigest()
