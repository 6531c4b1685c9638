"""exproxy started by root, which gives its rights up: low ports are bound before, and nothing is lost."""

from __future__ import annotations

import imaplib
import os
import pwd
import re
from pathlib import Path

from tests.peers.kit.case import PeerCase
from tests.peers.kit.proxy import Exproxy
from tests.peers.kit.server import PASSWORD
from tests.peers.kit.site import PROXY

_CONFIGURATION = f"""
servers: {{l12ex1: 127.0.0.11, l12ex2: 127.0.0.12}}
services:
  imap: {{protocol: imap, listen: "{PROXY}:143"}}
"""


class PrivilegesTests(PeerCase):
    """Before two Dovecots, as nobody."""

    needs = ("dovecot",)

    def test_uid(self) -> None:
        """With --uid and --gid it serves a port below 1024 as that user, and keeps its files root's."""
        nobody = pwd.getpwnam("nobody")
        proxy = Exproxy(self.site, _CONFIGURATION)
        place = proxy.argv.index("exproxy")
        proxy.argv[place:place] = ["--uid", str(nobody.pw_uid), "--gid", str(nobody.pw_gid)]
        proxy.start()
        self.addCleanup(proxy.stop)
        status = Path(f"/proc/{proxy.pid}/status").read_text()
        # Real, effective, saved and of the file system.
        self.assertEqual(re.findall(r"(?m)^Uid:\s+(.*)$", status), ["\t".join([str(nobody.pw_uid)] * 4)])
        self.assertEqual(re.findall(r"(?m)^Gid:\s+(.*)$", status), ["\t".join([str(nobody.pw_gid)] * 4)])
        self.assertRegex(status, r"(?m)^CapEff:\s+0+$")
        with self.site.namespace.entered(), imaplib.IMAP4(PROXY, 143, timeout=10) as imap:
            imap.login("user1", PASSWORD)
        [record] = proxy.await_access(lambda record: record["service"] == "imap", 1)
        self.assertIn(record["server"], ("l12ex1", "l12ex2"))
        secret = proxy.configuration.parent / "state" / "secret"
        self.assertEqual((os.stat(secret).st_uid, secret.stat().st_mode & 0o777), (0, 0o600))
        self.assertIn(proxy.stop(), (0, -15, 143))
        self.assertNotIn("Traceback", proxy.log_text())
