"""HAProxy, in front of exproxy or behind it: HTTP only, one frontend, one backend."""

from __future__ import annotations

from collections.abc import Iterable

from .netns import Endpoint
from .process import Process
from .site import Site

_CONFIGURATION = """\
global
  ssl-server-verify none
defaults
  mode http
  option forwardfor
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
frontend web
  bind {address}:{port}
  default_backend servers
backend servers
{servers}
"""


class Haproxy(Process):
    """Listens at ``at`` without TLS; it says in X-Forwarded-For who asks. Ended with the site."""

    def __init__(self, site: Site, at: Endpoint, servers: Iterable[str]) -> None:
        """``servers``: lines of its backend, for example ``server a 127.0.0.1:80``."""
        folder = site.new_folder("haproxy")
        path = folder / "haproxy.cfg"
        super().__init__(site.namespace, "haproxy", ["haproxy", "-db", "-f", str(path)], folder, [at])
        lines = "\n".join(f"  {line}" for line in servers)
        path.write_text(_CONFIGURATION.format(address=at[0], port=at[1], servers=lines))
        site.adopt(self)
