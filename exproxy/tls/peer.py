"""What a certificate says of its holder, in the words that go into a header."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography import x509

from exproxy.tls.material import fingerprint


@dataclass(frozen=True, slots=True)
class Holder:
    """Printable ASCII throughout. ``subject`` and ``issuer`` as RFC 4514 has them, ``serial`` and
    ``fingerprint`` (SHA-256) in lower-case hexadecimal, ``not_after`` as RFC 3339 in UTC, ``encoded``
    the certificate as RFC 9440 carries it (``:base64:``)."""

    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_after: str
    encoded: str


def holder(der: bytes) -> Holder:
    """Read a certificate in DER form; raises ValueError."""
    certificate = x509.load_der_x509_certificate(der)
    return Holder(
        subject=_printable(certificate.subject),
        issuer=_printable(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        fingerprint=fingerprint(der).hex(),
        not_after=f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        encoded=f":{base64.b64encode(der).decode('ascii')}:",
    )


def _printable(name: x509.Name) -> str:
    r"""RFC 4514 2.4: what is no printable ASCII is written as \XX for each byte of its UTF-8."""
    text = name.rfc4514_string()
    return "".join(
        each if " " <= each <= "~" else "".join(f"\\{byte:02x}" for byte in each.encode("utf-8", "replace"))
        for each in text
    )
