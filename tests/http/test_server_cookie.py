"""The persistence server-cookie: cookies of the servers, learnt from their answers."""

from __future__ import annotations

from pydantic import ValidationError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.actions import Learn
from exproxy.interfaces import ILearner, IPersistence
from exproxy.model import Facts, Persistence, ServerCookie, Source
from exproxy.persistence.fallback import IFirst
from exproxy.testing import check_persistence, keys
from protocols.http.server_cookie import MOST, LearntCookie, ServerCookieOptions, cookies_set, plugin
from tests.http.clients import asking, known, saying
from tests.http.support import GET, Talk
from tests.pools import chosen, make_pool

SESSION = ServerCookie(b"cadata", b"abc==")


def strategy(*names: str) -> LearntCookie:
    """The strategy without a fallback."""
    return LearntCookie(ServerCookieOptions.model_validate({"name": list(names or ("cadata",))}), keys())


def brings(cookies: bytes) -> Facts:
    """A request with these cookies."""
    return known(asking(b"Cookie: " + cookies))


class StrategyTests(SynchronousTestCase):
    """From cookies to keys."""

    def test_contract(self) -> None:
        """Interfaces, purity, and keys that are looked up before they are kept."""
        check_persistence(
            plugin,
            ServerCookieOptions(name=["cadata"]),
            known=[brings(b"cadata=abc==")],
            observations=[SESSION],
        )
        for interface in (IPersistence, ILearner, IFirst):
            self.assertTrue(verifyObject(interface, strategy()))

    def test_what_is_set_is_known_again(self) -> None:
        """The key learnt from an answer is the one found by the next request."""
        learnt = strategy().observe(known(asking()), SESSION)
        self.assertEqual(len(learnt), 1)
        self.assertEqual(strategy().candidates(brings(b"a=1; cadata=abc== ; b=2")), learnt)
        self.assertNotEqual(strategy().candidates(brings(b"cadata=other")), learnt)

    def test_only_that_name(self) -> None:
        """Other cookies, and names that only end or begin alike, are nothing."""
        for other in (b"xcadata=abc==", b"cadata2=abc==", b"CADATA=abc==", b"a=cadata", b"cadata="):
            self.assertEqual(strategy().candidates(brings(other)), (), other)
        self.assertEqual(strategy().observe(known(asking()), ServerCookie(b"other", b"abc==")), ())
        self.assertEqual(strategy().observe(known(asking()), object()), ())

    def test_given_back_in_a_field(self) -> None:
        """A field with the cookie's name counts like the cookie, whatever its case; an empty one does not."""
        mine = strategy("X-BackEndOverrideCookie")
        learnt = mine.observe(known(asking()), ServerCookie(b"X-BackEndOverrideCookie", b"ex1~19"))
        for field in (b"X-BackEndOverrideCookie: ex1~19", b"x-backendoverridecookie:ex1~19 "):
            self.assertEqual(mine.candidates(known(asking(field))), learnt)
        self.assertEqual(mine.candidates(known(asking(b"X-BackEndOverrideCookie:"))), ())
        self.assertEqual(strategy().candidates(known(asking(b"X-BackEndOverrideCookie: ex1~19"))), ())

    def test_several_names(self) -> None:
        """Each name counts, and equal values of two are two."""
        mine = strategy("sessionid", "cadata")
        self.assertEqual(len(set(mine.candidates(brings(b"cadata=x; sessionid=x")))), 2)

    def test_bounded(self) -> None:
        """A request full of cookies makes a few keys only."""
        many = b"; ".join(b"cadata=%d" % number for number in range(1000))
        self.assertEqual(len(strategy().candidates(brings(many))), MOST)

    def test_without_a_request(self) -> None:
        """Facts without a request say nothing."""
        self.assertEqual(strategy().candidates(Facts(Source("192.0.2.1"))), ())

    def test_options(self) -> None:
        """One name or several, each a cookie's."""
        self.assertEqual(ServerCookieOptions.model_validate({"name": "a"}).name, ["a"])
        for wrong in ({}, {"name": []}, {"name": "a b"}, {"name": ["a", ""]}):
            with self.assertRaises(ValidationError):
                ServerCookieOptions.model_validate(wrong)


class AnswerTests(SynchronousTestCase):
    """Set-Cookie fields."""

    def test_read(self) -> None:
        """Name and value of each, whatever follows; those that end a cookie are left out."""
        head = saying(
            b"Set-Cookie: cadata = abc== ; Path=/; HttpOnly",
            b"X-Other: cadata=no",
            b"set-cookie: s=1",
            b"Set-Cookie: gone=1; Max-Age=0; Path=/",
            b"Set-Cookie: gone=1; max-age=-5",
            b"Set-Cookie: kept=1; Max-Age=60",
            b"Set-Cookie: empty=; Path=/",
            b"Set-Cookie: nonsense",
            b"Set-Cookie: =1",
        )
        self.assertEqual(
            cookies_set(head),
            [SESSION, ServerCookie(b"s", b"1"), ServerCookie(b"kept", b"1")],
        )

    def test_told_by_the_conversation(self) -> None:
        """What an answer sets is learnt before the client sees it; an answer without is no matter."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        empty = b"Content-Length: 0\r\n\r\n"
        actions = talk.answers(b"HTTP/1.1 200 OK\r\nSet-Cookie: cadata=abc==; Path=/\r\n" + empty)
        self.assertEqual(actions[0], Learn(SESSION))
        talk.says(GET)
        talk.meets(reused=True)
        answered = talk.answers(b"HTTP/1.1 200 OK\r\n" + empty)
        self.assertFalse([each for each in answered if isinstance(each, Learn)])


class PoolTests(SynchronousTestCase):
    """With a pool behind it."""

    def test_learnt_and_found(self) -> None:
        """The server that set the cookie has its later requests, from wherever they come."""
        clock = Clock()
        pool = make_pool("exch1", "exch2", clock=clock, persistence=strategy(), ttl=60.0)
        first = chosen(pool.pick(known(asking())))
        self.assertIs(first.persistence, Persistence.NONE)
        server = first.backend.server
        pool.learn(known(asking()), SESSION, server)
        for source in ("192.0.2.1", "198.51.100.1", "203.0.113.1"):
            again = chosen(pool.pick(known(asking(b"Cookie: cadata=abc=="), source=source)))
            self.assertEqual((again.backend.server, again.persistence), (server, Persistence.HIT))

    def test_unknown_value(self) -> None:
        """A cookie that nobody here saw being set stays with the server that it is given now."""
        pool = make_pool("exch1", "exch2", persistence=strategy())
        servers = {chosen(pool.pick(brings(b"cadata=old"))).backend.server for _ in range(5)}
        self.assertEqual(len(servers), 1)

    def test_a_new_login_elsewhere(self) -> None:
        """A value that is set anew by another server is that server's from then on."""
        pool = make_pool("exch1", "exch2", persistence=strategy())
        pool.learn(known(asking()), SESSION, "exch1")
        pool.learn(known(asking()), SESSION, "exch2")
        self.assertEqual(chosen(pool.pick(brings(b"cadata=abc=="))).backend.server, "exch2")
