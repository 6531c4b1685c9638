"""What a finished handshake has come to, as the fact that a session knows it by."""

# mypy: allow-untyped-calls
from __future__ import annotations

from typing import Any

from OpenSSL import crypto

from exproxy.model import TLS
from exproxy.tls import binding


def describe(handle: Any) -> TLS:
    """The TLS fact of an ``OpenSSL.SSL.Connection`` whose handshake is done."""
    version, cipher, name, alpn = binding.agreed(handle)
    certificate = handle.get_peer_certificate()
    return TLS(
        version=version,
        cipher=cipher or "",
        server_name=name.decode("ascii", "replace").lower() if name else None,
        alpn=alpn.decode("ascii", "replace") if alpn else None,
        resumed=bool(binding.resumed(handle)),
        # From one form to the other, without a look at what is in it.
        certificate=crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) if certificate else None,
    )
