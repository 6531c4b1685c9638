"""A throw-away certificate authority and the certificates of servers."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_NOW = datetime.datetime.now(datetime.timezone.utc)
_FROM, _UNTIL = _NOW - datetime.timedelta(hours=1), _NOW + datetime.timedelta(days=2)

_USES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """Signs certificates that also pass OpenSSL's strict checks (the default from Python 3.13 on).

    `ca`: its own certificate, a PEM file; `certificate` and `key`: as objects.
    """

    def __init__(self, folder: Path) -> None:
        """Make one; its files are put into `folder`."""
        self._folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(f"exproxy peers {folder.name}")
        public = self.key.public_key()
        self.certificate = (
            self._builder(self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        own = self.key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(_UNTIL)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)
        )

    def pem(self, *names: str, alternatives: bool = True) -> Path:
        """A PEM file, certificate then key, for those DNS names and IP addresses.

        Without `alternatives` the first name is the subject's common name, and nothing else.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_common_name(names[0]), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_USES), critical=False)
        )
        if alternatives:
            known = x509.SubjectAlternativeName([_alternative(name) for name in names])
            builder = builder.add_extension(known, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        kind = len(names) if alternatives else "nameless"
        path = self._folder / f"{names[0].replace('*', 'any')}-{kind}.pem"
        path.touch(mode=0o600)
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path
