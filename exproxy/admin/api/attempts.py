"""Wrong tokens are counted for each address, so that nobody can go on guessing. Pure."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

# So many wrong ones in WINDOW seconds; then nothing is taken from there until it is over.
ATTEMPTS = 10
WINDOW = 60.0
# Addresses that are remembered; the one that failed longest ago goes first.
ADDRESSES = 1000


def block(address: str) -> str:
    """Whom an address stands for: of IPv6 a client has a whole /64 to change addresses in."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Attempts:
    """``clock()`` gives seconds."""

    def __init__(self, clock: Callable[[], float], attempts: int = ATTEMPTS, window: float = WINDOW) -> None:
        self._clock = clock
        self._attempts = attempts
        self._window = window
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until a token from there is looked at again; 0: now."""
        times = self._recent(address)
        if len(times) < self._attempts:
            return 0.0
        return max(1.0, times[-self._attempts] + self._window - self._clock())

    def failed(self, address: str) -> None:
        """A wrong token came from there. A right one does not make up for it: others may be there too."""
        times = self._recent(address)
        times.append(self._clock())
        self._failed[block(address)] = times[-self._attempts :]
        self._failed.move_to_end(block(address))
        while len(self._failed) > ADDRESSES:
            self._failed.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        oldest = self._clock() - self._window
        return [when for when in self._failed.get(block(address), ()) if when > oldest]
