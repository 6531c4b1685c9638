"""Digests and tokens derived from secrets."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import IKeys
from exproxy.persistence.keys import Secrets

OLD, NEW = b"an old secret, long since used up", b"a new secret that is used for now"
SERVERS = ("l12ex1", "l12ex2")


class DigestTests(SynchronousTestCase):
    """Equal for equal secrets, groups, kinds and parts; different otherwise."""

    def setUp(self) -> None:
        self.keys = Secrets([NEW]).keys("mapi", SERVERS)

    def test_interface(self) -> None:
        """It is what strategies are given."""
        self.assertTrue(verifyObject(IKeys, self.keys))
        self.assertEqual((self.keys.group, self.keys.servers), ("mapi", SERVERS))

    def test_same_again(self) -> None:
        """Made anew from the same secret the digest is the same: it survives a restart."""
        again = Secrets([NEW, OLD]).keys("mapi", ())
        self.assertEqual(self.keys.digest("user", b"ann"), again.digest("user", b"ann"))

    def test_all_matters(self) -> None:
        """Secret, group, kind, parts and where the parts are cut: each makes another key."""
        digests = {
            self.keys.digest("user", b"ann"),
            self.keys.digest("user", b"ann", b""),
            self.keys.digest("user", b"an", b"n"),
            self.keys.digest("user", b"bob"),
            self.keys.digest("agent", b"ann"),
            Secrets([OLD]).keys("mapi", SERVERS).digest("user", b"ann"),
            Secrets([NEW]).keys("web", SERVERS).digest("user", b"ann"),
        }
        self.assertEqual(len({each.digest for each in digests}), 7)

    def test_size_and_kind(self) -> None:
        """16 bytes, with the kind beside them."""
        made = self.keys.digest("user", b"ann")
        self.assertEqual((made.kind, len(made.digest)), ("user", 16))

    def test_any_length_of_secret(self) -> None:
        """A secret may be longer than a hash's key."""
        longer = [Secrets([b"x" * size]).keys("g", ()).digest("k", b"") for size in (1, 64, 65, 4096)]
        self.assertEqual(len(set(longer)), 4)

    def test_no_secret(self) -> None:
        """Without any there is nothing to derive from."""
        self.assertRaises(ValueError, Secrets, [])


class TokenTests(SynchronousTestCase):
    """Opaque names of servers, for cookies."""

    def setUp(self) -> None:
        self.keys = Secrets([NEW, OLD]).keys("web", SERVERS)

    def test_back_and_forth(self) -> None:
        """What is given out is understood when it comes back."""
        for server in SERVERS:
            self.assertEqual(self.keys.tokens("cookie")[self.keys.token("cookie", server)], server)

    def test_older_secrets_verify(self) -> None:
        """What an older secret signed is understood; it is given out no more."""
        older = Secrets([OLD]).keys("web", SERVERS)
        for server in SERVERS:
            token = older.token("cookie", server)
            self.assertEqual(self.keys.tokens("cookie").get(token), server)
            self.assertNotEqual(self.keys.token("cookie", server), token)

    def test_foreign_tokens(self) -> None:
        """What another secret, group or purpose made means nothing."""
        known = self.keys.tokens("cookie")
        for other in (
            Secrets([b"foreign"]).keys("web", SERVERS).token("cookie", "l12ex1"),
            Secrets([NEW]).keys("mapi", SERVERS).token("cookie", "l12ex1"),
            self.keys.token("other", "l12ex1"),
        ):
            self.assertNotIn(other, known)

    def test_opaque(self) -> None:
        """Safe in a cookie, at least 128 bits, nothing of the server's name in it."""
        for token in self.keys.tokens("cookie"):
            self.assertTrue(re.fullmatch(rb"[A-Za-z0-9_-]{22,}", token), token)
            self.assertNotIn(b"l12ex", token)

    def test_repr_keeps_secrets(self) -> None:
        """Neither shows a secret."""
        self.assertNotIn("secret,", repr(Secrets([NEW])) + repr(self.keys))
