"""Certificates, keys and authorities, read when the file is: a wrong one is told now, not at 3 a.m."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.layers import Layers
from exproxy.config.models import CertificateSection
from exproxy.config.validation import lacks
from exproxy.tls.material import CertificateFiles, Unfit, material
from exproxy.tls.material import certificates as read


def certificates(
    document: Document, layers: Layers, now: datetime.datetime, lab: frozenset[Path]
) -> tuple[CertificateFiles, ...]:
    """The certificates of a service, each read and matched with its key.

    ``now`` is aware; files in ``lab`` are made when the lab starts, so they need not be there yet.
    """
    return usable(document, layers.pick("certificate") or (), layers.where("certificate"), now, lab)


def usable(
    document: Document,
    sections: Iterable[CertificateSection],
    where: Where,
    now: datetime.datetime,
    lab: frozenset[Path],
) -> tuple[CertificateFiles, ...]:
    """The same for the list of certificates at ``where``."""
    found = []
    for index, section in enumerate(sections):
        files = _files(document, section, (*where, index))
        if files is None:
            continue
        found.append(files)
        if files.cert in lab and not files.cert.exists():
            continue
        try:
            _dates(document, material(files).leaf, files.cert, (*where, index), now)
        except Unfit as error:
            document.error((*where, index), str(error))
    return tuple(found)


def _files(document: Document, section: CertificateSection, where: Where) -> CertificateFiles | None:
    folder = document.folder
    if section.pkcs12:
        if section.cert or section.key:
            document.error(where, "has pkcs12 and cert or key: a PKCS#12 file holds both, so name that alone")
            return None
        path = folder / section.pkcs12
        return CertificateFiles(path, path, section.password, pkcs12=True)
    if not section.cert:
        if lacks(document, document.known(where), CertificateSection, "cert"):
            document.error(where, "'cert' is missing")
        return None
    cert, key = folder / section.cert, folder / (section.key or section.cert)
    return CertificateFiles(cert, key, section.password)


def authorities(path: Path) -> None:
    """Make sure that the PEM file holds certificates; raises Unfit."""
    read(path)


def _dates(
    document: Document, leaf: x509.Certificate, path: Path, where: Where, now: datetime.datetime
) -> None:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > end:
        document.warn(where, f"the certificate in {path} expired on {end:%Y-%m-%d}")
    elif now < begin:
        document.warn(where, f"the certificate in {path} is not valid before {begin:%Y-%m-%d}")
