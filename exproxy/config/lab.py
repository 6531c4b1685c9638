"""The ``lab:`` section: its own model, its paths, the addresses that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exproxy.config.document import Document
from exproxy.config.listens import Placed
from exproxy.config.resolved import Listen
from exproxy.config.validation import validate

if TYPE_CHECKING:
    from exproxy.lab.options import LabOptions


def lab_options(document: Document, section: dict[str, object] | None, state_dir: Path) -> LabOptions | None:
    """The lab's options with absolute paths, or None where there is no lab."""
    if section is None:
        return None
    # The lab brings twisted.web and twisted.mail with it, which nobody else needs.
    from exproxy.lab.options import LabOptions

    options = validate(document, ("lab",), LabOptions, section)
    if options is None:
        return None
    folder = document.folder / options.certificates if options.certificates else state_dir / "lab"
    return options.model_copy(update={"certificates": folder})


def made_by_lab(options: LabOptions | None) -> frozenset[Path]:
    """The certificate files that the lab makes at its start."""
    folder = options.certificates if options else None
    return frozenset(folder / name for name in ("ca.pem", "server.pem")) if folder else frozenset()


def lab_addresses(options: LabOptions | None) -> list[Placed]:
    """Where the lab listens."""
    if options is None:
        return []
    found = [
        Placed(Listen(address, port), ("lab",), f"lab.servers.{name} ({service})")
        for name, address in options.servers.items()
        for service, port in options.all_ports().items()
    ]
    if options.control is not None:
        host, _, port = options.control.rpartition(":")
        found.append(Placed(Listen(host, int(port)), ("lab", "control"), "lab.control"))
    return found
