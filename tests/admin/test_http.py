"""The API over real connections: routes, roles, refusals, the audit."""

from __future__ import annotations

import json

from openapi_spec_validator import validate
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from exproxy.admin.api.limits import Limits
from exproxy.admin.api.reply import ALWAYS
from exproxy.admin.api.table import TABLE
from tests.admin.world import OPERATE, READ, TOKENS, AdminTestCase, parsed

# Something good for each parameter and body of the table.
PARTS = {"service": "https", "server": "ex1", "session": "0-7", "group": "mapi", "key": "source-ip:00ff"}
BODIES = {
    "/state": {"state": "drain"},
    "/weight": {"weight": 5},
    "/entries": {"server": "ex2"},
    "/{key}": {"server": "ex2"},
    "/login": {"token": OPERATE},
    "/explain": {"service": "https", "client": {"source": "192.0.2.7"}},
}


def example(route: object) -> tuple[str, object, dict[str, str]]:
    """A path, a body and header fields that the route takes."""
    path = "/api/v1" + route.path.format(**PARTS)  # type: ignore[attr-defined]
    body = next((body for end, body in BODIES.items() if route.path.endswith(end)), None)  # type: ignore[attr-defined]
    if route.text:  # type: ignore[attr-defined]
        return path, b"servers: {}", {"Content-Type": "application/yaml"}
    if route.method == "DELETE" and "{session}" not in route.path:  # type: ignore[attr-defined]
        path += "?client=192.0.2.7"
    if route.path.endswith("/entries") and route.method == "PUT":  # type: ignore[attr-defined]
        path += "?client=192.0.2.7"
    return path, body if route.body is not None else None, {}  # type: ignore[attr-defined]


class RouteTests(AdminTestCase):
    """Every route of the table."""

    async def test_each(self) -> None:
        """Each route answers what it says, over TCP and over the unix socket."""
        await self.begin()
        for route in TABLE.routes:
            path, body, headers = example(route)
            for unix in (False, True):
                answer = await self.ask(route.method, path, body, unix=unix, **headers)
                expected = 409 if route.path == "/login" else 200
                self.assertEqual(answer.status, expected, (route.method, path, answer.body))
                json.loads(answer.body)

    async def test_roles(self) -> None:
        """Without a token nothing but what anyone may is there; with read nothing changes."""
        await self.begin(TOKENS)
        for route in TABLE.routes:
            path, body, headers = example(route)
            nobody = await self.ask(route.method, path, body, **headers)
            self.assertEqual(nobody.status, 200 if route.needs == "anyone" else 401, path)
            reader = await self.ask(route.method, path, body, token=READ, **headers)
            self.assertEqual(reader.status, 403 if route.needs == "operate" else 200, path)
        changes = [each for each in self.plane.done if each[0] not in ("sessions", "explain", "validate")]
        self.assertEqual(changes, [])

    async def test_operate(self) -> None:
        """With operate everything is possible, and the plane hears who it is."""
        await self.begin(TOKENS)
        body = {"state": "drain", "reason": "updates", "until": "2026-11-26T06:00:00Z", "drain": "move"}
        answer = await self.ask("PUT", "/api/v1/servers/ex1/state", body, token=OPERATE)
        self.assertEqual((answer.status, answer.json["services"]), (200, ["https", "imap"]))
        self.assertEqual(
            self.plane.done,
            [("operate", "ex1", "drain", None, "updates", "anna", 1795672800.0, False, None, "move")],
        )

    async def test_get_changes_nothing(self) -> None:
        """What changes something is not there for GET or HEAD, whatever is in the query."""
        await self.begin()
        for route in TABLE.routes:
            if route.method in ("PUT", "POST"):
                path = "/api/v1" + route.path.format(**PARTS)
                for method in ("GET", "HEAD"):
                    answer = await self.ask(method, f"{path}?state=drain")
                    self.assertIn(answer.status, (400, 404, 405, 422), path)
        self.assertEqual(self.plane.done, [])

    async def test_openapi(self) -> None:
        """The document is good OpenAPI 3.1, and has every route with its role."""
        await self.begin(TOKENS)
        document = (await self.ask("GET", "/api/v1/openapi.json")).json
        validate(document)
        said = {
            (method.upper(), path): operation["x-role"]
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        self.assertEqual(said, {(route.method, route.path): route.needs for route in TABLE.routes})
        names = [
            operation["operationId"] for each in document["paths"].values() for operation in each.values()
        ]
        self.assertEqual(len(names), len(set(names)))

    async def test_status_has_caller(self) -> None:
        """The status says who asks; for a browser's session its CSRF word too."""
        await self.begin(TOKENS)
        answer = await self.ask("GET", "/api/v1/status", token=READ)
        self.assertEqual((answer.json["role"], answer.json["csrf"]), ("read", None))
        self.assertEqual(answer.json["services"][0]["targets"][0]["backends"][1]["name"], "https/ex2")

    async def test_head(self) -> None:
        """HEAD is GET without a body."""
        await self.begin()
        answer = await self.ask("HEAD", "/api/v1/servers")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertGreater(int(answer.headers["content-length"]), 10)


class RefusalTests(AdminTestCase):
    """What is refused, and how."""

    async def test_problem(self) -> None:
        """A refusal is problem+json with a detail that says what to do."""
        await self.begin()
        for method, path, body, status, kind in (
            ("GET", "/api/v1/nothing", None, 404, "no-such-path"),
            ("GET", "/api/v1/services/x", None, 404, "unknown"),
            ("GET", "/api/v1/servers/x", None, 404, "unknown"),
            ("GET", "/api/v1/backends/https/x", None, 404, "unknown"),
            ("GET", "/api/v1/groups/x/entries", None, 404, "unknown"),
            ("PATCH", "/api/v1/status", None, 405, "method"),
            ("PUT", "/api/v1/servers/x/state", {"state": "drain"}, 404, "unknown"),
            ("PUT", "/api/v1/servers/ex1/state", {"state": "down"}, 422, "invalid"),
            ("PUT", "/api/v1/servers/ex1/state", {"state": "drain", "reson": ""}, 422, "invalid"),
            ("PUT", "/api/v1/servers/ex1/state", {"state": "drain", "reason": "a\nb"}, 422, "invalid"),
            ("PUT", "/api/v1/servers/ex1/state", b"{", 400, "invalid"),
            ("PUT", "/api/v1/servers/ex1/weight", {"weight": 257}, 422, "invalid"),
            (
                "PUT",
                "/api/v1/backends/https/ex1/state",
                {"state": "drain", "service": "imap"},
                422,
                "invalid",
            ),
            ("DELETE", "/api/v1/sessions", None, 409, "refused"),
            ("DELETE", "/api/v1/sessions/0-8", None, 404, "unknown"),
            ("GET", "/api/v1/sessions?limit=0", None, 422, "invalid"),
            ("GET", "/api/v1/sessions?clinet=x", None, 422, "invalid"),
            ("GET", "/api/v1/sessions?limit=1&limit=2", None, 400, "malformed"),
            ("GET", "/api/v1/status?x=1", None, 400, "malformed"),
            ("GET", "/api/v1/servers/%0a", None, 400, "malformed"),
            ("GET", "/api/v1/servers/%ff", None, 400, "malformed"),
            ("POST", "/", None, 405, "method"),
        ):
            answer = await self.ask(method, path, body)
            self.assertEqual((answer.status, answer.json["type"]), (status, kind), (path, body))
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
            self.assertTrue(answer.json["detail"])
        self.assertEqual([each[0] for each in self.plane.done], ["kill"])

    async def test_last_usable(self) -> None:
        """The last usable server stays, and the services that need it are named; force takes it."""
        await self.begin()
        self.plane.wishes["https", "ex2"] = "maint"
        answer = await self.ask("PUT", "/api/v1/servers/ex1/state", {"state": "drain"})
        self.assertEqual((answer.status, answer.json["type"]), (409, "last-usable"))
        self.assertEqual(answer.json["services"], ["https"])
        forced = {"state": "drain", "force": True}
        self.assertEqual((await self.ask("PUT", "/api/v1/servers/ex1/state", forced)).status, 200)

    async def test_precondition(self) -> None:
        """A change that says which state it is based on is refused when somebody else was there before."""
        await self.begin()
        for path in ("/api/v1/servers/ex1", "/api/v1/backends/https/ex1"):
            tag = (await self.ask("GET", path)).headers["etag"]
            changed = await self.ask("PUT", f"{path}/state", {"state": "drain"}, If_Match=tag)
            self.assertEqual(changed.status, 200)
            late = await self.ask("PUT", f"{path}/state", {"state": "maint"}, If_Match=tag)
            self.assertEqual((late.status, late.json["type"]), (412, "changed"))
            anyway = await self.ask("PUT", f"{path}/state", {"state": "ready"}, If_Match="*")
            self.assertEqual(anyway.status, 200)

    async def test_media_types(self) -> None:
        """Only JSON is taken, and YAML to be validated: no form that any page could send."""
        await self.begin()
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
        ):
            answer = await self.ask("PUT", "/api/v1/servers/ex1/state", {"state": "drain"}, Content_Type=kind)
            self.assertEqual(answer.status, 415, kind)
        answer = await self.ask("POST", "/api/v1/validate", b"a: 1", Content_Type="text/plain")
        self.assertEqual(answer.status, 415)
        self.assertEqual(self.plane.done, [])

    async def test_no_traceback(self) -> None:
        """An error of ours is one line for the client; the log has the rest."""
        await self.begin()
        self.plane.broken = ValueError("a word that no client should see")
        answer = await self.ask("GET", "/api/v1/status")
        self.assertEqual((answer.status, answer.json["type"]), (500, "internal"))
        self.assertNotIn(b"Traceback", answer.body)
        self.assertNotIn(b"no client", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_reload_errors(self) -> None:
        """A configuration that cannot be used is a problem with every error in its place."""
        from exproxy.admin.rows import Problem

        await self.begin()
        self.plane.problems = [Problem("/etc/e.yaml", 3, 5, "services.x", "unknown option")]
        answer = await self.ask("POST", "/api/v1/reload", {"dry_run": True})
        self.assertEqual(answer.status, 422)
        expected = {
            "file": "/etc/e.yaml", "line": 3, "column": 5, "path": "services.x", "message": "unknown option",
        }  # fmt: skip
        self.assertEqual(answer.json["errors"], [expected])
        found = await self.ask("POST", "/api/v1/validate", b"x: 1", Content_Type="application/yaml")
        self.assertEqual((found.json["valid"], found.json["errors"]), (False, [expected]))

    async def test_headers(self) -> None:
        """Every answer, good or bad, has the fields that keep browsers safe, and does not name Twisted."""
        await self.begin()
        for method, path in (("GET", "/api/v1/status"), ("GET", "/x"), ("GET", "/healthz"), ("PUT", "/")):
            answer = await self.ask(method, path)
            for name, value in ALWAYS.items():
                self.assertEqual(answer.headers[name.lower()], value, path)
        self.assertEqual(ALWAYS["Server"], "exproxy")
        self.assertIn("default-src 'self'", ALWAYS["Content-Security-Policy"])
        self.assertNotIn("unsafe", ALWAYS["Content-Security-Policy"])


class BrowserTests(AdminTestCase):
    """Pages, ours and others'."""

    async def test_foreign_pages(self) -> None:
        """A page of another origin, or under a name that was made to lead here, gets nothing done."""
        await self.begin()
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Host": "evil.example:8404"},
            {"Host": ""},
        ):
            for method, path in (
                ("PUT", "/api/v1/servers/ex1/state"),
                ("GET", "/api/v1/status"),
                ("GET", "/"),
            ):
                body = {"state": "drain"} if method == "PUT" else None
                answer = await self.ask(method, path, body, **headers)
                self.assertIn(answer.status, (400, 403, 421), (headers, path))
                self.assertNotIn("access-control-allow-origin", answer.headers)
        self.assertEqual((self.plane.done, self.plane.asked), ([], 0))

    async def test_own_page(self) -> None:
        """The page itself may change things."""
        await self.begin()
        own = f"http://127.0.0.1:{self.port}"
        answer = await self.ask("PUT", "/api/v1/servers/ex1/state", {"state": "drain"}, Origin=own)
        self.assertEqual(answer.status, 200)

    async def test_session(self) -> None:
        """A browser logs in for a cookie that no script sees, and shows a second word with each change."""
        await self.begin(TOKENS)
        answer = await self.ask("POST", "/login", {"token": OPERATE})
        self.assertEqual((answer.status, answer.json["name"], answer.json["role"]), (200, "anna", "operate"))
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        self.assertEqual(set(attributes), {"Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"})
        csrf = answer.json["csrf"]
        self.assertEqual((await self.ask("GET", "/api/v1/status", Cookie=cookie)).json["csrf"], csrf)
        path, body = "/api/v1/servers/ex1/state", {"state": "drain"}
        self.assertEqual((await self.ask("PUT", path, body, Cookie=cookie)).json["type"], "csrf")
        changed = await self.ask("PUT", path, body, Cookie=f"a=b; {cookie}", X_CSRF_Token=csrf)
        self.assertEqual(changed.status, 200)
        gone = await self.ask("POST", "/logout", Cookie=cookie, X_CSRF_Token=csrf)
        self.assertIn("Max-Age=0", gone.headers["set-cookie"])
        self.assertEqual((await self.ask("GET", "/api/v1/status", Cookie=cookie)).status, 401)

    async def test_wrong_token(self) -> None:
        """A wrong token is told so; the tenth is the last that is looked at."""
        await self.begin(TOKENS)
        for _ in range(10):
            self.assertEqual((await self.ask("POST", "/api/v1/login", {"token": "wrong"})).status, 401)
        answer = await self.ask("POST", "/api/v1/login", {"token": OPERATE})
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "60"))

    async def test_socket_is_not_locked_out(self) -> None:
        """Whoever guesses over TCP does not keep the operator from the unix socket."""
        await self.begin(TOKENS)
        for _ in range(11):
            await self.ask("GET", "/api/v1/status", token="wrong")
        self.assertEqual((await self.ask("GET", "/api/v1/status", unix=True)).status, 200)


class AuditTests(AdminTestCase):
    """Who did what, from where."""

    def lines(self) -> list[str]:
        """Hear the audit; the list grows."""
        found: list[str] = []

        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "exproxy.admin.audit":
                found.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return found

    async def test_changes(self) -> None:
        """Every change is told, done or refused, with who and from where; reading is not."""
        await self.begin(TOKENS)
        lines = self.lines()
        await self.ask("GET", "/api/v1/status", token=READ)
        path = "/api/v1/servers/ex1/state"
        await self.ask("PUT", path, {"state": "drain", "reason": "updates"}, token=OPERATE)
        await self.ask("PUT", path, {"state": "maint"}, token=READ)
        await self.ask("PUT", path, {"state": "maint"})
        await self.ask("DELETE", "/api/v1/sessions/0-8", token=OPERATE)
        self.assertEqual(len(lines), 4)
        self.assertRegex(
            lines[0], r"^anna from 127\.0\.0\.1:\d+: PUT /api/v1/servers/ex1/state \{.*'updates'"
        )
        self.assertRegex(lines[1], r"^grafana from .*: refused, grafana may look")
        self.assertRegex(lines[2], r"^nobody from .*: refused, a token is needed")
        self.assertRegex(lines[3], r"^anna from .*DELETE /api/v1/sessions/0-8 : refused, there is no session")

    async def test_socket(self) -> None:
        """Over the unix socket it is the user, by the kernel's word; root may say for whom it acts."""
        await self.begin()
        lines = self.lines()
        path = "/api/v1/servers/ex1/weight"
        await self.ask("PUT", path, {"weight": 3}, unix=True)
        await self.ask("PUT", path, {"weight": 4}, unix=True, X_Exproxy_User="anna")
        self.assertRegex(lines[0], r"^\w+ from the unix socket: PUT")
        self.assertRegex(lines[1], r"^anna \(\w+\) from the unix socket: PUT")

    async def test_log_in(self) -> None:
        """Logging in is told, with the name or without; the token never is."""
        await self.begin(TOKENS)
        lines = self.lines()
        await self.ask("POST", "/login", {"token": OPERATE})
        await self.ask("POST", "/login", {"token": "a-wrong-token-of-somebody"})
        self.assertRegex(lines[0], r"^anna from .*: POST /login")
        self.assertRegex(lines[1], r"^nobody from .*: POST /login .*refused")
        for secret in (OPERATE, "a-wrong-token"):
            self.assertNotIn(secret, "".join(lines))

    async def test_no_secret_anywhere(self) -> None:
        """No answer and no line of any log has a token, however it came."""
        heard: list[str] = []
        observe = lambda event: heard.append(repr(event) + formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        await self.begin(TOKENS)
        answers = [
            await self.ask("GET", "/api/v1/configuration", token=OPERATE),
            await self.ask("GET", "/api/v1/status", token=OPERATE),
            await self.ask("PUT", "/api/v1/servers/ex1/weight", {"weight": 999}, token=OPERATE),
            await self.ask("POST", "/login", {"token": OPERATE, "x": 1}),
            await self.ask("POST", "/login", {"token": [OPERATE]}),
            await self.ask("POST", "/login", {"token": OPERATE}),
        ]
        said = "".join(heard) + "".join(f"{each.headers}{each.body!r}" for each in answers)
        self.assertNotIn(OPERATE, said)
        self.assertNotIn(READ, said)


class LimitTests(AdminTestCase):
    """What one client can cost."""

    async def test_body(self) -> None:
        """A body that is longer than allowed is not kept, and told so; with a length or in chunks."""
        await self.begin(limits=Limits(body=1000))
        answer = await self.ask("POST", "/api/v1/validate", b"x" * 1001, Content_Type="application/yaml")
        self.assertEqual((answer.status, answer.json["type"]), (413, "too-large"))
        client = await self.connect()
        head = self.request(
            "POST",
            "/api/v1/validate",
            headers={"Content-Type": "application/yaml", "Transfer-Encoding": "chunked"},
        )
        client.transport.write(head + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n")
        self.assertEqual(parsed(await client.over).status, 413)
        self.assertEqual(self.plane.done, [])

    async def test_slow(self) -> None:
        """A request that does not get finished is cut, byte by byte or silent."""
        await self.begin(limits=Limits(request=0.2))
        client = await self.connect()
        client.transport.write(b"GET /api")
        self.assertEqual(await client.over, b"")

    async def test_idle(self) -> None:
        """A connection that says nothing is closed."""
        await self.begin(limits=Limits(idle=0.2))
        client = await self.connect()
        self.assertEqual(await client.over, b"")

    async def test_long_head(self) -> None:
        """A head without an end is refused."""
        await self.begin()
        client = await self.connect()
        client.transport.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n")
        self.assertEqual(await client.over, b"")
        client = await self.connect()
        client.transport.write(b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 600 + b"\r\n")
        self.assertTrue((await client.over).startswith(b"HTTP/1.1 400 "))

    async def test_connections(self) -> None:
        """One connection more than allowed is closed; when one has gone there is room again."""
        await self.begin(limits=Limits(connections=1))
        first = await self.connect()
        first.transport.write(self.request("GET", "/healthz", close=False))
        await first.until(b"alive")
        second = await self.connect()
        second.transport.write(self.request("GET", "/healthz"))
        self.assertEqual(await second.over, b"")
        self.assertEqual((await self.ask("GET", "/healthz", unix=True)).status, 200)
        first.transport.loseConnection()
        await first.over
        await deferLater(reactor, 0)
        self.assertEqual((await self.ask("GET", "/healthz")).status, 200)

    async def test_in_flight(self) -> None:
        """So many requests are answered at a time; one more is told to come again."""
        await self.begin(limits=Limits(in_flight=1))
        self.plane.waiting = Deferred()
        client = await self.connect()
        client.transport.write(self.request("GET", "/api/v1/status"))
        while not self.plane.asked:
            await deferLater(reactor, 0.01)
        answer = await self.ask("GET", "/api/v1/servers")
        self.assertEqual(
            (answer.status, answer.json["type"], answer.headers["retry-after"]), (503, "busy", "1")
        )
        waiting, self.plane.waiting = self.plane.waiting, None
        waiting.callback(await self.plane.status())
        self.assertEqual(parsed(await client.over).status, 200)

    async def test_overdue(self) -> None:
        """What is not answered in time is given up."""
        await self.begin(limits=Limits(answer=0.1))
        self.plane.waiting = Deferred()
        answer = await self.ask("GET", "/api/v1/status")
        self.assertEqual((answer.status, answer.json["type"]), (504, "overdue"))
