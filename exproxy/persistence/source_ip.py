"""Persistence ``source-ip``: one address, one server."""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import Field
from zope.interface import implementer

from exproxy.interfaces import IKeys, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named, Source
from exproxy.plugins import Options
from exproxy.units import Size, Wait

# Addresses whose keys are kept made: the same clients come again and again, and a key takes longer to
# make than a server to choose.
REMEMBERED = 16384


class SourceIpOptions(Options):
    """Options of ``source-ip``."""

    mask_v4: int = Field(
        default=32, ge=0, le=32, strict=True, description="Bits of an IPv4 address that count: 24 is a /24."
    )
    mask_v6: int = Field(
        default=128, ge=0, le=128, strict=True, description="Bits of an IPv6 address that count: 64 is a LAN."
    )
    timeout: Wait = Field(
        default=7200.0,
        description="How long a client is remembered after its last connection; a group's own wins.",
    )
    limit: Size = Field(
        default=100_000, description="Clients remembered at most, the oldest go first; a group's own wins."
    )


def network_of(host: str, mask_v4: int, mask_v6: int) -> bytes:
    """The masked address, packed (4 or 16 bytes); v4-mapped ones count as IPv4, what is no address
    (a test's name) counts as it is."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.encode()
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    mask = mask_v4 if address.version == 4 else mask_v6
    return ipaddress.ip_network((address, mask), strict=False).network_address.packed


@implementer(IPersistence)
class SourceIp:
    """See the module."""

    def __init__(self, options: SourceIpOptions, keys: IKeys) -> None:
        self._options = options
        self._keys = keys
        self._known: dict[str, tuple[Key, ...]] = {}

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence."""
        return self.remember(facts)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        source = facts.get(Source)
        if source is None:
            return ()
        known = self._known.get(source.host)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            network = network_of(source.host, self._options.mask_v4, self._options.mask_v6)
            known = self._known[source.host] = (self._keys.digest("source", network),)
        return known


@implementer(IPersistencePlugin)
class _Plugin:
    name = "source-ip"
    summary = "one source address (or network), one server"
    options = SourceIpOptions
    needs: tuple[type, ...] = ()
    uses: tuple[type, ...] = (Source,)

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        return SourceIp(options, keys)


plugin = _Plugin()
