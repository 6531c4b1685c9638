"""Who may do what, and from where: without any network."""

from __future__ import annotations

from http import HTTPStatus

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.api import access as module
from exproxy.admin.api.access import Access, Asked, Door
from exproxy.admin.api.attempts import ADDRESSES, ATTEMPTS, WINDOW, Attempts
from exproxy.admin.api.problem import Problem
from exproxy.admin.api.sessions import LASTS, SESSIONS, BrowserSessions
from exproxy.config import AdminToken

READ = AdminToken("grafana", "read", b"read-read-read-read")
OPERATE = AdminToken("anna", "operate", b"operate-operate-operate")
LOOPBACK = Door(loopback=True, names=frozenset({"127.0.0.1"}))
OUTSIDE = Door(secure=True, names=frozenset({"lb.example.org"}))
SOCKET = Door(local=True)


def asked(method: str = "GET", **changed: str | None) -> Asked:
    """A request to http://127.0.0.1:8404 of a program on this machine."""
    values: dict[str, str | None] = {"host": "127.0.0.1:8404", "to": "127.0.0.1", **changed}
    return Asked(method, "127.0.0.1", "127.0.0.1:5", **values)  # type: ignore[arg-type]


class AccessTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.open = Access(self.clock.seconds)
        self.guarded = Access(self.clock.seconds, (READ, OPERATE), ("https://lb.example.org",))

    def refused(self, status: HTTPStatus, kind: str, function: object, *arguments: object) -> Problem:
        """That call is refused with that status and kind."""
        problem = self.assertRaises(Problem, function, *arguments)
        self.assertEqual((problem.status, problem.kind), (status, kind))
        return problem


class HostTests(AccessTestCase):
    """DNS rebinding: a page whose name was made to lead here must not get an answer."""

    def test_loopback_names(self) -> None:
        """This machine's names are ours at a loopback address, with or without a port."""
        for host in ("127.0.0.1", "localhost:8404", "[::1]:8404", "LOCALHOST."):
            self.open.welcome(LOOPBACK, asked(host=host))

    def test_other_names(self) -> None:
        """No other name is, nor another address."""
        for host in ("evil.example", "127.0.0.1.evil.example:8404", "192.0.2.1", "localhost.evil:1"):
            self.refused(
                HTTPStatus.MISDIRECTED_REQUEST, "host", self.open.welcome, LOOPBACK, asked(host=host)
            )

    def test_malformed(self) -> None:
        """A Host that is missing or no host is refused."""
        for host in (None, "", "a@127.0.0.1", "127.0.0.1/x", "a b", "::1", "127.0.0.1:99999999"):
            self.refused(HTTPStatus.BAD_REQUEST, "malformed", self.open.welcome, LOOPBACK, asked(host=host))

    def test_outside(self) -> None:
        """Elsewhere the certificate's names, the origins' names and addresses are ours."""
        for host in ("lb.example.org", "192.0.2.9:8404", "[2001:db8::1]"):
            self.guarded.welcome(OUTSIDE, asked(host=host))
        self.refused(
            HTTPStatus.MISDIRECTED_REQUEST, "host", self.guarded.welcome, OUTSIDE, asked(host="x.example")
        )

    def test_socket(self) -> None:
        """The unix socket has no names to mind."""
        self.open.welcome(SOCKET, asked(host="exproxy", origin=None))


class OriginTests(AccessTestCase):
    """Cross-site requests."""

    def test_own(self) -> None:
        """The page's own origin is welcome, a program without one too."""
        for origin in (None, "http://127.0.0.1:8404"):
            self.open.welcome(LOOPBACK, asked("PUT", origin=origin))
        self.guarded.welcome(
            OUTSIDE, asked("PUT", host="lb.example.org:443", origin="https://lb.example.org")
        )

    def test_configured(self) -> None:
        """So is a configured one, under which a proxy shows the page."""
        self.guarded.welcome(LOOPBACK, asked("PUT", origin="https://lb.example.org"))

    def test_foreign(self) -> None:
        """Any other is refused, with another scheme or port too, for reading as for writing."""
        for origin in ("https://evil.example", "null", "https://127.0.0.1:8404", "http://127.0.0.1:1"):
            for method in ("GET", "PUT", "POST", "DELETE"):
                about = asked(method, origin=origin)
                self.refused(HTTPStatus.FORBIDDEN, "origin", self.open.welcome, LOOPBACK, about)

    def test_fetch_metadata(self) -> None:
        """A browser that says where a request comes from is believed where there is no Origin."""
        for site in ("same-origin", "none"):
            self.open.welcome(LOOPBACK, asked(fetch_site=site))
        for site in ("cross-site", "same-site"):
            about = asked(fetch_site=site)
            self.refused(HTTPStatus.FORBIDDEN, "origin", self.open.welcome, LOOPBACK, about)


class CallerTests(AccessTestCase):
    """Who it is."""

    def test_open(self) -> None:
        """Without tokens everybody at a loopback address may operate."""
        self.assertEqual(self.open.caller(LOOPBACK, asked()).role, "operate")

    def test_open_is_loopback_only(self) -> None:
        """Elsewhere nobody may, even if the configuration were to let it through."""
        self.assertIsNone(self.open.caller(OUTSIDE, asked()).role)

    def test_socket(self) -> None:
        """Whoever may open the socket may operate."""
        self.assertEqual(self.guarded.caller(SOCKET, asked()).role, "operate")

    def test_tokens(self) -> None:
        """A token is its name and role; the scheme's case does not matter."""
        for scheme in ("Bearer", "bearer"):
            about = asked(authorization=f"{scheme} read-read-read-read")
            caller = self.guarded.caller(LOOPBACK, about)
            self.assertEqual((caller.name, caller.role), ("grafana", "read"))

    def test_nobody(self) -> None:
        """With tokens, who shows none is nobody, at a loopback address too."""
        self.assertIsNone(self.guarded.caller(LOOPBACK, asked()).role)

    def test_wrong(self) -> None:
        """A wrong token, part of one, an empty one and another scheme are refused."""
        for word in ("Bearer wrong", "Bearer read-read-read-rea", "Bearer ", "Basic YTpi", "Bearer \udcff"):
            about = asked(authorization=word)
            problem = self.refused(HTTPStatus.UNAUTHORIZED, "token", self.guarded.caller, LOOPBACK, about)
            self.assertIn("WWW-Authenticate", problem.headers)

    def test_constant_time(self) -> None:
        """Every token is compared by compare_digest over digests of equal length, a found one or not."""
        compared: list[tuple[int, int]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return one == other

        self.patch(module, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
        self.guarded.token("read-read-read-read", "a")
        self.assertRaises(Problem, self.guarded.token, "x", "a")
        self.assertEqual(compared, [(32, 32)] * 4)

    def test_roles(self) -> None:
        """read may not operate; nobody may do nothing; anyone may do what needs nobody."""
        reader = self.guarded.caller(LOOPBACK, asked(authorization="Bearer read-read-read-read"))
        nobody = self.guarded.caller(LOOPBACK, asked())
        self.guarded.allow("read", reader)
        self.refused(HTTPStatus.FORBIDDEN, "role", self.guarded.allow, "operate", reader)
        self.refused(HTTPStatus.UNAUTHORIZED, "token", self.guarded.allow, "read", nobody)
        self.guarded.allow("anyone", nobody)


class AttemptTests(AccessTestCase):
    """Guessing."""

    def test_limit(self) -> None:
        """After ten wrong tokens from one address none is looked at, right or wrong, until a minute is over;
        another address is not concerned."""
        wrong, right = asked(authorization="Bearer wrong"), asked(authorization="Bearer read-read-read-read")
        for _ in range(ATTEMPTS):
            self.refused(HTTPStatus.UNAUTHORIZED, "token", self.guarded.caller, LOOPBACK, wrong)
        for about in (wrong, right):
            problem = self.refused(
                HTTPStatus.TOO_MANY_REQUESTS, "attempts", self.guarded.caller, LOOPBACK, about
            )
            self.assertEqual(problem.headers["Retry-After"], "60")
        self.guarded.token("read-read-read-read", "192.0.2.1")
        self.clock.advance(WINDOW)
        self.assertEqual(self.guarded.caller(LOOPBACK, right).role, "read")

    def test_right_ones_do_not_help(self) -> None:
        """Right tokens in between do not give more attempts to others behind the same address."""
        for _ in range(ATTEMPTS):
            self.guarded.token("read-read-read-read", "a")
            self.assertRaises(Problem, self.guarded.token, "wrong", "a")
        self.refused(HTTPStatus.TOO_MANY_REQUESTS, "attempts", self.guarded.token, "wrong", "a")

    def test_ipv6(self) -> None:
        """Who has a /64 of IPv6 does not get attempts for each address in it; IPv4 in IPv6 is IPv4."""
        attempts = Attempts(self.clock.seconds, attempts=1)
        attempts.failed("2001:db8:0:1::1")
        attempts.failed("::ffff:192.0.2.1")
        waits = [attempts.wait(each) for each in ("2001:db8:0:1:ffff::2", "2001:db8:0:2::1", "192.0.2.1")]
        self.assertEqual(waits, [WINDOW, 0.0, WINDOW])

    def test_login_counts(self) -> None:
        """Logging in is counted like any other use of a token."""
        for _ in range(ATTEMPTS):
            self.assertRaises(Problem, self.guarded.login, "wrong", "a")
        self.refused(
            HTTPStatus.TOO_MANY_REQUESTS, "attempts", self.guarded.login, OPERATE.secret.decode(), "a"
        )

    def test_bounded(self) -> None:
        """Only so many addresses are remembered."""
        attempts = Attempts(self.clock.seconds, attempts=1)
        for number in range(ADDRESSES + 1):
            attempts.failed(str(number))
        self.assertEqual((attempts.wait("0"), attempts.wait("1")), (0.0, WINDOW))


class SessionTests(AccessTestCase):
    """Browsers."""

    def setUp(self) -> None:
        super().setUp()
        self.cookie, self.session = self.guarded.login(OPERATE.secret.decode(), "a")

    def test_reading(self) -> None:
        """The cookie alone is enough for reading."""
        caller = self.guarded.caller(LOOPBACK, asked(cookie=self.cookie))
        self.assertEqual((caller.name, caller.role, caller.csrf), ("anna", "operate", self.session.csrf))

    def test_csrf(self) -> None:
        """A change needs the session's other word too, which no other page can read."""
        for method in ("PUT", "POST", "DELETE", "PATCH"):
            for word in (None, "", "wrong"):
                about = asked(method, cookie=self.cookie, csrf=word)
                self.refused(HTTPStatus.FORBIDDEN, "csrf", self.guarded.caller, LOOPBACK, about)
            about = asked(method, cookie=self.cookie, csrf=self.session.csrf)
            self.assertEqual(self.guarded.caller(LOOPBACK, about).role, "operate")

    def test_end(self) -> None:
        """A session ends by logging out, and after twelve hours; a forged cookie is none."""
        self.guarded.sessions.end(self.cookie)
        self.assertIsNone(self.guarded.caller(LOOPBACK, asked(cookie=self.cookie)).role)
        cookie, _ = self.guarded.login(OPERATE.secret.decode(), "a")
        self.clock.advance(LASTS - 1)
        self.assertEqual(self.guarded.caller(LOOPBACK, asked(cookie=cookie)).role, "operate")
        self.clock.advance(1)
        self.assertIsNone(self.guarded.caller(LOOPBACK, asked(cookie=cookie)).role)
        self.assertIsNone(self.guarded.caller(LOOPBACK, asked(cookie="x" * 43)).role)

    def test_bounded(self) -> None:
        """Only so many sessions are kept; the one that was not used for the longest time goes."""
        sessions = BrowserSessions(self.clock.seconds)
        cookies = [sessions.begin("a", "read")[0] for _ in range(SESSIONS)]
        sessions.find(cookies[0])
        sessions.begin("a", "read")
        self.assertIsNotNone(sessions.find(cookies[0]))
        self.assertIsNone(sessions.find(cookies[1]))

    def test_renewed(self) -> None:
        """Other tokens count at once; the sessions of those that are gone or changed end, others stay."""
        other, _ = self.guarded.login(READ.secret.decode(), "a")
        self.guarded.renew((READ, AdminToken("anna", "read", OPERATE.secret)), ())
        self.assertIsNone(self.guarded.sessions.find(self.cookie))
        self.assertIsNotNone(self.guarded.sessions.find(other))
        self.assertEqual(self.guarded.token(OPERATE.secret.decode(), "a").role, "read")

    def test_unguessable(self) -> None:
        """Cookie and word are random, and different from each other."""
        other, session = self.guarded.login(OPERATE.secret.decode(), "a")
        words = {self.cookie, self.session.csrf, other, session.csrf}
        self.assertEqual((len(words), min(map(len, words))), (4, 43))
