"""A server of pages for browsers (pages_program.py), without TLS, at port 8000 of its address."""

from __future__ import annotations

import sys
from pathlib import Path

from .process import Process
from .site import SERVERS, Site

PORT = 8000
_PROGRAM = Path(__file__).with_name("pages_program.py")


class Pages(Process):
    """The one of ``name``, ex1 or ex2; ended with the site."""

    def __init__(self, site: Site, name: str) -> None:
        """Start it with start()."""
        at = (SERVERS[name], PORT)
        argv = [sys.executable, str(_PROGRAM), name, at[0], str(PORT)]
        super().__init__(site.namespace, f"pages/{name}", argv, site.new_folder("pages"), [at])
        site.adopt(self)
