"""What is known to have been tried on mail proxies, on exproxy before a real Postfix and Dovecot.

The same through nginx, as a table: `python -m bench.mail`.
"""

from __future__ import annotations

from tests.mail.test_smtp_words import ENDS
from tests.peers import attacks
from tests.peers.kit.case import PeerCase
from tests.peers.kit.site import PROXY


class AttackTests(PeerCase):
    needs = ("dovecot", "postfix")

    def setUp(self) -> None:
        super().setUp()
        self.proxy = attacks.exproxy(self.site)
        self.proxy.start()
        self.addCleanup(self.proxy.stop)

    def test_injections(self) -> None:
        """Nothing gets through: no command around a handshake, no claimed address, no login without TLS."""
        with self.site.namespace.entered():
            found = attacks.table(attacks.Attacks(self.site, PROXY))
        self.assertEqual([text for text, became in found.items() if became == attacks.THROUGH], [])
        self.assertNotIn("Traceback", self.proxy.log_text())

    def test_smuggling(self) -> None:
        """An end of a message in any spelling but the right one is refused, and nothing is delivered."""
        with self.site.namespace.entered():
            found = [attacks.smuggled(self.site, PROXY, 25, end) for end in ENDS]
        self.assertEqual(found, [*[attacks.REFUSED] * (len(ENDS) - 1), "2"])
