"""The persistence super-http: who gets a cookie, who is known by what, and how that spreads."""

from __future__ import annotations

import base64
import random
from collections import Counter

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import IMarker, IPersistence
from exproxy.model import Facts, Key, Named, Source
from exproxy.persistence.keys import Secrets
from exproxy.testing import FakeKeys, check_persistence, keys
from protocols.http.head import RequestHead, parse_request
from protocols.http.peer import Scheme
from protocols.http.super_http import SuperHttp, SuperHttpOptions, plugin
from tests.http.support import GET, OK, Talk, to_backend, to_client

CHROME = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
OUTLOOK = b"Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.5422; Pro)"
NAME = b"__Host-exproxy-test"


def strategy(**options: object) -> SuperHttp:
    """The strategy with test keys; options by their configuration names."""
    return SuperHttp(SuperHttpOptions.model_validate(options), keys())


def asking(
    *fields: bytes, path: bytes = b"/owa/", agent: bytes | None = CHROME, method: bytes = b"GET"
) -> RequestHead:
    """A request head."""
    lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: mail.example.org", *fields]
    if agent is not None:
        lines.append(b"User-Agent: " + agent)
    return parse_request(b"\r\n".join([*lines, b"", b""]))


def known(head: RequestHead, source: str = "192.0.2.1", scheme: str = "https") -> Facts:
    """What a pick knows."""
    return Facts(Source(source, 40000), Scheme(scheme), head)


def basic(user: str, password: str = "secret") -> bytes:
    """Basic credentials."""
    return b"Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode())


def cookie(value: bytes, name: bytes = NAME) -> bytes:
    """A Cookie field with ours among others."""
    return b"Cookie: X-OWA=1; " + name + b"=" + value + b"; last=2"


class ContractTests(SynchronousTestCase):
    """It keeps what the framework counts on."""

    def test_contract(self) -> None:
        """Interfaces, purity, and keys that are looked up before they are kept."""
        check_persistence(
            plugin,
            known=[
                known(asking(agent=OUTLOOK)),
                known(asking(agent=None)),
                known(asking(basic("ann"))),
                known(asking(cookie(keys().token("super-http", "exch1")))),
            ],
        )
        mine = strategy()
        self.assertTrue(verifyObject(IPersistence, mine))
        self.assertTrue(verifyObject(IMarker, mine))

    def test_without_a_request(self) -> None:
        """Facts without a request head say nothing."""
        facts = Facts(Source("192.0.2.1"))
        mine = strategy()
        self.assertEqual(
            (mine.candidates(facts), mine.remember(facts), mine.mark(facts, "exch1")), ((), (), None)
        )


class CookieTests(SynchronousTestCase):
    """The cookie."""

    def given(self, mine: SuperHttp, facts: Facts, server: str = "exch1") -> bytes:
        value = mine.mark(facts, server)
        assert value is not None
        return value

    def test_attributes(self) -> None:
        """It is bound to the host, to https and to HTTP, and names no server."""
        value = self.given(strategy(), known(asking()))
        token = keys().token("super-http", "exch1")
        self.assertEqual(value, NAME + b"=" + token + b"; Path=/; HttpOnly; SameSite=Lax; Secure")
        self.assertNotIn(b"exch1", value)

    def test_named(self) -> None:
        """A client that brings it is named its server, and needs no other."""
        mine = strategy()
        for server in ("exch1", "exch2"):
            shown = self.given(mine, known(asking()), server).partition(b";")[0].partition(b"=")[2]
            facts = known(asking(cookie(shown)))
            self.assertEqual(mine.candidates(facts), (Named(server),))
            self.assertEqual(mine.remember(facts), ())
            self.assertIsNone(mine.mark(facts, server))

    def test_moved(self) -> None:
        """A client that now is with another server gets a new one."""
        token = keys().token("super-http", "exch1")
        value = self.given(strategy(), known(asking(cookie(token))), "exch2")
        self.assertIn(keys().token("super-http", "exch2"), value)

    def test_forged(self) -> None:
        """What we did not give is ignored, disturbs nobody, and is replaced."""
        mine = strategy()
        token = keys().token("super-http", "exch1")
        for rubbish in (
            b"",
            b"exch1",
            token[:-1],
            token + b"x",
            token.swapcase().replace(b"0", b"1"),
            keys().token("other", "exch1"),
            keys(secret=b"another").token("super-http", "exch1"),
            keys(group="another").token("super-http", "exch1"),
            b"\xff" * 5000,
        ):
            facts = known(asking(cookie(rubbish)))
            self.assertEqual(mine.candidates(facts), (), rubbish)
            self.assertIn(token, self.given(mine, facts))

    def test_similar_names(self) -> None:
        """Only the cookie of exactly our name counts."""
        token = keys().token("super-http", "exch1")
        for name in (b"x" + NAME, NAME + b"x", NAME.lower(), b"exproxy-test"):
            self.assertEqual(strategy().candidates(known(asking(cookie(token, name)))), (), name)

    def test_twice(self) -> None:
        """A good one counts beside a forged one."""
        token = keys().token("super-http", "exch2")
        head = asking(cookie(b"forged"), cookie(token))
        self.assertEqual(strategy().candidates(known(head)), (Named("exch2"),))

    def test_restart_and_new_secret(self) -> None:
        """It is good after a restart; one of an older secret is good too, and replaced by a new one."""
        old = SuperHttp(SuperHttpOptions(), Secrets([b"old"]).keys("owa", ("exch1", "exch2")))
        again = SuperHttp(SuperHttpOptions(), Secrets([b"old"]).keys("owa", ("exch1", "exch2")))
        new = SuperHttp(SuperHttpOptions(), Secrets([b"new", b"old"]).keys("owa", ("exch1", "exch2")))
        shown = self.given(old, known(asking())).partition(b";")[0].partition(b"=")[2]
        facts = known(asking(cookie(shown, b"__Host-exproxy-owa")))
        self.assertEqual(again.candidates(facts), (Named("exch1"),))
        self.assertIsNone(again.mark(facts, "exch1"))
        self.assertEqual(new.candidates(facts), (Named("exch1"),))
        self.assertIsNotNone(new.mark(facts, "exch1"))

    def test_not_for_everybody(self) -> None:
        """ActiveSync, EWS, RPC, MAPI, OAB and Autodiscover clients, Outlook and the unnamed get none."""
        mine = strategy()
        for head in (
            asking(path=b"/Microsoft-Server-ActiveSync?Cmd=Ping"),
            asking(path=b"/microsoft-server-activesync"),
            asking(path=b"/EWS/Exchange.asmx"),
            asking(path=b"/rpc/rpcproxy.dll?exch:6001"),
            asking(path=b"/Autodiscover/Autodiscover.xml"),
            asking(path=b"/mapi/emsmdb/"),
            asking(path=b"/OAB/x/oab.xml"),
            asking(agent=OUTLOOK),
            asking(agent=b"MSRPC"),
            asking(agent=b"Apple-iPhone12C1/1802.53"),
            asking(agent=b"Outlook-iOS-Android/1.0"),
            asking(agent=None),
        ):
            self.assertIsNone(mine.mark(known(head), "exch1"), head.raw)
        for path in (b"/owa", b"/ecp/", b"/ewsx", b"/rpcs", b"/"):
            self.assertIsNotNone(mine.mark(known(asking(path=path)), "exch1"), path)

    def test_honoured_everywhere(self) -> None:
        """Who has the cookie is known by it, on whatever path."""
        token = keys().token("super-http", "exch2")
        head = asking(cookie(token), path=b"/EWS/Exchange.asmx")
        self.assertEqual(strategy().candidates(known(head))[0], Named("exch2"))

    def test_plain_http(self) -> None:
        """Over plain http there is none, unless the option says so; then it is another one."""
        plain = known(asking(), scheme="http")
        self.assertIsNone(strategy().mark(plain, "exch1"))
        self.assertEqual(len(strategy().candidates(plain)), 1)
        value = self.given(strategy(secure=False), plain)
        self.assertTrue(value.startswith(b"exproxy-test="))
        self.assertNotIn(b"Secure", value)

    def test_unknown_server(self) -> None:
        """A server without a token is not marked."""
        self.assertIsNone(strategy().mark(known(asking()), "elsewhere"))

    def test_options(self) -> None:
        """Name, SameSite, paths and agents can be set."""
        mine = strategy(
            **{"cookie": "lb", "same-site": "None", "no-cookie-paths": ["/x/"], "no-cookie-agents": ["Bot"]}
        )
        self.assertTrue(self.given(mine, known(asking(path=b"/EWS"))).startswith(b"lb="))
        self.assertIn(b"SameSite=None; Secure", self.given(mine, known(asking())))
        self.assertIsNone(mine.mark(known(asking(path=b"/x/y")), "exch1"))
        self.assertIsNone(mine.mark(known(asking(agent=b"a robot")), "exch1"))
        everybody = strategy(**{"no-cookie-paths": [], "no-cookie-agents": []})
        self.given(everybody, known(asking(path=b"/EWS", agent=OUTLOOK)))

    def test_bad_options(self) -> None:
        """Names that no browser takes, and combinations that it refuses, are errors."""
        for bad in (
            {"cookie": "a b"},
            {"cookie": "a;b"},
            {"cookie": ""},
            {"cookie": "__Host-x", "secure": False},
            {"same-site": "None", "secure": False},
            {"same-site": "lax"},
            {"no-cookie-agents": [""]},
            {"mask-v4": 33},
            {"nonsense": 1},
        ):
            with self.assertRaises(ValidationError, msg=repr(bad)):
                SuperHttpOptions.model_validate(bad)

    def test_group_names(self) -> None:
        """Any group's name makes a cookie's name."""
        self.assertEqual(SuperHttpOptions().cookie_name("a b;c=ä"), b"__Host-exproxy-a-b-c--")


class FingerprintTests(SynchronousTestCase):
    """Clients without a cookie."""

    def keys_of(self, *all_facts: Facts) -> list[tuple[Named | Key, ...]]:
        return [strategy().candidates(facts) for facts in all_facts]

    def test_basic_user(self) -> None:
        """The user alone counts: not the password, the case, the address, the program or the path."""
        one, *others = self.keys_of(
            known(asking(basic("Ann"))),
            known(asking(basic("ann", "another"), agent=OUTLOOK), "198.51.100.9"),
            known(asking(basic(" ANN"), path=b"/Microsoft-Server-ActiveSync", agent=None)),
            known(asking(b"authorization: BASIC " + base64.b64encode(b"ann:")), scheme="http"),
        )
        self.assertEqual(len(one), 1)
        self.assertEqual([one] * 3, others)
        self.assertNotEqual([one], self.keys_of(known(asking(basic("bob")))))

    def test_latin_name(self) -> None:
        """A name that is not UTF-8 is a name nevertheless; one beyond all measure is none."""
        latin = b"Authorization: Basic " + base64.b64encode("jürgen:x".encode("latin-1"))
        one, two = self.keys_of(known(asking(latin)), known(asking(basic("JÜRGEN"))))
        self.assertEqual(one, two)
        self.assertEqual(strategy().candidates(known(asking(basic("a" * 1025)))), ())

    def test_no_secret_digested(self) -> None:
        """No password and no token takes part in a key."""
        seen = FakeKeys()
        mine = SuperHttp(SuperHttpOptions(), seen)
        for field in (
            basic("ann", "secret"),
            b"Authorization: NTLM secret",
            b"Authorization: Negotiate secret",
            b"Authorization: Bearer secret",
            cookie(b"secret"),
        ):
            mine.candidates(known(asking(field, agent=OUTLOOK)))
        self.assertNotIn(b"secret", b"".join(part for _, parts in seen.digested for part in parts))
        self.assertEqual([kind for kind, _ in seen.digested], ["user", "agent", "agent", "agent", "agent"])

    def test_changing_tokens(self) -> None:
        """The legs of an NTLM log-in are one client."""
        legs = [
            known(asking(*fields, agent=OUTLOOK))
            for fields in ((), (b"Authorization: NTLM TlRMTVNTUAAB",), (b"Authorization: NTLM TlRMTVNTUAAD",))
        ]
        first, second, third = self.keys_of(*legs)
        self.assertTrue(first == second == third)

    def test_agent_and_source(self) -> None:
        """Program and address together; without a program the address, within its mask."""
        outlook = asking(agent=OUTLOOK)
        here, there, other, silent = self.keys_of(
            known(outlook),
            known(outlook, "192.0.2.2"),
            known(asking(agent=OUTLOOK + b"x")),
            known(asking(agent=None)),
        )
        self.assertEqual(len({here, there, other, silent}), 4)
        masked = strategy(**{"mask-v4": 24})
        self.assertEqual(masked.candidates(known(outlook)), masked.candidates(known(outlook, "192.0.2.2")))
        self.assertEqual([key.kind for key in (*here, *silent) if isinstance(key, Key)], ["agent", "source"])

    def test_malformed_credentials(self) -> None:
        """Credentials that are none are as good as absent."""
        plain = strategy().candidates(known(asking(agent=OUTLOOK)))
        for value in (
            b"Basic",
            b"Basic ",
            b"Basic !!!",
            b"Basic YW5u",
            b"Basic Og==",
            b"Basic " + b"A" * 4000,
        ):
            head = asking(b"Authorization: " + value, agent=OUTLOOK)
            self.assertEqual(strategy().candidates(known(head)), plain, value)

    def test_browsers_have_none(self) -> None:
        """Browsers behind one address do not share a key: their cookie tells them apart."""
        self.assertEqual(self.keys_of(known(asking())), [()])


class ConversationTests(SynchronousTestCase):
    """The cookie on its way through HTTP."""

    def test_set_and_hidden(self) -> None:
        """The answer brings it, no cache keeps that answer, and the backend never sees it."""
        mine = strategy()
        talk = Talk(marker=mine)
        request = GET[:-2] + b"User-Agent: " + CHROME + b"\r\n"
        answer = to_client(talk.exchanges(request + b"\r\n"))
        self.assertIn(b"\r\nSet-Cookie: " + NAME + b"=", answer)
        self.assertIn(b"\r\nCache-Control: private\r\n", answer)
        talk.says(request + cookie(keys().token("super-http", "exch1")) + b"\r\n\r\n")
        self.assertIn(b"\r\nCookie: X-OWA=1; last=2\r\n", to_backend(talk.meets(reused=True)))
        self.assertNotIn(b"Set-Cookie", to_client(talk.answers(OK)))

    def test_private_already(self) -> None:
        """An answer that no cache would keep stays as it is."""
        talk = Talk(marker=strategy())
        request = GET[:-2] + b"User-Agent: " + CHROME + b"\r\n\r\n"
        answer = to_client(
            talk.exchanges(request, OK.replace(b"\r\n\r\n", b"\r\nCache-Control: no-store\r\n\r\n"))
        )
        self.assertIn(b"Set-Cookie", answer)
        self.assertEqual(answer.count(b"Cache-Control"), 1)


class SpreadTests(SynchronousTestCase):
    """2,000 clients behind 10 addresses, each asking five times: who meets whom."""

    def setUp(self) -> None:
        self.mine = strategy()
        self.table: dict[Key, str] = {}
        self.turn = 0
        self.random = random.Random(2)

    def choose(self, facts: Facts) -> str:
        """What a pool with round robin does."""
        for candidate in self.mine.candidates(facts):
            server = candidate.server if isinstance(candidate, Named) else self.table.get(candidate)
            if server is not None:
                break
        else:
            server = ("exch1", "exch2")[self.turn % 2]
            self.turn += 1
        for key in self.mine.remember(facts):
            self.table.setdefault(key, server)
        return server

    def client(self, number: int, kind: str) -> set[str]:
        """The servers that one client meets in five requests."""
        source = f"192.0.2.{number % 10}"
        jar: list[bytes] = []
        met = set()
        for leg in range(5):
            if kind == "browser":
                head = asking(*(cookie(value) for value in jar))
            elif kind == "basic":
                head = asking(
                    basic(f"user{number}"), path=b"/Microsoft-Server-ActiveSync", agent=b"Apple-iPad"
                )
            else:
                head = asking(
                    b"Authorization: NTLM %d" % leg, path=b"/EWS/", agent=OUTLOOK + b" %d" % (number % 4)
                )
            facts = known(head, source)
            server = self.choose(facts)
            met.add(server)
            marked = self.mine.mark(facts, server)
            if marked is not None:
                jar = [marked.partition(b";")[0].partition(b"=")[2]]
        return met

    def test_spread(self) -> None:
        """Each client stays with one server; browsers and Basic users differ by less than a tenth."""
        kinds = ["browser"] * 1000 + ["basic"] * 400 + ["outlook"] * 600
        self.random.shuffle(kinds)
        counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        for number, kind in enumerate(kinds):
            met = self.client(number, kind)
            self.assertEqual(len(met), 1, kind)
            counts[kind].update(met)
        for kind in ("browser", "basic"):
            one, two = counts[kind]["exch1"], counts[kind]["exch2"]
            self.assertLess(abs(one - two), 0.1 * max(one, two), counts)
        self.assertEqual(len([key for key in self.table if key.kind == "agent"]), 20)
