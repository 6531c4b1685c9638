"""A cable between two network namespaces: a pair of virtual Ethernet devices."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .netns import Namespace


@dataclass(frozen=True)
class Plug:
    """One end: a namespace, the device's name in it, and its addresses with their prefix lengths."""

    namespace: Namespace
    device: str
    addresses: tuple[str, ...]

    def route(self, destination: str, gateway: str) -> None:
        """Send what is for ``destination`` (``default``, a network) to ``gateway``."""
        version = ipaddress.ip_address(gateway).version
        route = ["ip", f"-{version}", "route", "add", destination, "via", gateway, "dev", self.device]
        run(self.namespace, route)


def cable(one: Plug, other: Plug) -> None:
    """Connect two namespaces; the devices go with either of them."""
    pair = ["ip", "link", "add", one.device, "type", "veth", "peer", "name", other.device]
    run(one.namespace, [*pair, "netns", other.namespace.path])
    for end in (one, other):
        for address in end.addresses:
            quick = ["nodad"] if ":" in address else []
            run(end.namespace, ["ip", "address", "add", address, "dev", end.device, *quick])
        run(end.namespace, ["ip", "link", "set", end.device, "up"])


def forward(namespace: Namespace) -> None:
    """Make a router of it."""
    with namespace.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")


def run(namespace: Namespace, argv: Sequence[str], text: str = "") -> None:
    """Run a command inside; AssertionError with its words where it fails."""
    done = namespace.run(argv, text=text)
    if done.code:
        raise AssertionError(f"{' '.join(argv)}: {done.err}")


def run_all(namespace: Namespace, lines: Iterable[str]) -> None:
    """Run lines of a shell that need none."""
    for line in lines:
        run(namespace, line.split())
