"""Templates: what they give, how a file overrides them, and where its errors are shown."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from exproxy.config import Config, Invalid, load
from exproxy.config.nodes import read
from exproxy.config.rendering import rendered
from exproxy.config.templates import NAMES, apply, path_of
from tests.certificates import pem

START = "servers: {ex1: 192.0.2.1, ex2: 192.0.2.2}\ndefaults: {certificate: mail.pem}\n"
NEWER = tuple(name for name in NAMES if name != "exchange-2010")
DIRECTORIES = (
    "/owa",
    "/ecp",
    "/ews",
    "/oab",
    "/Microsoft-Server-ActiveSync",
    "/rpc",
    "/autodiscover",
    "/powershell",
)


class Folder(SynchronousTestCase):
    """A folder for files that begin with a template."""

    def setUp(self) -> None:
        """With a certificate in it."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-templates-")
        self.addCleanup(holder.cleanup)
        self.file = Path(holder.name, "exproxy.yaml")
        Path(holder.name, "mail.pem").write_bytes(pem("mail.example.org").read_bytes())

    def write(self, text: str) -> Path:
        """The file with that text."""
        self.file.write_text(text, "utf-8")
        return self.file

    def config(self, text: str, name: str = "exchange-2016") -> Config:
        """What it means."""
        return load(self.write(f"template: {name}\n{text}"), host_name="lb.example.org")

    def wrong(self, text: str, name: str = "exchange-2016") -> Invalid:
        """What is wrong with it."""
        with self.assertRaises(Invalid) as caught:
            self.config(text, name)
        invalid: Invalid = caught.exception
        return invalid

    def merged(self, text: str, name: str = "exchange-2016") -> Any:
        """The values after the merge."""
        document = read(self.write(f"template: {name}\n{text}"))
        apply(document)
        return document.data


class ValuesTests(Folder):
    """What the templates give."""

    def route(self, config: Config, path: str) -> Any:
        """The route of that directory."""
        [found] = [route for route in config.services["https"].routes if path in route.route.paths]
        return found

    def test_names(self) -> None:
        """Every name has its file, and every file its name."""
        self.assertEqual({path.stem for path in path_of("x").parent.glob("*.yaml")}, set(NAMES))

    def test_all_load(self) -> None:
        """Servers and a certificate are all that each of them needs; nothing is doubtful."""
        for name in NAMES:
            config = self.config(START, name)
            self.assertEqual(config.warning_text, "", name)
            for directory in DIRECTORIES:
                self.route(config, directory)

    def test_ports(self) -> None:
        """HTTPS with a redirect before it, mail, and in 2010 the three ports of RPC."""
        for name in NAMES:
            ports = {
                one.port for service in self.config(START, name).services.values() for one in service.listens
            }
            rpc = {135, 59531, 59532} if name == "exchange-2010" else set()
            self.assertEqual(ports, {80, 443, 25, 587, 143, 993, 110, 995} | rpc)

    def test_2010(self) -> None:
        """Affinity everywhere it is needed, and checks that a login prompt answers."""
        config = self.config(START, "exchange-2010")
        https = config.services["https"]
        by_path = {each.route.paths[0]: each.persistence.name for each in https.routes if each.route.paths}
        nothing = {path for path, persistence in by_path.items() if persistence == "none"}
        self.assertEqual(nothing, {"/oab", "/autodiscover"})
        self.assertEqual(self.route(config, "/ews").persistence.options.timeout, 45 * 60.0)
        self.assertEqual(self.route(config, "/owa").check.options.status, (200, 301, 302, 401))
        self.assertIs(self.route(config, "/owa"), self.route(config, "/ecp"))
        for name in ("epm", "rpc", "ab"):
            service = config.services[name]
            self.assertEqual((service.persistence.name, service.group), ("rpc-association", "mapi"))
            self.assertGreaterEqual(service.timeouts.idle, 7200.0)
        self.assertEqual(config.groups["mapi"].timeout, 7200.0)

    def test_2013_and_later(self) -> None:
        """No affinity but the one that EWS asks for; each directory's own health page."""
        for name in NEWER:
            config = self.config(START, name)
            for route in config.services["https"].routes:
                if route.route.answer is not None:
                    continue
                ews = "/ews" in route.route.paths
                self.assertEqual(route.persistence.name, "server-cookie" if ews else "none")
                self.assertEqual(route.check.options.path, f"{route.route.paths[0]}/healthcheck.htm")
            self.route(config, "/mapi")
            self.assertEqual(config.groups, {})

    def test_waits(self) -> None:
        """OWA may be silent for 11 minutes, the others for as long as their protocols wait."""
        for name in NAMES:
            config = self.config(START, name)
            self.assertEqual(self.route(config, "/owa").route.timeouts.idle, 660.0)
            self.assertGreaterEqual(self.route(config, "/ews").route.timeouts.idle, 1800.0)
            self.assertEqual(self.route(config, "/Microsoft-Server-ActiveSync").route.timeouts.idle, 1800.0)
            self.assertGreater(
                self.route(config, "/Microsoft-Server-ActiveSync").route.timeouts.answer, 35 * 60.0
            )
            for wait in ("idle", "tunnel"):
                self.assertGreater(getattr(self.route(config, "/rpc").route.timeouts, wait), 900.0)
            for mail in ("imap", "pop"):
                self.assertEqual(config.services[mail].timeouts.idle, 3600.0)
            for service in config.services.values():
                self.assertEqual((service.scheduling.name, service.slow_ramp), ("round-robin", 300.0))


class OverridingTests(Folder):
    """Key by key."""

    def test_one_key(self) -> None:
        """A key of the file counts, its neighbours stay."""
        config = self.config(START + "services: {imap: {timeouts: {idle: 2h}}, pop: {listen: 110}}\n")
        imap = config.services["imap"]
        self.assertEqual((imap.timeouts.idle, [one.port for one in imap.listens]), (7200.0, [143, 993]))
        self.assertEqual([one.port for one in config.services["pop"].listens], [110])

    def test_defaults(self) -> None:
        """Sections are merged too."""
        service = self.config(START + "  \ngroups: {}\n").services["smtp"]
        self.assertEqual((service.slow_ramp, len(service.certificates)), (300.0, 1))

    def test_options_of_the_same_plugin(self) -> None:
        """Options are merged where the plugin is the same."""
        text = "services: {https: {routes: {owa: {check: {http: {status: [200, 401]}}}}}}\n"
        route = self.merged(START + text)["services"]["https"]["routes"]["owa"]
        self.assertEqual(route["check"], {"http": {"status": [200, 401], "path": "/owa/healthcheck.htm"}})

    def test_another_plugin(self) -> None:
        """Another plugin, or the same without options, has none of the template's options."""
        for written, meant in (("{tls: {}}", {"tls": {}}), ("connect", "connect"), ("http", "http")):
            text = f"services: {{https: {{routes: {{owa: {{check: {written}}}}}}}}}\n"
            self.assertEqual(self.merged(START + text)["services"]["https"]["routes"]["owa"]["check"], meant)

    def test_lists(self) -> None:
        """A list is replaced as a whole."""
        text = "services: {https: {routes: {owa: {path: /owa}}}}\n"
        self.assertEqual(self.merged(START + text)["services"]["https"]["routes"]["owa"]["path"], "/owa")

    def test_taking_out(self) -> None:
        """~ and null take out what the template has."""
        config = self.config(
            START + "services:\n  pop: null\n  imap: ~\n  https: {routes: {powershell: ~}}\n"
        )
        self.assertEqual(set(config.services), {"http", "https", "smtp"})
        self.assertNotIn("powershell", [each.route.name for each in config.services["https"].routes])

    def test_empty_sections(self) -> None:
        """A section whose entries were all commented out overrides nothing."""
        self.assertIn("imap", self.config(START + "services:\n").services)
        self.assertEqual(
            self.config(START + "groups:\n  mapi:\n", "exchange-2010").groups["mapi"].timeout, 7200.0
        )

    def test_nothing_is_no_word(self) -> None:
        """A key whose lines were all commented out takes nothing away unseen: it is an error."""
        [problem] = self.wrong(START + "services:\n  pop:\n  # listen: 110\n").problems
        self.assertEqual((problem.where, problem.line), ("services.pop", 5))
        self.assertIn("has no value", problem.message)

    def test_own_routes_come_first(self) -> None:
        """Routes of the file are asked before the template's, which keep their order."""
        routes = (
            "{outside: {path: /ecp, deny: 0.0.0.0/0}, ews: {slow-ramp: 1m}, last: {path: /x, status: 410}}"
        )
        config = self.config(START + f"services: {{https: {{routes: {routes}}}}}\n")
        names = [each.route.name for each in config.services["https"].routes]
        self.assertEqual(names[:4], ["outside", "last", "root", "owa"])
        plain = [each.route.name for each in self.config(START).services["https"].routes]
        self.assertEqual(names[2:], plain)

    def test_a_route_that_answers_itself(self) -> None:
        """A route that no longer leads to servers keeps what it matches only."""
        config = self.config(START + "services: {https: {routes: {owa: {status: 404, text: closed}}}}\n")
        [owa] = [route for route in config.services["https"].routes if route.route.name == "owa"]
        self.assertEqual(owa.route.paths, ("/owa", "/ecp"))
        self.assertIsNotNone(owa.route.answer)

    def test_more(self) -> None:
        """The file has services of its own beside the template's."""
        config = self.config(START + "services: {ldap: {protocol: tcp, listen: 389}}\n")
        self.assertLess({"ldap", "https"}, set(config.services))


class ErrorsTests(Folder):
    """An error is shown where the administrator can mend it."""

    def test_the_file_s_own_key(self) -> None:
        """A wrong value in the midst of a template's section is shown at its own place."""
        text = START + "services:\n  https:\n    routes:\n      owa:\n        timeouts: {idle: 5}\n"
        [problem] = self.wrong(text).problems
        self.assertEqual((problem.line, problem.column), (8, 26))
        self.assertEqual(problem.where, "services.https.routes.owa.timeouts.idle")

    def test_a_misspelt_key(self) -> None:
        """An unknown key is underlined itself."""
        [problem] = self.wrong(START + "services:\n  imap:\n    lisen: 143\n").problems
        self.assertEqual((problem.line, problem.column, problem.width), (6, 5, 5))
        self.assertIn("did you mean 'listen'?", problem.message)

    def test_what_the_file_leaves_out(self) -> None:
        """What a template's service lacks is told in the line of `template:`, with the whole path."""
        invalid = self.wrong("servers: {ex1: 192.0.2.1}\n")
        [problem] = [each for each in invalid.problems if "certificate" in each.message]
        self.assertEqual((problem.line, problem.where[:14]), (1, "services.https"))

    def test_where_file_and_template_meet(self) -> None:
        """A value of the file that does not go with the template's is shown in the file."""
        [problem] = self.wrong(START + "services:\n  imap: {persistence: super-http}\n").problems
        self.assertEqual((problem.line, problem.column), (5, 23))
        self.assertIn("'imap'", problem.message)

    def test_clash_with_the_template(self) -> None:
        """A port that the template has already is told of."""
        invalid = self.wrong(START + "services: {other: {protocol: tcp, listen: 143}}\n")
        self.assertEqual(len(invalid.problems), 1)
        self.assertIn("143", invalid.problems[0].message)

    def test_unknown_template(self) -> None:
        """A misspelt name is told with the nearest one, at its place."""
        problem = self.wrong(START, "exchange-2015").problems[0]
        self.assertEqual((problem.line, problem.column, problem.where), (1, 11, "template"))
        self.assertIn("did you mean 'exchange-201", problem.message)
        for name in ("[exchange-2016]", "{a: 1}", "2016", ""):
            self.assertIn("template", [each.where for each in self.wrong(START, name).problems], name)


class SpotsTests(Folder):
    """Where everything stands."""

    def paths(self, value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
        """Every path below a value."""
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, each in inner:
            yield (*where, key)
            yield from self.paths(each, (*where, key))

    def test_everything_has_a_place(self) -> None:
        """Each value has one in the file: its own, or the line of `template:`; nothing taken out has."""
        for name in NAMES:
            text = f"{START}services: {{pop: ~, imap: {{listen: [143]}}}}\ntemplate: {name}\n"
            document = read(self.write(text))
            apply(document)
            paths = set(self.paths(document.data))
            self.assertEqual(paths - set(document.values), set())
            self.assertEqual({path for path in document.values if path[:2] == ("services", "pop")}, set())
            lines = {path: document.values[path].line for path in paths}
            self.assertEqual(lines["services", "imap", "listen", 0], 3)
            self.assertEqual(lines["services", "imap", "timeouts", "idle"], 4)
            self.assertEqual(lines["services", "https", "routes", "ews", "path"], 4)


class RenderingTests(Folder):
    """The result as a file."""

    def test_means_the_same(self) -> None:
        """What is printed means what the file with its template means."""
        for name in NAMES:
            text = START + "services: {pop: ~, smtp: {listen: [25]}}\nhost-name: 'off'\naccess-log: '1e3'\n"
            config = self.config(text, name)
            again = load(self.write(rendered(self.file)), host_name="lb.example.org")
            self.assertEqual(
                (again.services, again.groups, again.servers),
                (config.services, config.groups, config.servers),
            )
            self.assertEqual((again.host_name, again.access_log), (config.host_name, config.access_log))

    def test_secrets_stay_where_they_are(self) -> None:
        """What !env and !file give is not printed, the tags are."""
        Path(self.file.parent, "secret").write_text("s" * 40)
        text = rendered(self.write(f"template: exchange-se\nsecret: [!file secret]\n{START}"))
        self.assertIn("!file 'secret'", text)
        self.assertNotIn("sss", text)
        load(self.write(text), host_name="lb.example.org")

    def test_no_template(self) -> None:
        """A file without a template is printed as it is."""
        text = rendered(self.write("servers: {a: 192.0.2.1}\nservices: {s: {protocol: tcp, listen: 25}}\n"))
        self.assertEqual(
            yaml.safe_load(text),
            {"servers": {"a": "192.0.2.1"}, "services": {"s": {"protocol": "tcp", "listen": 25}}},
        )

    def test_no_yaml(self) -> None:
        """What cannot be read is an error with its place."""
        for text in ("a: [", "a: 1\na: 2\n", "[]"):
            with self.assertRaises(Invalid):
                rendered(self.write(text))
