"""A stand-in for one of Exchange's RPC services, which are not there to be had (stub_program.py)."""

from __future__ import annotations

import sys

from .interfaces import EXCHANGE
from .process import Process
from .site import SERVERS, Site
from .windows import ROOT


class Stub(Process):
    """Exchange's interfaces `names` on `server` at one port; it says `ex1` or `ex2`. Ended with the site."""

    def __init__(self, site: Site, server: str, port: int, *names: str) -> None:
        """Start it with start()."""
        at = (SERVERS[server], port)
        argv = [sys.executable, "-m", "tests.peers.kit.stub_program", server, at[0], str(port)]
        argv += ["/".join(EXCHANGE[name]) for name in names]
        folder, extra = site.new_folder("stub"), {"PYTHONPATH": str(ROOT)}
        super().__init__(site.namespace, f"stub/{server}:{port}", argv, folder, [at], extra)
        site.adopt(self)
