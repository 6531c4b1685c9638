"""What is read out of a client's certificate."""

from __future__ import annotations

import base64
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from exproxy.tls.peer import holder


def certificate(*attributes: tuple[x509.ObjectIdentifier, str]) -> bytes:
    """A self-signed certificate of that subject, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
    begin = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(0xAB12).not_valid_before(begin).not_valid_after(begin.replace(year=2027))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


class HolderTests(SynchronousTestCase):
    """holder()."""

    def test_fields(self) -> None:
        """Names as RFC 4514 writes them, numbers in hexadecimal, the certificate as RFC 9440 has it."""
        der = certificate(
            (x509.NameOID.ORGANIZATION_NAME, "Litware, Inc."), (x509.NameOID.COMMON_NAME, "ann")
        )
        found = holder(der)
        self.assertEqual(found.subject, r"CN=ann,O=Litware\, Inc.")
        self.assertEqual(found.issuer, found.subject)
        self.assertEqual(found.serial, "ab12")
        self.assertEqual(found.not_after, "2027-01-02T03:04:05Z")
        self.assertEqual(base64.b64decode(found.encoded.strip(":")), der)
        self.assertEqual(
            bytes.fromhex(found.fingerprint), x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256())
        )

    def test_nothing_but_printable_ascii(self) -> None:
        """Whatever is in a name, no line end and no foreign byte gets into a header."""
        found = holder(certificate((x509.NameOID.COMMON_NAME, "a\r\nX-Evil: 1\tü")))
        self.assertEqual(found.subject, r"CN=a\0d\0aX-Evil: 1\09\c3\bc")

    def test_no_certificate(self) -> None:
        """What is no certificate is a ValueError."""
        self.assertRaises(ValueError, holder, b"no DER")
