"""``python -m tests.page.program PORT [no-streams] [kept]``: the make-believe installation on 127.0.0.1.

Port 0 is any; the first line on stdout is the one it has. It ends with its standard input, but for ``kept``,
which is for people who want to look at the page: http://127.0.0.1:PORT/, token ``acts`` or ``looks``;
``curl http://127.0.0.1:PORT/story/kill/exch2`` and ``/story/revive/exch2`` make something happen.
"""

from __future__ import annotations

import sys
import time

from twisted.internet import reactor
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure
from twisted.web.server import Site

from .fake_api import FakeApi
from .fake_plane import FakePlane
from .fake_world import HOUR, STEP, World


class _Parent(Protocol):
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reactor.running:
            reactor.stop()


def story() -> World:
    """An hour ago all was well; then exch2 was dead for three minutes; it is well again."""
    world = World(now=time.time() - HOUR * STEP, past=1)
    for turn in range(1, HOUR):
        world.tick()
        if turn == 700:
            world.kill("exch2")
        if turn == 790:
            world.revive("exch2")
    return world


def main() -> None:
    """See the module."""
    port, words = int(sys.argv[1]), sys.argv[2:]
    pace = 2.0 if "kept" in words else 0.2
    site = Site(FakeApi(FakePlane(story()), streams="no-streams" not in words, pace=pace))
    listening = reactor.listenTCP(port, site, interface="127.0.0.1")
    print(listening.getHost().port, flush=True)
    if "kept" not in words:
        StandardIO(_Parent())
    reactor.run()


if __name__ == "__main__":
    main()
