"""A certificate, its chain and its key, as they come out of files: PEM, or PKCS#12 (.pfx)."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from exproxy.errors import ConfigurationError

# A chain, a key and some comments take a few kB; the system's authorities some 250 kB.
MAX_BYTES = 4 * 1024 * 1024


class Unfit(ConfigurationError):
    """A file that cannot be used; the text is for the administrator."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate and its key are. The same file twice holds both; ``pkcs12`` ones always do.

    ``password`` opens the key; it is in no repr.
    """

    cert: Path
    key: Path
    password: str | None = field(default=None, repr=False)
    pkcs12: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """Each file once."""
        return (self.cert,) if self.cert == self.key else (self.cert, self.key)


@dataclass(frozen=True, slots=True)
class Material:
    """What a server shows: ``chain`` begins with its own certificate; ``key`` belongs to that."""

    chain: tuple[x509.Certificate, ...]
    key: Any = field(repr=False)

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return self.chain[0]

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate, 32 bytes."""
        return fingerprint(self.leaf.public_bytes(Encoding.DER))

    @property
    def names(self) -> tuple[str, ...]:
        """The certificate's DNS names, lower case; its subject's name if it has none."""
        return names_of(self.leaf)


def material(files: CertificateFiles) -> Material:
    """Read them; raises Unfit."""
    found = _pkcs12(files) if files.pkcs12 else _pem(files)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if found.key.public_key().public_bytes(*form) != found.leaf.public_key().public_bytes(*form):
        raise Unfit(f"the key in {files.key} does not belong to the (first) certificate in {files.cert}")
    return found


def certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file, at least one; raises Unfit."""
    pem = _read(path)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise Unfit(f"{path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Unfit(f"{path} holds a certificate that cannot be read: {error}") from None


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate, lower case; its subject's name if it has none."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternative.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not names:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        names = [str(attribute.value) for attribute in common]
    return tuple(name.lower() for name in names)


def fingerprint(der: bytes) -> bytes:
    """SHA-256 of a certificate in DER form."""
    return hashlib.sha256(der).digest()


def days_left(certificate: x509.Certificate, now: datetime.datetime) -> int:
    """Whole days until it expires; below 0 it has."""
    return (certificate.not_valid_after_utc - now).days


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unfit(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise Unfit(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MB: that is no certificate")
    return content


def _pem(files: CertificateFiles) -> Material:
    chain = certificates(files.cert)
    pem = _read(files.key)
    if b"PRIVATE KEY-----" not in pem:
        example = f"{{cert: {files.cert.name}, key: FILE}}"
        raise Unfit(f"{files.key} holds no private key; name its file: {example}")
    locked = b"ENCRYPTED" in pem
    password = files.password.encode() if locked and files.password is not None else None
    try:
        key = load_pem_private_key(pem, password)
    except TypeError:
        advice = "add its `password:`, or decrypt it with `openssl pkey`"
        raise Unfit(f"the key in {files.key} is encrypted; {advice}") from None
    except Exception as error:
        # Whatever the library says of a file that is not what it should be.
        raise Unfit(f"the key in {files.key} cannot be read: {error}") from None
    return Material(tuple(chain), key)


def _pkcs12(files: CertificateFiles) -> Material:
    content = _read(files.cert)
    password = files.password.encode() if files.password is not None else None
    try:
        key, leaf, others = pkcs12.load_key_and_certificates(content, password)
    except Exception as error:
        # A wrong password and a damaged file look alike from here.
        wrong = "no `password:` was given, or the file is" if password is None else "wrong `password:`, or"
        raise Unfit(f"{files.cert} cannot be opened: {wrong} no PKCS#12 file ({error})") from None
    if key is None or leaf is None:
        raise Unfit(f"{files.cert} holds no private key with a certificate; export it with the key")
    return Material(_in_order(leaf, others), key)


def _in_order(leaf: x509.Certificate, others: list[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The chain from the certificate upwards, without its root; Windows exports them in any order."""
    chain = [leaf]
    while True:
        last = chain[-1]
        issuer = next((each for each in others if each.subject == last.issuer and _issued(last, each)), None)
        if issuer is None or issuer in chain or issuer.subject == issuer.issuer:
            return tuple(chain)
        chain.append(issuer)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:
        # A wrong signature and an unknown kind of key are the same to us: not this one.
        return False
    return True
