"""What every real server of the kit has in common."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .netns import Namespace
from .process import Process

DOMAIN = "ex.test"
PUBLIC = "outlook.litware.com"
USERS = ("user1", "user2", "user3")
PASSWORD = "Passw0rd1x"


@dataclass(frozen=True)
class Place:
    """Where a server runs: its name ("ex1"), address, folder and certificate, and everybody's mail.

    `pem`: certificate and key in one file; `mail`: the folder with a Maildir for each user.
    """

    namespace: Namespace
    server: str
    address: str
    folder: Path
    pem: Path
    mail: Path


class Server(Process):
    """One real server, at the standard `ports` of its address, that says who it is (`host`)."""

    kind = ""
    ports: tuple[int, ...] = ()

    def __init__(self, place: Place, argv: Sequence[str]) -> None:
        """Make its folder; the program is started later."""
        self.server = place.server
        self.address = place.address
        self.host = f"{place.server}.{DOMAIN}"
        folder = place.folder / f"{self.kind}-{place.server}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755)
        name = f"{self.kind}/{place.server}"
        ready = [(place.address, port) for port in self.ports]
        super().__init__(place.namespace, name, argv, folder, ready)

    def connections(self) -> int:
        """How many connections are established with it, over all its ports."""
        return sum(len(self.namespace.connections(self.address, port)) for port in self.ports)
