"""The persistence header: the value of a request header is the client."""

from __future__ import annotations

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import ILearner, IMarker, IPersistence
from exproxy.model import Facts, Source
from exproxy.persistence import source_ip
from exproxy.persistence.fallback import IFirst
from exproxy.plugins import Selected
from exproxy.testing import check_persistence, keys
from protocols.http import super_http
from protocols.http.header import Header, HeaderOptions, plugin
from tests.http.clients import asking, basic, known

MAILBOX = b"X-AnchorMailbox: ann@example.org"


def header(name: str = "X-AnchorMailbox") -> Header:
    """The strategy without a fallback."""
    return Header(HeaderOptions(name=name), keys())


class HeaderTests(SynchronousTestCase):
    """One value, one client."""

    def test_contract(self) -> None:
        """Interfaces, purity, and keys that are looked up before they are kept."""
        options = HeaderOptions(name="X-AnchorMailbox")
        check_persistence(plugin, options, known=[known(asking(MAILBOX))])
        for interface in (IPersistence, IFirst):
            self.assertTrue(verifyObject(interface, header()))

    def test_the_value_counts(self) -> None:
        """Equal values are one client wherever it comes from; others are others, and so is the name."""
        one = header().remember(known(asking(MAILBOX)))
        self.assertEqual(len(one), 1)
        again = asking(b"x-anchormailbox:  ann@example.org ", agent=None)
        self.assertEqual(header().candidates(known(again, source="198.51.100.7")), one)
        self.assertNotEqual(header().remember(known(asking(b"X-AnchorMailbox: bob@example.org"))), one)
        other = header("X-Other").remember(known(asking(b"X-Other: ann@example.org")))
        self.assertNotEqual(other, one)

    def test_without_it(self) -> None:
        """No header, an empty one, or no request at all: nothing to say."""
        for facts in (
            known(asking()),
            known(asking(b"X-AnchorMailbox:")),
            Facts(Source("192.0.2.1")),
        ):
            self.assertEqual(
                (header().candidates(facts), header().remember(facts), header().suffices(facts)),
                ((), (), False),
            )

    def test_authorization_is_the_user(self) -> None:
        """Of credentials the user of Basic counts, not the password."""
        by_user = header("Authorization")
        ann = by_user.remember(known(asking(basic("ann", "one"))))
        self.assertEqual(len(ann), 1)
        self.assertEqual(by_user.remember(known(asking(basic("Ann", "two")))), ann)

    def test_tokens_are_nobody(self) -> None:
        """Tokens that differ from leg to leg, or expire, make no key."""
        for value in (b"NTLM TlRMTVNTUAAB", b"Negotiate YII=", b"Kerberos YII=", b"Bearer abc", b"Digest a"):
            self.assertEqual(header("authorization").remember(known(asking(b"Authorization: " + value))), ())

    def test_options(self) -> None:
        """A name is needed, and must be one."""
        for wrong in ({}, {"name": ""}, {"name": "X A"}, {"name": "x", "recheck": "never"}):
            with self.assertRaises(ValidationError):
                HeaderOptions.model_validate(wrong)


class FallbackTests(SynchronousTestCase):
    """What is asked where the header is missing."""

    def chain(self, second: object) -> IPersistence:
        options = HeaderOptions(name="X-AnchorMailbox").model_copy(update={"fallback": second})
        return plugin.strategy(options, keys())

    def test_source_ip(self) -> None:
        """With the header the address does not count, without it nothing else does."""
        second = Selected(source_ip.plugin, source_ip.SourceIpOptions())
        mine = self.chain(second)
        by_source = source_ip.plugin.strategy(second.options, keys())
        self.assertEqual(mine.remember(known(asking())), by_source.remember(known(asking())))
        self.assertEqual(mine.remember(known(asking(MAILBOX))), header().remember(known(asking(MAILBOX))))
        self.assertFalse(IMarker.providedBy(mine))
        self.assertEqual(ILearner(mine).observe(known(asking()), object()), ())

    def test_a_cookie(self) -> None:
        """A fallback with a cookie gives it to those only that it is asked for."""
        mine = self.chain(Selected(super_http.plugin, super_http.SuperHttpOptions()))
        marker = IMarker(mine)
        self.assertIsNotNone(marker.mark(known(asking()), "exch1"))
        self.assertIsNone(marker.mark(known(asking(MAILBOX)), "exch1"))
        self.assertEqual(marker.cookie, b"__Host-exproxy-test")
