"""Certificates out of files: PEM and PKCS#12, in whatever order, with and without a password."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from twisted.trial.unittest import SynchronousTestCase

from exproxy.tls.material import CertificateFiles, Unfit, days_left, fingerprint, material
from tests.certificates import authority, pem

NOW = datetime.datetime.now(datetime.timezone.utc)
NAME = "outlook.litware.test"


def signed(
    subject: str, issuer: x509.Name, signer: Any, key: ec.EllipticCurvePrivateKey, ca: bool
) -> x509.Certificate:
    """A certificate of a day."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


class MaterialTests(SynchronousTestCase):
    """material(), which reads what the configuration names."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="exproxy-material-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.pem = pem(NAME).read_bytes()
        self.leaf = x509.load_pem_x509_certificate(self.pem)
        self.key: Any = load_pem_private_key(self.pem, None)

    def pfx(self, password: str | None, leaf: Any, key: Any, others: list[x509.Certificate]) -> Path:
        path = self.folder / "file.pfx"
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        path.write_bytes(pkcs12.serialize_key_and_certificates(b"x", key, leaf, others or None, encryption))
        return path

    def unfit(self, files: CertificateFiles) -> str:
        return str(self.assertRaises(Unfit, material, files))

    def test_pem(self) -> None:
        """A PEM file with both; its fingerprint and names are those of the certificate."""
        found = material(CertificateFiles(pem(NAME), pem(NAME)))
        self.assertEqual(found.chain, (self.leaf,))
        self.assertEqual(found.fingerprint, self.leaf.fingerprint(hashes.SHA256()))
        self.assertEqual(found.fingerprint, fingerprint(self.leaf.public_bytes(Encoding.DER)))
        self.assertEqual(found.names, (NAME,))

    def test_pkcs12(self) -> None:
        """A PKCS#12 file with and without a password."""
        for password in ("pässword", None):
            path = self.pfx(password, self.leaf, self.key, [])
            found = material(CertificateFiles(path, path, password, pkcs12=True))
            self.assertEqual(found.leaf, self.leaf)
            self.assertEqual(found.key.private_numbers(), self.key.private_numbers())

    def test_chain_in_order(self) -> None:
        """Intermediates come in any order; the chain is put right, the root and strangers are left out."""
        root, root_key = authority()
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
        upper = signed("upper", root.subject, root_key, keys[0], ca=True)
        lower = signed("lower", upper.subject, keys[0], keys[1], ca=True)
        leaf = signed(NAME, lower.subject, keys[1], keys[2], ca=False)
        stranger = signed("lower", root.subject, root_key, keys[2], ca=True)
        path = self.pfx("pw", leaf, keys[2], [root, stranger, upper, lower])
        found = material(CertificateFiles(path, path, "pw", pkcs12=True))
        self.assertEqual(found.chain, (leaf, lower, upper))

    def test_wrong_password(self) -> None:
        """A wrong password, none, and a file that is no PKCS#12 are told as what they are."""
        path = self.pfx("pw", self.leaf, self.key, [])
        for password in ("other", None):
            self.assertIn("password", self.unfit(CertificateFiles(path, path, password, pkcs12=True)))
        self.assertIn("no PKCS#12", self.unfit(CertificateFiles(pem(NAME), pem(NAME), "pw", pkcs12=True)))

    def test_without_its_key(self) -> None:
        """An export without the private key is told as that."""
        path = self.pfx("pw", self.leaf, None, [])
        self.assertIn("no private key", self.unfit(CertificateFiles(path, path, "pw", pkcs12=True)))

    def test_encrypted_pem(self) -> None:
        """An encrypted PEM key is opened by its password, and refused without."""
        path = self.folder / "key.pem"
        form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
        path.write_bytes(self.key.private_bytes(*form))
        self.assertEqual(material(CertificateFiles(pem(NAME), path, "pw")).leaf, self.leaf)
        self.assertIn("is encrypted", self.unfit(CertificateFiles(pem(NAME), path)))
        self.assertIn("cannot be read", self.unfit(CertificateFiles(pem(NAME), path, "other")))
        # A password that nobody asked for does no harm.
        self.assertEqual(material(CertificateFiles(pem(NAME), pem(NAME), "pw")).leaf, self.leaf)

    def test_strangers(self) -> None:
        """A key of another certificate is refused."""
        self.assertIn("does not belong", self.unfit(CertificateFiles(pem(NAME), pem("b.test"))))

    def test_password_is_not_shown(self) -> None:
        """No repr has the password."""
        self.assertNotIn("secret", repr(CertificateFiles(Path("a"), Path("a"), "secret", pkcs12=True)))

    def test_days_left(self) -> None:
        """Whole days until the end; below 0 after it."""
        end = self.leaf.not_valid_after_utc
        self.assertEqual(days_left(self.leaf, end - datetime.timedelta(days=3, hours=1)), 3)
        self.assertLess(days_left(self.leaf, end + datetime.timedelta(seconds=1)), 0)
