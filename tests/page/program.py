"""``python -m tests.page.program PORT [no-streams] [slowly]``: the administration of a made-up installation.

It is exproxy's own API over a plane that is made up, on 127.0.0.1; port 0 is any. The first line on stdout is
the port. Each line on stdin is a command, answered by one line of JSON: ``again`` (from the
beginning), ``kill exch2``, ``revive exch2``, ``break`` (the configuration file), ``cut`` (the streams),
``readers``, ``done``. It ends with its stdin.

To look at the page: ``python -m tests.page.program 8404 slowly``, tokens ``acts-acts-acts-acts`` and
``looks-looks-looks``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from exproxy.admin.api.access import Access, Door
from exproxy.admin.api.app import App
from exproxy.admin.api.channel import AdminFactory
from exproxy.admin.api.limits import Limits
from exproxy.config import AdminToken

from .fake_plane import FakePlane
from .fake_world import HOUR, STEP, World
from .tokens import OPERATE, READ


class Story(LineOnlyReceiver):
    """Takes commands."""

    delimiter = b"\n"

    def __init__(self, plane: FakePlane, app: App) -> None:
        self._tell: dict[str, Callable[..., Any]] = {
            "again": lambda: plane.begin(past()),
            "kill": lambda name: plane.world.kill(name),
            "revive": lambda name: plane.world.revive(name),
            "break": lambda: setattr(plane, "broken", True),
            "cut": app.hub.close,
            "readers": lambda: len(app.hub.readers),
            "done": lambda: plane.done,
        }

    def lineReceived(self, line: bytes) -> None:
        """Do it."""
        word, *more = line.decode().split()
        self.sendLine(json.dumps(self._tell[word](*more)).encode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        if reactor.running:
            reactor.stop()


def past() -> World:
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
    pace = 2.0 if "slowly" in words else 0.2
    limits = Limits(step=pace, streams=0 if "no-streams" in words else 16)
    plane = FakePlane(past())
    tokens = (AdminToken("looks", "read", READ.encode()), AdminToken("acts", "operate", OPERATE.encode()))
    app = App(plane, Door(loopback=True), Access(reactor.seconds, tokens), reactor, limits=limits)
    listening = reactor.listenTCP(port, AdminFactory(reactor, limits, app.answer), interface="127.0.0.1")
    LoopingCall(lambda: plane.world.tick()).start(pace, now=False)
    print(listening.getHost().port, flush=True)
    StandardIO(Story(plane, app))
    reactor.run()


if __name__ == "__main__":
    main()
