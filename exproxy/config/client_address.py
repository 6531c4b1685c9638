"""Which listening addresses take the PROXY protocol, and from whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from exproxy.config.document import Document
from exproxy.config.layers import Layers
from exproxy.config.listens import Placed
from exproxy.config.models import ServiceSection

NOBODY = (
    "needs `trusted-proxies`, of the service or of the file: the addresses of the proxies whose PROXY "
    "protocol header is believed; nobody else may connect"
)


def proxied(
    document: Document,
    layers: Layers,
    section: ServiceSection,
    trusted: Collection[str],
    addresses: Iterable[Placed],
) -> list[Placed]:
    """The addresses of one service, each with its ``accept-proxy``: its own, else the service's.

    ``trusted`` are the service's trusted proxies; where there are none it is an error, told once.
    """
    general = bool(layers.pick("accept_proxy"))
    told: set[object] = set()
    found = []
    for one in addresses:
        index = one.where[-1]
        listens = section.listen or []
        own = listens[index].accept_proxy if isinstance(index, int) else None
        takes = general if own is None else own
        where = layers.where("accept_proxy") if own is None else (*one.where, "accept-proxy")
        if takes and not trusted and where not in told:
            told.add(where)
            document.error(where, NOBODY)
        found.append(replace(one, listen=replace(one.listen, accept_proxy=takes)))
    return found
