"""`tls:`, PKCS#12, fingerprints and `extended-protection:` in the configuration."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

from exproxy.config import CertificateFiles, Invalid, load
from exproxy.model import ServerTLSOptions
from tests.certificates import ca_file, pem
from tests.config.reading import ReadingTestCase

NAME = "outlook.litware.com"
DIGITS = "AB" * 32


class TlsTests(ReadingTestCase):
    """An https service with a certificate, and more."""

    now = datetime.datetime.now(datetime.timezone.utc)

    def setUp(self) -> None:
        super().setUp()
        shutil.copy(pem(NAME), self.folder / "both.pem")
        shutil.copy(ca_file(), self.folder / "ca.pem")

    def https(self, more: str, certificate: str = "both.pem") -> str:
        return f"{{protocol: https, listen: 443, certificate: {certificate}, {more}}}"

    def pfx(self, password: bytes) -> None:
        content = pem(NAME).read_bytes()
        leaf, key = x509.load_pem_x509_certificate(content), load_pem_private_key(content, None)
        encryption = BestAvailableEncryption(password)
        made = pkcs12.serialize_key_and_certificates(b"x", key, leaf, None, encryption)  # type: ignore[arg-type]
        (self.folder / "file.pfx").write_bytes(made)

    def test_defaults(self) -> None:
        """Intermediate, no HSTS, clients are not asked; Extended Protection is the protocol's affair."""
        found = self.service(self.https("retries: 1"))
        self.assertEqual(found.tls, ServerTLSOptions("intermediate", None, False))
        self.assertEqual((found.hsts, found.extended_protection), (None, "off"))

    def test_all_of_it(self) -> None:
        """Every key says what it says."""
        more = (
            "tls: {profile: modern, hsts: {max-age: 730d, subdomains: true, preload: true}, "
            "client-certificates: {ca: ca.pem, mode: optional}}, extended-protection: require"
        )
        found = self.service(self.https(more))
        self.assertEqual(found.tls, ServerTLSOptions("modern", str(self.folder / "ca.pem"), False))
        self.assertEqual(found.hsts, b"max-age=63072000; includeSubDomains; preload")
        self.assertEqual(found.extended_protection, "require")

    def test_short_forms(self) -> None:
        """HSTS by its age alone; who asks for certificates requires them; off is a word."""
        more = "tls: {hsts: 1d, client-certificates: {ca: ca.pem}}, extended-protection: off"
        found = self.service(self.https(more))
        self.assertEqual(found.hsts, b"max-age=86400")
        self.assertTrue(found.tls.client_required)
        self.assertEqual(found.extended_protection, "off")

    def test_key_by_key(self) -> None:
        """A service changes single keys of what `defaults:` says."""
        config = self.config(
            "servers: {a: 192.0.2.11}\ndefaults: {tls: {profile: old, hsts: 2d}}\n"
            "services: {s: {protocol: https, listen: 443, certificate: both.pem, tls: {hsts: 1d}}}\n"
        )
        found = config.services["s"]
        self.assertEqual((found.tls.profile, found.hsts), ("old", b"max-age=86400"))

    def test_what_is_wrong(self) -> None:
        """Each mistake has its sentence."""
        for more, where, message in (
            ("tls: {profile: tls13}", "tls.profile", "must be"),
            ("tls: {hsts: {subdomains: true}}", "tls.hsts", "'max-age' is missing"),
            ("tls: {hsts: 10}", "tls.hsts", ""),
            ("tls: {client-certificates: {mode: optional}}", "tls.client-certificates", "'ca' is missing"),
            ("tls: {client-certificates: {ca: none.pem}}", "tls.client-certificates.ca", "cannot be read"),
            ("extended-protection: maybe", "extended-protection", "must be"),
        ):
            found = self.wrong(self.https(more))
            self.assertEqual(len(found), 1, found)
            self.assertTrue(found[0].startswith(f"{where}: "), found)
            self.assertIn(message, found[0])

    def test_not_used(self) -> None:
        """`tls:` of a service that ends no TLS is a warning; in `defaults:` it is nothing."""
        self.assertEqual(
            self.wrong("{protocol: http, listen: 80, tls: {profile: old}}"),
            ["tls: is not used: no listening port of this service ends TLS"],
        )
        config = self.config(
            "servers: {a: 192.0.2.1}\ndefaults: {tls: {hsts: 1d}}\n"
            "services: {s: {protocol: http, listen: 80}}\n"
        )
        self.assertEqual(config.warnings, ())
        # RFC 6797 7.2: never in plain text.
        self.assertIsNone(config.services["s"].hsts)

    def test_offloading(self) -> None:
        """Extended Protection cannot be required of servers without TLS, and the error says why."""
        [found] = self.wrong(self.https("backend: {tls: false}, extended-protection: require"))
        self.assertTrue(found.startswith("extended-protection: require cannot be kept: port 443 "), found)
        self.assertIn("binds a login to the certificate that the client saw", found)
        for more in (
            "backend: {tls: false}, extended-protection: warn",
            "backend: {tls: true}, extended-protection: require",
        ):
            self.assertEqual(self.wrong(self.https(more)), [])

    def test_offloading_of_one_route(self) -> None:
        """One route without TLS to its servers is enough for the error; one that answers itself is not."""
        for route, wrong in (
            ("{path: /ews, backend: {port: 80, tls: false}}", True),
            ("{path: /ews, backend: {port: 444}}", False),
            ("{path: /ews, status: 403}", False),
        ):
            text = (
                "servers: {a: 192.0.2.1}\nservices:\n  s:\n    protocol: https\n    listen: 443\n"
                f"    certificate: both.pem\n    extended-protection: require\n    routes: {{r: {route}}}\n"
            )
            path = self.write(text)
            if wrong:
                problems = self.assertRaises(Invalid, load, path, now=self.now).problems
                self.assertEqual([each.where for each in problems], ["services.s.extended-protection"])
            else:
                self.assertEqual(load(path, now=self.now).services["s"].extended_protection, "require")

    def test_password_that_is_a_number(self) -> None:
        """Not even a password of the wrong kind is shown."""
        text = "servers: {a: 192.0.2.1}\nservices:\n  s: " + self.https(
            "retries: 1", "{pkcs12: file.pfx, password: 4711}"
        )
        self.assertNotIn("4711", str(self.invalid(text + "\n")))

    def test_pkcs12(self) -> None:
        """A PKCS#12 file with its password, which no error shows."""
        self.pfx(b"hush-hush")
        found = self.service(self.https("retries: 1", "{pkcs12: file.pfx, password: hush-hush}"))
        path = self.folder / "file.pfx"
        self.assertEqual(found.certificates, (CertificateFiles(path, path, "hush-hush", pkcs12=True),))
        (self.folder / "password").write_text("hush-hush\n")
        self.service(self.https("retries: 1", "{pkcs12: file.pfx, password: !file password}"))
        for certificate, message in (
            ("{pkcs12: file.pfx, password: hush}", "cannot be opened: wrong `password:`"),
            ("{pkcs12: file.pfx}", "no `password:` was given"),
            ("{pkcs12: file.pfx, cert: both.pem}", "has pkcs12 and cert or key"),
            ("{pkcs12: none.pfx}", "cannot be read"),
        ):
            text = f"servers: {{a: 192.0.2.1}}\nservices:\n  s: {self.https('retries: 1', certificate)}\n"
            found_wrong = self.invalid(text)
            self.assertEqual(len(found_wrong.problems), 1)
            self.assertIn(message, found_wrong.problems[0].message)
            self.assertNotIn("hush", str(found_wrong))

    def test_the_example(self) -> None:
        """etc/tls.yaml is valid with the plugins that exproxy comes with, and needs no warning."""
        self.pfx(b"hush-hush")
        shutil.move(self.folder / "file.pfx", self.folder / "autodiscover.pfx")
        (self.folder / "pfx.password").write_text("hush-hush\n")
        for name in ("outlook.litware.com.pem", "staff-ca.pem"):
            shutil.copy(pem(NAME), self.folder / name)
        text = (Path(__file__).parents[2] / "etc" / "tls.yaml").read_text("utf-8")
        config = load(self.write(text.replace("/etc/exproxy/", f"{self.folder}/")), now=self.now)
        self.assertEqual(config.warnings, ())
        protected = {name: each.extended_protection for name, each in config.services.items()}
        self.assertEqual(protected, {"outlook": "require", "partners": "warn", "legacy": "off"})
        self.assertEqual([len(each.certificates) for each in config.services.values()], [2, 1, 1])

    def test_fingerprint(self) -> None:
        """With a fingerprint alone nothing else is verified; openssl's spelling is taken too."""
        colons = ":".join(["ab"] * 32)
        for written in (f"sha256:{DIGITS}", f"'SHA256:{colons}'", f"[sha256:{DIGITS}]"):
            tls = self.service(self.https(f"backend: {{tls: {{fingerprint: {written}}}}}")).backend.tls
            self.assertEqual((tls.verify, tls.fingerprints), ("none", (b"\xab" * 32,)))
        more = f"backend: {{tls: {{verify: ca.pem, fingerprint: sha256:{DIGITS}}}}}"
        self.assertEqual(self.service(self.https(more)).backend.tls.verify, str(self.folder / "ca.pem"))
        for written in ("sha1:AB", f"'{DIGITS}'", f"sha256:{DIGITS[:-1]}", "[sha256:x]"):
            [found] = self.wrong(self.https(f"backend: {{tls: {{fingerprint: {written}}}}}"))
            self.assertIn("must be sha256: and 64 hexadecimal digits", found)
