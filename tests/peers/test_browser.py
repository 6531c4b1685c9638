"""A real browser through exproxy's https to two servers."""

from __future__ import annotations

import re

from tests.peers.kit.case import PeerCase
from tests.peers.kit.chromium import dump_dom
from tests.peers.kit.pages import PORT, Pages
from tests.peers.kit.pages_program import LAST
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PUBLIC
from tests.peers.kit.site import SERVERS

_CONFIGURATION = """
servers: {{ex1: 127.0.0.11, ex2: 127.0.0.12}}
services:
  web:
    protocol: https
    listen: "127.0.0.1:443"
    certificate: {pem}
    backend: {{port: {port}, tls: false}}
    scheduling: round-robin
    persistence: super-http
    check: {{http: {{path: /who, status: 200}}}}
"""


class BrowserTests(PeerCase):
    """Chromium, its cookies and its WebSockets."""

    needs = ("chromium",)

    def test_pages(self) -> None:
        """Pages, what they load and their WebSockets are of one server; the next browser has the other."""
        for name in SERVERS:
            Pages(self.site, name).start()
        pem = self.site.places["ex1"].pem
        exproxy = Exproxy(self.site, _CONFIGURATION.format(pem=pem, port=PORT))
        exproxy.start()
        seen = [self._browse() for _ in range(2)]
        self.assertEqual(sorted(seen), sorted(SERVERS))
        exproxy.stop()
        asked = [record for record in exproxy.records() if record.get("path") == "/echo"]
        self.assertEqual([record["status"] for record in asked], [101] * 2 * (LAST + 1))
        self.assertNotIn("Traceback", exproxy.log_text())

    def _browse(self) -> str:
        """The server that a new browser meets everywhere."""
        done = dump_dom(self.site, f"https://{PUBLIC}/page?n=0")
        found = re.search(r'<pre id="out">([^<]*)</pre>', done.out)
        assert found is not None, done
        lines = sorted(line.split() for line in found[1].splitlines() if line)
        self.assertEqual([line[:2] for line in lines], [["page", str(n)] for n in range(LAST + 1)], done)
        name = lines[0][2]
        met = [name] * 5 + [f"{name}:one", f"{name}:two", f"{name}:three"]
        for line in lines:
            self.assertEqual(line[2:], met)
        return name
