"""A certificate authority and a server certificate for the lab, made once and kept in a folder."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LAB_NAME = "outlook.litware.test"
"""The one name under which clients meet the lab."""

_NAMES = (LAB_NAME, "autodiscover.litware.test", "localhost")
_ADDRESSES = ("127.0.0.1", "127.0.0.11", "127.0.0.12")
_LIFETIME = datetime.timedelta(days=365)
_RENEW = datetime.timedelta(days=7)


class LabCertificates(NamedTuple):
    """Two PEM files: the authority's certificate; the server's certificate followed by its private key."""

    ca: Path
    server: Path


def lab_certificates(folder: Path, now: datetime.datetime | None = None) -> LabCertificates:
    """The lab's certificates in `folder`, made (again) if missing, unreadable or a week from their end.

    The authority's key is thrown away after use, so whoever trusts ``ca.pem`` trusts one certificate only.
    Raises OSError when the folder cannot be written.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    made = LabCertificates(folder / "ca.pem", folder / "server.pem")
    if _usable(made, now):
        return made
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, now)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _server(key, authority, authority_key, now)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(made.server, certificate.public_bytes(serialization.Encoding.PEM) + secret)
    _write(made.ca, authority.public_bytes(serialization.Encoding.PEM))
    return made


def _usable(made: LabCertificates, now: datetime.datetime) -> bool:
    try:
        authority, server = (x509.load_pem_x509_certificate(path.read_bytes()) for path in made)
        serialization.load_pem_private_key(made.server.read_bytes(), None)
        server.verify_directly_issued_by(authority)
    except Exception:
        # Whatever is wrong with the files (absent, half written, mixed), the answer is a new pair.
        return False
    return all(c.not_valid_before_utc <= now <= c.not_valid_after_utc - _RENEW for c in (authority, server))


def _builder(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    subject = "exproxy lab authority"
    usage = _usage(certificates=True)
    builder = _builder(subject, _name(subject), key.public_key(), now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        builder.add_extension(usage, critical=True)
        .add_extension(identifier, False)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
) -> x509.Certificate:
    builder = _builder(LAB_NAME, authority.subject, key.public_key(), now)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternatives(_NAMES, _ADDRESSES)), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _alternatives(names: Sequence[str], addresses: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    return found + [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]


def _usage(certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes) -> None:
    """Replace `path` in one step, readable by its owner only: it may hold a private key."""
    half = path.with_suffix(".new")
    half.unlink(missing_ok=True)
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    half.replace(path)
