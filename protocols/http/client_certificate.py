"""Who a client is by its certificate, told to the backend in header fields."""

from __future__ import annotations

from exproxy.tls.peer import holder
from protocols.http.edits import render


def certificate_fields(der: bytes | None) -> bytes:
    """Field lines for a client's verified certificate (DER); none for a client without.

    ``Client-Cert`` is that of RFC 9440, the others are for programs that take no certificate apart.
    """
    if der is None:
        return b""
    found = holder(der)
    return render(
        (name, value.encode("ascii"))
        for name, value in (
            (b"Client-Cert", found.encoded),
            (b"X-Client-Certificate-Subject", found.subject),
            (b"X-Client-Certificate-Issuer", found.issuer),
            (b"X-Client-Certificate-Serial", found.serial),
            (b"X-Client-Certificate-Fingerprint", f"sha256:{found.fingerprint}"),
            (b"X-Client-Certificate-Not-After", found.not_after),
        )
    )
