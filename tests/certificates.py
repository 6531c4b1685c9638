"""Throw-away certificates for tests, made once a run."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from tests.peers.kit.certs import Authority


class _Kept:
    """An authority whose folder goes with the process."""

    def __init__(self) -> None:
        self._holder = tempfile.TemporaryDirectory(prefix="exproxy-certificates-")
        self.authority = Authority(Path(self._holder.name))


@lru_cache
def _kept() -> _Kept:
    return _Kept()


def ca_file() -> Path:
    """The authority's certificate, PEM."""
    return _kept().authority.ca


@lru_cache
def pem(*names: str) -> Path:
    """A PEM file with a key and a certificate for those DNS names and IP addresses."""
    return _kept().authority.pem(*names)


@lru_cache
def nameless_pem(common_name: str) -> Path:
    """The same with a common name alone, as certificates were once."""
    return _kept().authority.pem(common_name, alternatives=False)
