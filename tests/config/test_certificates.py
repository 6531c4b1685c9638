"""Certificates, keys and authorities are read with the configuration."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from exproxy.config import CertificateFiles
from exproxy.model import TLSOptions
from tests.certificates import ca_file, pem
from tests.config.reading import ReadingTestCase

NAME = "outlook.litware.com"


class CertificateTests(ReadingTestCase):
    now = datetime.datetime.now(datetime.timezone.utc)

    def setUp(self) -> None:
        super().setUp()
        shutil.copy(pem(NAME), self.folder / "both.pem")
        shutil.copy(ca_file(), self.folder / "ca.pem")
        text = (self.folder / "both.pem").read_text()
        parts = [f"-----BEGIN {part}" for part in text.split("-----BEGIN ")[1:]]
        self.write("".join(part for part in parts if "CERTIFICATE" in part), "cert.pem")
        self.write("".join(part for part in parts if "PRIVATE KEY" in part), "key.pem")

    def https(self, certificate: str, more: str = "") -> str:
        return f"{{protocol: https, listen: 443, certificate: {certificate}{more}}}"

    def files(self, cert: str, key: str) -> CertificateFiles:
        return CertificateFiles(self.folder / cert, self.folder / key)

    def test_forms(self) -> None:
        """One file, two files, or a list of them; relative to the configuration."""
        both, two = self.files("both.pem", "both.pem"), self.files("cert.pem", "key.pem")
        for written, expected in (
            ("both.pem", (both,)),
            ("{cert: cert.pem, key: key.pem}", (two,)),
            ("[both.pem, {cert: cert.pem, key: key.pem}]", (both, two)),
            ("{cert: both.pem}", (both,)),
            (str(self.folder / "both.pem"), (both,)),
        ):
            self.assertEqual(self.service(self.https(written)).certificates, expected)

    def test_with_a_certificate_exproxy_ends_tls(self) -> None:
        """993 is passed through without a certificate and ended with one; the backend follows."""
        service = self.service("{protocol: imap, listen: [143, 993], certificate: both.pem}")
        self.assertEqual([one.tls for one in service.listens], ["none", "implicit"])
        targets = [service.target(one) for one in service.listens]
        self.assertEqual([target.tls for target in targets], [None, TLSOptions()])

    def key_file(self, name: str, password: bytes | None = None) -> str:
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        key = ec.generate_private_key(ec.SECP256R1())
        (self.folder / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return name

    def test_what_is_wrong(self) -> None:
        """Each way in which files do not fit has its sentence."""
        self.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "bad.pem")
        self.write("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "badkey.pem")
        other, locked = self.key_file("other.pem"), self.key_file("locked.pem", b"pw")
        folder = self.folder
        for written, message in (
            ("none.pem", f"{folder}/none.pem cannot be read: No such file or directory"),
            (".", f"{folder} cannot be read: Is a directory"),
            ("key.pem", f"{folder}/key.pem holds no certificate in PEM form"),
            ("bad.pem", f"{folder}/bad.pem holds a certificate that cannot be read"),
            (
                "cert.pem",
                f"{folder}/cert.pem holds no private key; name its file: {{cert: cert.pem, key: FILE}}",
            ),
            (
                f"{{cert: cert.pem, key: {other}}}",
                f"the key in {folder}/other.pem does not belong to the (first)",
            ),
            (f"{{cert: cert.pem, key: {locked}}}", f"the key in {folder}/locked.pem is encrypted"),
            ("{cert: cert.pem, key: badkey.pem}", f"the key in {folder}/badkey.pem cannot be read"),
            ("{cert: cert.pem, key: none.pem}", f"{folder}/none.pem cannot be read"),
            ("{key: key.pem}", "'cert' is missing"),
        ):
            found = self.wrong(self.https(written))
            self.assertEqual(len(found), 1, found)
            self.assertIn(f"certificate: {message}", found[0])

    def test_unreadable(self) -> None:
        """A file without the right to read it is told as that."""
        if os.geteuid() == 0:
            return  # root may read everything
        (self.folder / "both.pem").chmod(0)
        self.assertIn("Permission denied", self.wrong(self.https("both.pem"))[0])

    def test_list_items_have_their_place(self) -> None:
        """In a list the wrong one is pointed at."""
        self.assertIn("certificate[1]: ", self.wrong(self.https("[both.pem, none.pem]"))[0])

    def test_dates(self) -> None:
        """An expired or not yet valid certificate is a warning, told once for all who use it."""
        self.now += datetime.timedelta(days=3650)
        self.assertIn("expired on ", self.wrong(self.https("both.pem"))[0])
        self.now -= datetime.timedelta(days=7300)
        self.assertIn("is not valid before ", self.wrong(self.https("both.pem"))[0])

    def test_not_used(self) -> None:
        """A certificate that no port shows is a warning."""
        self.assertEqual(
            self.wrong("{protocol: smtp, listen: 25, certificate: both.pem}"),
            ["certificate: is not used: no listening port of this service ends TLS"],
        )

    def test_authorities(self) -> None:
        """A file of authorities is read too; the words stay words."""
        service = self.service(self.https("both.pem", ", backend: {tls: {verify: ca.pem}}"))
        self.assertEqual(service.backend.tls.verify, str(self.folder / "ca.pem"))
        for word in ("system", "none"):
            service = self.service(self.https("both.pem", f", backend: {{tls: {{verify: {word}}}}}"))
            self.assertEqual(service.backend.tls.verify, word)
        for written in ("nothing.pem", "key.pem", "''", "sytem"):
            (found,) = self.wrong(self.https("both.pem", f", backend: {{tls: {{verify: {written}}}}}"))
            self.assertTrue(found.startswith("backend.tls.verify: "), found)

    def test_the_lab_makes_its_own(self) -> None:
        """Files that the lab makes at its start need not be there yet."""
        text = (
            "servers: {a: 127.0.0.11}\nlab: {certificates: made}\nservices:\n  s:\n    protocol: https\n"
            "    listen: 443\n    certificate: made/server.pem\n    backend: {tls: {verify: made/ca.pem}}\n"
        )
        config = self.config(text)
        self.assertEqual(
            config.services["s"].certificates, (self.files("made/server.pem", "made/server.pem"),)
        )
        self.assertEqual(config.lab.certificates, Path(self.folder, "made"))
        self.assertIn(
            "made/other.pem cannot be read", self.messages(text.replace("server.pem", "other.pem"))[0]
        )
