"""Which of two versions answers a client while the newer one is watched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from supervisor.serving.served import Served

CLIENT_KEY = b"x-client-key"
"""The header in which a client names itself, the same in all its requests: a player, a game, a monster."""


def place_of(client_key: bytes, salt: str) -> float:
    """Where the client lies in [0, 1): evenly spread, always the same, and elsewhere under another salt."""
    digest = hashlib.blake2b(client_key, digest_size=8, key=salt.encode()[: hashlib.blake2b.MAX_KEY_SIZE]).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True)
class Split:
    """Clients whose place is below `share_new` get the new version; those without a key get `keyless`."""

    new: Served
    old: Served
    keyless: Served
    share_new: float

    def of(self, client_key: bytes | None) -> Served:
        if client_key is None:
            return self.keyless
        salt = self.new.version.model_sha256 or self.new.version.name  # so that it is not always the same who waits
        return self.new if place_of(client_key, salt) < self.share_new else self.old
