"""HAProxy, in front of exproxy or behind it: one frontend, one backend."""

from __future__ import annotations

from collections.abc import Iterable

from .netns import Endpoint
from .process import Process
from .site import Site

_CONFIGURATION = """\
global
  ssl-server-verify none
defaults
  mode {mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
frontend web
  bind {address}:{port} {bind}
  default_backend servers
backend servers
{servers}
"""


class Haproxy(Process):
    """Listens at ``at`` without TLS; of HTTP it says in X-Forwarded-For who asks. Ended with the site."""

    def __init__(
        self, site: Site, at: Endpoint, servers: Iterable[str], *, mode: str = "http", bind: str = ""
    ) -> None:
        """``servers``: lines of its backend, for example ``server a 127.0.0.1:80``; ``mode``: http or tcp;
        ``bind``: more words of its ``bind`` line."""
        folder = site.new_folder("haproxy")
        path = folder / "haproxy.cfg"
        super().__init__(site.namespace, "haproxy", ["haproxy", "-db", "-f", str(path)], folder, [at])
        if mode == "http":
            mode += "\n  option forwardfor"
        lines = "\n".join(f"  {line}" for line in servers)
        path.write_text(_CONFIGURATION.format(address=at[0], port=at[1], servers=lines, mode=mode, bind=bind))
        site.adopt(self)
