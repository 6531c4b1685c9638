"""The persistence cookie: our cookie and nothing else, and its fallback."""

from __future__ import annotations

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import ILearner, IMarker, IPersistence
from exproxy.model import Facts, Named, Served, Source
from exproxy.persistence import source_ip
from exproxy.persistence.fallback import IFirst
from exproxy.plugins import Selected
from exproxy.testing import check_persistence, keys
from protocols.http.cookie import Cookie, CookieOptions, plugin
from protocols.http.super_http import SuperHttp, SuperHttpOptions
from tests.http.clients import OUTLOOK, asking, basic, known

NAME = b"__Host-exproxy-test"
ITS_OPTIONS = source_ip.SourceIpOptions.model_validate({"timeout": "60s", "limit": 5})
BY_SOURCE = Selected(source_ip.plugin, ITS_OPTIONS)


def token(server: str = "exch1") -> bytes:
    """What a client with that server has."""
    return keys().token("super-http", server)


def cookie(server: str = "exch1") -> bytes:
    """The Cookie field of such a client."""
    return b"Cookie: a=1; " + NAME + b"=" + token(server)


def options(**written: object) -> CookieOptions:
    """Options as a configuration writes them."""
    return CookieOptions.model_validate(written)


def with_source_ip() -> IPersistence:
    """The strategy that falls back to the address."""
    return plugin.strategy(options().model_copy(update={"fallback": BY_SOURCE}), keys())


class AloneTests(SynchronousTestCase):
    """Without a fallback."""

    def test_contract(self) -> None:
        """Interfaces and purity."""
        check_persistence(plugin, known=[known(asking(cookie()))])
        mine = Cookie(options(), keys())
        for interface in (IPersistence, IMarker, IFirst):
            self.assertTrue(verifyObject(interface, mine))

    def test_the_cookie_names_the_server(self) -> None:
        """It leads to its server, and no table is needed."""
        mine, facts = Cookie(options(), keys()), known(asking(cookie("exch2")))
        self.assertEqual(mine.candidates(facts), (Named("exch2"),))
        self.assertEqual(mine.remember(facts), ())
        self.assertIsNone(mine.mark(facts, "exch2"))

    def test_nothing_else_is_looked_at(self) -> None:
        """No credentials, User-Agent or address makes a client known."""
        mine = Cookie(options(), keys())
        for head in (asking(basic("ann")), asking(agent=OUTLOOK), asking(agent=None)):
            self.assertEqual((mine.candidates(known(head)), mine.remember(known(head))), ((), ()))

    def test_given_to_browsers(self) -> None:
        """Browsers get it, Outlook and clients over plain http do not; options are those of super-http."""
        mine = Cookie(options(), keys())
        given = mine.mark(known(asking()), "exch1")
        self.assertEqual(given, NAME + b"=" + token() + b"; Path=/; HttpOnly; SameSite=Lax; Secure")
        self.assertIsNone(mine.mark(known(asking(agent=OUTLOOK)), "exch1"))
        self.assertIsNone(mine.mark(known(asking(path=b"/EWS/x")), "exch1"))
        self.assertIsNone(mine.mark(known(asking(), scheme="http"), "exch1"))
        plain = Cookie(options(secure=False, cookie="lb"), keys())
        self.assertEqual(
            plain.mark(known(asking(), scheme="http"), "exch1"),
            b"lb=" + token() + b"; Path=/; HttpOnly; SameSite=Lax",
        )

    def test_the_cookie_of_super_http(self) -> None:
        """A change from super-http to cookie, or back, loses no browser."""
        other = SuperHttp(SuperHttpOptions(), keys())
        given = Cookie(options(), keys()).mark(known(asking()), "exch2")
        assert given is not None
        facts = known(asking(b"Cookie: " + given.partition(b";")[0]))
        self.assertEqual(other.candidates(facts), (Named("exch2"),))

    def test_without_a_request(self) -> None:
        """Facts without a request say nothing."""
        mine, facts = Cookie(options(), keys()), Facts(Source("192.0.2.1"))
        self.assertEqual((mine.candidates(facts), mine.suffices(facts)), ((), False))


class FallbackTests(SynchronousTestCase):
    """With source-ip after it."""

    def test_only_for_those_without_a_cookie(self) -> None:
        """Outlook is known by its address; a browser is not, with the cookie or before it."""
        mine = with_source_ip()
        by_source = source_ip.plugin.strategy(BY_SOURCE.options, keys())
        outlook = known(asking(agent=OUTLOOK))
        self.assertEqual(mine.candidates(outlook), by_source.candidates(outlook))
        self.assertEqual(mine.remember(outlook), by_source.remember(outlook))
        self.assertEqual(mine.candidates(known(asking(cookie()))), (Named("exch1"),))
        for browser in (known(asking()), known(asking(cookie()))):
            self.assertEqual(mine.remember(browser), ())

    def test_still_a_marker(self) -> None:
        """The cookie is given and taken out as without a fallback."""
        mine = with_source_ip()
        self.assertTrue(verifyObject(IMarker, mine))
        self.assertTrue(verifyObject(ILearner, mine))
        marker = IMarker(mine)
        self.assertEqual(marker.cookie, NAME)
        self.assertIsNotNone(marker.mark(known(asking()), "exch1"))
        self.assertIsNone(marker.mark(known(asking(agent=OUTLOOK)), "exch1"))

    def test_its_table(self) -> None:
        """Time and size of the table are the fallback's."""
        both = options().model_copy(update={"fallback": BY_SOURCE})
        self.assertEqual((both.timeout, both.limit), (60.0, 5))
        self.assertEqual((options().timeout, options().limit), (7200.0, 100_000))

    def test_one_cookie_is_enough(self) -> None:
        """What sets a cookie too cannot be the fallback, however deep."""
        deep = {"server-cookie": {"name": "s", "fallback": "super-http"}}
        for fallback in ("super-http", {"cookie": {}}, {"header": {"name": "X-A", "fallback": deep}}):
            with self.assertRaisesRegex(ValidationError, "sets a cookie too"):
                options(fallback=fallback)


class RecheckTests(SynchronousTestCase):
    """The cookie where only a connection's first request is looked at."""

    def test_connections_do_not_take_it_from_each_other(self) -> None:
        """A browser with two connections on two servers keeps the cookie it was given last."""
        once = Cookie(options(recheck="first"), keys())
        facts = known(asking(cookie("exch2")), Served("exch1"))
        self.assertIsNone(once.mark(facts, "exch1"))
        self.assertIsNotNone(Cookie(options(), keys()).mark(facts, "exch1"))

    def test_who_moves_gets_a_new_one(self) -> None:
        """A server that fails in mid-connection is followed by the cookie; so is the first request."""
        once = Cookie(options(recheck="first"), keys())
        self.assertIsNotNone(once.mark(known(asking(cookie("exch1")), Served("exch1")), "exch2"))
        self.assertIsNotNone(once.mark(known(asking(cookie("exch1"))), "exch2"))
        self.assertIsNotNone(once.mark(known(asking(), Served("exch1")), "exch1"))
