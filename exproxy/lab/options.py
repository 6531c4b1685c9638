"""The ``lab:`` section of a configuration."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from exproxy.lab.server import SERVICES
from exproxy.plugins import Options


def _loopback(text: str) -> str:
    try:
        good = ipaddress.IPv4Address(text).is_loopback
    except ValueError:
        good = False
    if not good:
        raise ValueError("a lab listens on IPv4 loopback addresses only, such as 127.0.0.11")
    return text


def _control(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("expected an address and a port, such as 127.0.0.1:8405")
    _loopback(host)
    return text


Loopback = Annotated[str, AfterValidator(_loopback)]
Control = Annotated[str, AfterValidator(_control)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


def default_ports() -> dict[str, int]:
    """Unprivileged ports below the ephemeral ranges; the same on every server, as the addresses differ."""
    web = {"https": 8443, "http": 8080}
    rpc = {"epm": 1135, "rpc": 5931, "ab": 5932}
    mail = {"smtp": 2525, "submission": 2587, "imap": 1143, "imaps": 1993, "pop": 1110, "pops": 1995}
    return web | rpc | mail


class LabOptions(Options):
    """Simulated Exchange servers in the same process, for trying things out."""

    servers: dict[Name, Loopback] = Field(
        default={"l12ex1": "127.0.0.11", "l12ex2": "127.0.0.12"},
        min_length=1,
        description="Simulated servers: name to IPv4 loopback address.",
    )
    password: str = Field(default="exproxy-lab", min_length=1, description="The password of every user.")
    control: Control | None = Field(
        default="127.0.0.1:8405", description="Where the lab's control listens; null for none."
    )
    ports: dict[str, Port] = Field(
        default_factory=dict,
        description="Ports that differ from the usual ones, by service; the same on every server.",
    )
    certificates: Path | None = Field(
        default=None,
        description="Folder of ca.pem and server.pem, made when absent; lab/ in the state folder.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> LabOptions:
        unknown = sorted(set(self.ports) - set(SERVICES))
        if unknown:
            raise ValueError(f"unknown service {unknown[0]!r} in ports; known: {', '.join(SERVICES)}")
        if len(set(self.servers.values())) < len(self.servers):
            raise ValueError("two servers have the same address")
        taken: dict[int, str] = {}
        for service, port in self.all_ports().items():
            if port and taken.setdefault(port, service) != service:
                raise ValueError(f"{service} and {taken[port]} have the same port {port}")
        return self

    def all_ports(self) -> dict[str, int]:
        """The port of every service."""
        return default_ports() | self.ports
