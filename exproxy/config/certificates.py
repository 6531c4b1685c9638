"""Certificates, keys and authorities, read when the file is: a wrong one is told now, not at 3 a.m."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.layers import Layers
from exproxy.config.models import CertificateSection
from exproxy.config.resolved import CertificateFiles
from exproxy.config.validation import lacks

# A chain, a key and some comments take a few kB; the system's authorities some 250 kB.
MAX_BYTES = 4 * 1024 * 1024


class Unfit(Exception):
    """A file that cannot be used; the text is for the administrator."""


def certificates(
    document: Document, layers: Layers, now: datetime.datetime, lab: frozenset[Path]
) -> tuple[CertificateFiles, ...]:
    """The certificates of a service, each read and matched with its key.

    ``now`` is aware; files in ``lab`` are made when the lab starts, so they need not be there yet.
    """
    where = layers.where("certificate")
    found = []
    for index, section in enumerate(layers.pick("certificate") or ()):
        files = _one(document, section, (*where, index), now, lab)
        if files is not None:
            found.append(files)
    return tuple(found)


def _one(
    document: Document,
    section: CertificateSection,
    where: Where,
    now: datetime.datetime,
    lab: frozenset[Path],
) -> CertificateFiles | None:
    if not section.cert:
        if lacks(document, document.known(where), CertificateSection, "cert"):
            document.error(where, "'cert' is missing")
        return None
    folder = document.folder
    cert, key = folder / section.cert, folder / (section.key or section.cert)
    files = CertificateFiles(cert, key)
    if cert in lab and not cert.exists():
        return files
    try:
        leaf = _certificates(cert)[0]
        _match(leaf, cert, key)
    except Unfit as error:
        document.error(where, str(error))
    else:
        _dates(document, leaf, cert, where, now)
    return files


def authorities(path: Path) -> None:
    """Make sure that the PEM file holds certificates; raises Unfit."""
    _certificates(path)


def _certificates(path: Path) -> list[x509.Certificate]:
    pem = _read(path)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise Unfit(f"{path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Unfit(f"{path} holds a certificate that cannot be read: {error}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unfit(f"{path} cannot be read: {error.strerror or error}") from None
    if len(pem) > MAX_BYTES:
        raise Unfit(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MB: that is no certificate")
    return pem


def _match(leaf: x509.Certificate, cert: Path, key: Path) -> None:
    pem = _read(key)
    if b"PRIVATE KEY-----" not in pem:
        raise Unfit(f"{key} holds no private key; name its file: {{cert: {cert.name}, key: FILE}}")
    try:
        private = load_pem_private_key(pem, None)
    except TypeError:
        raise Unfit(f"the key in {key} is encrypted; decrypt it with `openssl pkey`") from None
    except Exception as error:
        raise Unfit(f"the key in {key} cannot be read: {error}") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise Unfit(f"the key in {key} does not belong to the (first) certificate in {cert}")


def _dates(
    document: Document, leaf: x509.Certificate, path: Path, where: Where, now: datetime.datetime
) -> None:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > end:
        document.warn(where, f"the certificate in {path} expired on {end:%Y-%m-%d}")
    elif now < begin:
        document.warn(where, f"the certificate in {path} is not valid before {begin:%Y-%m-%d}")
