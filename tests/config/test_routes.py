"""The `routes:` of a service: what each takes, inherits and may not say."""

from __future__ import annotations

from exproxy.config import ServiceConfig
from exproxy.config.load import load
from exproxy.plugins import Catalogue
from exproxy.routes import Redirect, Reply
from tests.config.reading import SERVERS, ReadingTestCase

HEAD = """\
servers: {a: 192.0.2.11, b: 192.0.2.12}
groups: {web: {}}
services:
  s:
    protocol: http
    listen: 80
    check: {http: {path: /, status: 200}}
    timeouts: {idle: 11m, answer: 12m}
    slow-ramp: 5m
"""


class RoutesTestCase(ReadingTestCase):
    """Reads services with the real plugins, since only http and https have routes."""

    def routed(self, text: str, head: str = HEAD) -> ServiceConfig:
        """The service with these lines at its end."""
        lines = "".join(f"    {line}\n" for line in text.strip("\n").splitlines())
        config = load(self.write(head + lines), catalogue=Catalogue(), host_name="lb.test", now=self.now)
        self.warned = [f"{problem.where}: {problem.message}" for problem in config.warnings]
        return config.services["s"]

    def wrongs(self, text: str, head: str = HEAD) -> list[str]:
        """What is wrong with them, without ``services.s.`` in front."""
        from exproxy.config import Invalid

        invalid = self.assertRaises(Invalid, self.routed, text, head)
        return [
            f"{problem.where}: {problem.message}".removeprefix("services.s.")
            for problem in invalid.problems
            if problem.severity == "error"
        ]


class InheritanceTests(RoutesTestCase):
    """A route is a service in small."""

    def test_silent_route_inherits(self) -> None:
        """Everything that a route does not say is as the service has it."""
        service = self.routed("routes:\n  owa: {path: /owa}")
        [route] = service.routes
        self.assertEqual(route.name, "s/owa")
        self.assertEqual(route.route.paths, ("/owa",))
        self.assertEqual(route.servers, ("a", "b"))
        self.assertEqual(route.check, service.check)
        self.assertEqual((route.route.timeouts.idle, route.route.timeouts.answer), (660.0, 720.0))
        self.assertEqual(route.slow_ramp, 300.0)
        self.assertEqual(route.target(service.listens[0]), service.target(service.listens[0]))

    def test_own_settings_win(self) -> None:
        """Sections are put together key by key; what the route says wins."""
        service = self.routed(
            """
            routes:
              eas:
                path: [/Microsoft-Server-ActiveSync, /eas]
                host: [mail.example.org, "*.example.net"]
                servers: b
                persistence: {source-ip: {group: web}}
                scheduling: least-connections
                check: {http: {path: /x, drain: {status: 404}}}
                health: {fall: 9}
                timeouts: {idle: 30m}
                slow-ramp: 0s
                on-down: cut
                backend: {port: 8080}
            """.replace("            ", "")
        )
        [route] = service.routes
        self.assertEqual((route.servers, route.group), (("b",), "web"))
        self.assertEqual((route.persistence.name, route.scheduling.name), ("source-ip", "least-connections"))
        self.assertEqual((route.health.fall, route.on_down, route.slow_ramp), (9, "cut", 0.0))
        self.assertEqual((route.route.timeouts.idle, route.route.timeouts.answer), (1800.0, 720.0))
        self.assertEqual(route.target(service.listens[0]).port, 8080)
        self.assertEqual(route.route.hosts, ("mail.example.org", "*.example.net"))

    def test_order_is_the_files(self) -> None:
        """Routes keep their order, since the first that fits wins."""
        service = self.routed("routes: {z: {path: /z}, a: {path: /a}, m: {path: /m}}")
        self.assertEqual([each.route.name for each in service.routes], ["z", "a", "m"])


class OwnTests(RoutesTestCase):
    """What a route asks of its requests."""

    def test_limits(self) -> None:
        """Those of a request are the route's, the rest the service's."""
        [route] = self.routed("limits: {body: 5m}\nroutes:\n  x: {path: /x, limits: {body-rate: 9}}").routes
        self.assertEqual((route.route.limits.body, route.route.limits.body_rate), (5 * 1024**2, 9))
        [wrong] = self.wrongs("routes: {x: {path: /x, limits: {head: 1k}}}")
        self.assertIn("routes.x.limits.head: unknown option", wrong)

    def test_client_certificate(self) -> None:
        """Nobody has a certificate to show where nobody is asked for one."""
        [wrong] = self.wrongs("routes: {x: {path: /x, client-certificate: required}}")
        self.assertIn("nobody is asked for a certificate", wrong)


class AnswerTests(RoutesTestCase):
    """What exproxy says itself."""

    def test_redirects(self) -> None:
        """A bare destination is short for the mapping; 302 is the default."""
        service = self.routed(
            "routes:\n"
            "  root: {exact: /, redirect: /owa/}\n"
            "  old: {path: /exchange, redirect: {to: 'https://m.example.org/owa/', status: 301, query: true}}"
        )
        answers = [each.route.answer for each in service.routes]
        to = "https://m.example.org/owa/"
        self.assertEqual(answers, [Redirect("/owa/"), Redirect(to, 301, query=True)])

    def test_service_answers_itself(self) -> None:
        """A service may say itself what no route takes, even without any route."""
        away = self.routed("redirect: {to: https, port: 8443}")
        self.assertEqual(away.answer, Redirect("https", port=8443))
        self.assertEqual(self.routed("status: 404\ntext: nothing").answer, Reply(404, "nothing"))

    def test_contradictions(self) -> None:
        """An answer has no servers, a redirect no status beside it, a text always a status."""
        self.assertEqual(
            self.wrongs("routes: {x: {path: /x, redirect: https, servers: a, health: {fall: 1}}}"),
            [
                "routes.x.servers: has no effect: this route asks no server",
                "routes.x.health: has no effect: this route asks no server",
            ],
        )
        [wrong] = self.wrongs("routes: {x: {redirect: https, status: 404}}")
        self.assertIn("routes.x.status: a redirect has its own status", wrong)
        [wrong] = self.wrongs("routes: {x: {text: hello}}")
        self.assertIn("routes.x.text: goes with a status", wrong)
        [wrong] = self.wrongs("routes: {x: {status: 302}}")
        self.assertIn("sends the client elsewhere", wrong)
        [wrong] = self.wrongs("routes: {x: {redirect: {to: /y, port: 81}}}")
        self.assertIn("goes with `to: https` only", wrong)

    def test_destinations(self) -> None:
        """What is no destination is told; nothing can be smuggled into a header."""
        for to in ("owa", "//evil.example", "ftp://x/", "/a b", "/ä", "/a\\r\\nX: y"):
            [wrong] = self.wrongs(f'redirect: "{to}"')
            self.assertTrue(wrong.startswith("redirect"), wrong)


class MistakeTests(RoutesTestCase):
    """Each mistake is told at its place."""

    def test_unknown_keys(self) -> None:
        """Misspelt keys get advice; waits that belong to the connection are the service's."""
        wrongs = self.wrongs("routes: {x: {pth: /x, timeouts: {keep-alive: 1s}, tcp: {}}}")
        self.assertEqual(len(wrongs), 3)
        self.assertIn("routes.x.pth: unknown option; did you mean 'path'?", wrongs[0])
        self.assertIn("routes.x.timeouts.keep-alive: unknown option", wrongs[1])

    def test_duplicate_names(self) -> None:
        """Two routes of one name are an error that names the first."""
        [wrong] = self.wrongs("routes:\n  x: {path: /x}\n  x: {path: /y}")
        self.assertIn("routes.x: is there twice; the first is in line 11", wrong)

    def test_bad_names(self) -> None:
        """A route is named like a service."""
        [wrong] = self.wrongs("routes: {a/b: {path: /x}}")
        self.assertIn("a name begins with a letter", wrong)

    def test_bad_paths_and_hosts(self) -> None:
        """Paths are plain, hosts are names or *.names."""
        for path in ("owa", "/a b", "/a/../b", "//a", "/a%41", "/a?b", "/a*"):
            [wrong] = self.wrongs(f'routes: {{x: {{path: "{path}"}}}}')
            self.assertIn("a path ", wrong)
        for host in ("*", "a.*.b", "a_/b", "*.a:443"):
            [wrong] = self.wrongs(f'routes: {{x: {{host: "{host}"}}}}')
            self.assertIn("routes.x.host", wrong)

    def test_unknown_server_and_group(self) -> None:
        """References are held to what there is."""
        wrongs = self.wrongs("routes: {x: {path: /x, servers: [c], persistence: {source-ip: {group: wbe}}}}")
        self.assertEqual(len(wrongs), 2)
        self.assertIn("routes.x.servers[0]: unknown server 'c'", wrongs[0])
        self.assertIn("unknown group 'wbe'; did you mean 'web'?", wrongs[1])

    def test_group_needs_equal_servers(self) -> None:
        """Routes of one group have the same servers, as services have."""
        [wrong] = self.wrongs(
            "routes:\n"
            "  x: {path: /x, persistence: {source-ip: {group: web}}}\n"
            "  y: {path: /y, servers: a, persistence: {source-ip: {group: web}}}"
        )
        self.assertIn("'s/x' has a, b, 's/y' has a", wrong)

    def test_unreachable(self) -> None:
        """A route behind a wider one is a warning that names it."""
        for earlier, later in (
            ("path: /owa", "path: /OWA/auth"),
            ("path: [/a, /b]", "path: [/b/x, /a]"),
            ("path: /", "path: /x"),
            ("{}", "host: a.example"),
            ("host: '*.example'", "host: [x.example, y.z.example], path: /x"),
            ("exact: /X", "exact: /x"),
            ("path: /x", "exact: /x/y"),
        ):
            first = "{deny: 192.0.2.1}" if earlier == "{}" else f"{{{earlier}}}"
            self.routed(f"routes:\n  one: {first}\n  two: {{{later}}}")
            self.assertEqual(len(self.warned), 1 + ("groups.web" in self.warned[0]), (earlier, self.warned))
            self.assertIn("services.s.routes.two: is never reached: 'one' (line 11)", self.warned[-1])

    def test_reachable(self) -> None:
        """Narrower first, another host, or a path that only begins alike: no warning."""
        self.routed(
            "routes:\n"
            "  one: {path: /owa/auth}\n"
            "  two: {path: /owa}\n"
            "  three: {path: /owax}\n"
            "  four: {host: a.example, path: /x}\n"
            "  five: {path: /x}\n"
            "  six: {exact: /}\n"
            "  seven: {host: '*.example'}\n"
            "  eight: {}\n".replace("eight: {}", "eight: {path: /}")
        )
        self.assertEqual([text for text in self.warned if "never" in text], [])

    def test_other_protocols_have_none(self) -> None:
        """Only what sees requests has routes and answers."""
        head = SERVERS + "services:\n  s:\n    protocol: smtp\n    listen: 25\n"
        wrongs = self.wrongs("routes: {x: {path: /x}}\nstatus: 404", head)
        self.assertEqual(len(wrongs), 2)
        self.assertIn("routes: protocol 'smtp' has no requests to look at", wrongs[0])

    def test_own_answer_needs_no_backend_port(self) -> None:
        """A service that asks no server may listen on any port."""
        head = SERVERS + "services:\n  s:\n    protocol: http\n    listen: 0\n"
        self.assertIsNotNone(self.routed("redirect: https", head).answer)
        self.assertIn("backend", self.wrongs("retries: 1", head)[0])
