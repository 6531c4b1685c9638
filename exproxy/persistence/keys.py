"""Secrets derived from the configuration's ``secret:``: keyed digests for tables, tokens for cookies."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

from zope.interface import implementer

from exproxy.interfaces import IKeys
from exproxy.model import Key

# 128 bits: nobody guesses a token, and two clients do not meet in one key.
SIZE = 16


def _derive(secret: bytes, *words: str) -> bytes:
    """A key of its own for each purpose; equal in all processes that have the secret."""
    digest = hashlib.blake2b(key=hashlib.blake2b(secret, digest_size=64).digest(), digest_size=32)
    for word in words:
        encoded = word.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.digest()


class Secrets:
    """The configured secrets: the first signs and keys, all verify."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise ValueError("at least one secret is needed")
        self._secrets = tuple(secrets)

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._secrets)}>"

    def keys(self, group: str, servers: Sequence[str]) -> Keys:
        """The keys of one group (or of a service that is in none)."""
        return Keys(self._secrets, group, servers)


@implementer(IKeys)
class Keys:
    """See IKeys."""

    def __init__(self, secrets: Sequence[bytes], group: str, servers: Sequence[str]) -> None:
        self.group = group
        self.servers = tuple(servers)
        self._secrets = tuple(secrets)
        self._digest_key = _derive(self._secrets[0], "digest", group)

    def __repr__(self) -> str:
        return f"<Keys {self.group}>"

    def digest(self, kind: str, *parts: bytes) -> Key:
        """See IKeys."""
        digest = hashlib.blake2b(kind.encode(), key=self._digest_key, digest_size=SIZE)
        for part in parts:
            digest.update(len(part).to_bytes(4, "big") + part)
        return Key(kind, digest.digest())

    def tokens(self, purpose: str) -> Mapping[bytes, str]:
        """See IKeys."""
        return {
            self._token(secret, purpose, server): server
            for secret in reversed(self._secrets)
            for server in self.servers
        }

    def token(self, purpose: str, server: str) -> bytes:
        """See IKeys."""
        return self._token(self._secrets[0], purpose, server)

    def _token(self, secret: bytes, purpose: str, server: str) -> bytes:
        key = _derive(secret, "token", purpose, self.group)
        return base64.urlsafe_b64encode(hashlib.blake2b(server.encode(), key=key, digest_size=18).digest())
