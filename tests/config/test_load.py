"""The file-wide keys, and the reference file."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from exproxy.config import Invalid, load
from exproxy.config.resolve import usual_state_dir
from tests.certificates import ca_file, pem
from tests.config.fakes import fake_catalogue
from tests.config.reading import SERVERS, ReadingTestCase

ETC = Path(__file__).parent.parent.parent / "etc"
REST = f"{SERVERS}services: {{s: {{protocol: tcp, listen: 25}}}}\n"


class FileTests(ReadingTestCase):
    def test_silent_file(self) -> None:
        """Without a word: a secret to be made, records on stdout, no lab, no administration."""
        config = self.config(REST)
        self.assertEqual(config.path, self.folder / "exproxy.yaml")
        self.assertEqual((config.secret, config.access_log, config.event_log), (None, "stdout", None))
        self.assertEqual((config.admin, config.lab, config.warnings), (None, None, ()))
        self.assertEqual(config.state_dir, usual_state_dir())
        self.assertEqual(config.warning_text, "")

    def test_secret(self) -> None:
        """One secret or several, the first of them signs; not too short."""
        long = "0123456789abcdef"
        self.assertEqual(self.config(f"secret: {long}0\n{REST}").secret, (b"0123456789abcdef0",))
        self.write(f"{long}\n", "old")
        config = self.config(f"secret: [{long}x, !file old]\n{REST}")
        self.assertEqual(config.secret, (b"0123456789abcdefx", b"0123456789abcdef"))
        self.assertIn("secret[1]: is too short", self.messages(f"secret: [{long}x, abc]\n{REST}")[0])
        self.assertIn("secret: is empty", self.messages(f"secret: []\n{REST}")[0])
        self.assertIn("secret: must be text, not 5", self.messages(f"secret: 5\n{REST}")[0])

    def test_logs(self) -> None:
        """Logs are stdout, a file beside the configuration, or not wanted."""
        config = self.config(f"access-log: false\nevent-log: events.json\n{REST}")
        self.assertEqual((config.access_log, config.event_log), (None, self.folder / "events.json"))
        self.assertEqual(self.config(f"event-log: stdout\n{REST}").event_log, "stdout")
        self.assertIn("there is no folder", self.messages(f"access-log: nowhere/a.log\n{REST}")[0])
        self.assertIn(
            "must be stdout, a file's path, or false", self.messages(f"access-log: true\n{REST}")[0]
        )

    def test_state_dir(self) -> None:
        """The state folder is relative to the file; the usual one depends on who we are."""
        self.assertEqual(self.config(f"state-dir: state\n{REST}").state_dir, self.folder / "state")
        self.patch(__import__("os"), "geteuid", lambda: 1000)
        self.patch(__import__("os"), "access", lambda *_: False)
        environment = {"HOME": "/home/x", "STATE_DIRECTORY": "/s:/t"}
        self.patch(__import__("os"), "environ", environment)
        self.assertEqual(usual_state_dir(), Path("/s"))
        del environment["STATE_DIRECTORY"]
        self.assertEqual(usual_state_dir(), Path("/home/x/.local/state/exproxy"))
        environment["XDG_STATE_HOME"] = "/xdg"
        self.assertEqual(usual_state_dir(), Path("/xdg/exproxy"))

    def test_lab(self) -> None:
        """The lab's options are its own; without any it has the defaults."""
        config = self.config(f"state-dir: s\nlab:\n{REST}")
        self.assertEqual(config.lab.certificates, self.folder / "s" / "lab")
        self.assertIsNone(self.config(f"lab: {{control: null}}\n{REST}").lab.control)
        self.assertEqual(
            self.messages(f"lab: {{passwrod: x, ports: {{smtp: 99999}}}}\n{REST}"),
            [
                "lab.passwrod: unknown option; did you mean 'password'?",
                "lab.ports.smtp: must be at most 65535, not 99999",
            ],
        )
        self.assertIn(
            "lab: two servers", self.messages(f"lab: {{servers: {{x: 127.0.0.1, y: 127.0.0.1}}}}\n{REST}")[0]
        )

    def test_names(self) -> None:
        """Unknown top-level keys and bad names are told."""
        self.assertEqual(
            self.messages(f"servcies: {{}}\n{REST}"), ["servcies: unknown option; did you mean 'services'?"]
        )
        self.assertIn(
            "a name begins with", self.messages(f"{SERVERS}services: {{_s: {{protocol: tcp, listen: 5}}}}")[0]
        )
        self.assertEqual(
            self.messages(f"{SERVERS}services: {{s: 5}}\n"),
            ["services.s: must be a mapping (key: value), not 5"],
        )
        self.assertIn("services.s: has no value", self.messages(f"{SERVERS}services: {{s: }}\n")[0])

    def test_frozen(self) -> None:
        """Nobody changes a configuration that others rely on."""
        config = self.config(REST)
        with self.assertRaises(TypeError):
            config.servers["x"] = config.servers["a"]  # type: ignore[index]
        with self.assertRaises(AttributeError):
            config.host_name = "x"  # type: ignore[misc]

    def test_path_as_typed(self) -> None:
        """Messages name the file as it was typed; the Config knows where it is."""
        error = self.assertRaises(Invalid, load, "no/such/file.yaml")
        self.assertEqual(
            str(error),
            "no/such/file.yaml:1:1: error: cannot be read: No such file or directory\n"
            "1 error in no/such/file.yaml",
        )


TOKENS = (
    "null",
    "[]",
    "{}",
    "-1",
    "true",
    "x",
    "''",
    "&a",
    "*a",
    "!env X",
    "<<",
    ": ",
    "{",
    "]",
    "\t",
    "443",
)


class MutationTests(ReadingTestCase):
    def mutation(self, random: Random) -> str:
        lines = [line for line in (ETC / "exchange.yaml").read_text().splitlines() if line.strip()[:1] != "#"]
        for _ in range(random.randint(1, 4)):
            index = random.randrange(len(lines))
            line, token, at = lines[index], random.choice(TOKENS), random.randrange(len(lines[index]) + 1)
            kind = random.randrange(4)
            if kind == 0:
                lines.insert(random.randrange(len(lines)), line)
            elif kind == 1:
                lines[index] = line[:at] + token + line[at:]
            elif kind == 2:
                lines[index] = line[:at] + line[at + 3 :]
            else:
                lines[index] = "  " * random.randrange(3) + line.lstrip()
        return "\n".join(lines)

    def test_hundreds_of_broken_files(self) -> None:
        """Whatever happens to a good file, it is read, or refused with errors that have a place."""
        shutil.copy(pem("outlook.litware.com"), self.folder / "outlook.litware.com.pem")
        shutil.copy(ca_file(), self.folder / "ca.pem")
        random = Random(2011)  # the same mutations each time
        refused = 0
        for _ in range(300):
            text = self.mutation(random)
            try:
                self.config(text)
            except Invalid as invalid:
                refused += 1
                lines = len(text.splitlines())
                for problem in invalid.problems:
                    self.assertTrue(1 <= problem.line <= lines + 1, problem)
                    self.assertTrue(problem.message, problem)
        self.assertGreater(refused, 150)


class ReferenceTests(ReadingTestCase):
    def setUp(self) -> None:
        super().setUp()
        shutil.copy(ETC / "exchange.yaml", self.folder)
        shutil.copy(pem("outlook.litware.com"), self.folder / "outlook.litware.com.pem")
        shutil.copy(ca_file(), self.folder / "ca.pem")

    def check(self, catalogue: object) -> None:
        config = load(self.folder / "exchange.yaml", catalogue=catalogue)  # type: ignore[arg-type]
        self.assertEqual(config.warnings, ())
        ports = {service.name: [one.port for one in service.listens] for service in config.services.values()}
        self.assertEqual(
            ports,
            {
                "exchange-https": [443],
                "exchange-epm": [135],
                "exchange-rpc": [59531],
                "exchange-ab": [59532],
                "smtp": [25, 587],
                "imap": [143, 993],
                "pop": [110, 995],
            },
        )
        groups = {service.group for service in config.services.values() if service.group}
        self.assertEqual(groups, {"mapi"})
        https = config.services["exchange-https"]
        self.assertEqual(https.persistence.name, "super-http")
        self.assertEqual(https.target(https.listens[0]).tls_mode, "implicit")
        imap = config.services["imap"]
        self.assertEqual([imap.target(one).tls_mode for one in imap.listens], ["none", "passthrough"])
        self.assertEqual({service.scheduling.name for service in config.services.values()}, {"round-robin"})
        self.assertEqual({service.slow_ramp for service in config.services.values()}, {300.0})

    def test_with_fakes(self) -> None:
        """The reference file is good as it stands, given its certificates."""
        self.check(fake_catalogue())

    def test_with_the_installed_plugins(self) -> None:
        """So it is with the plugins that come with exproxy."""
        self.check(None)

    def test_lab(self) -> None:
        """etc/lab.yaml is good before its lab has ever been started, when there are no certificates."""
        (self.folder / "etc").mkdir()
        shutil.copy(ETC / "lab.yaml", self.folder / "etc")
        config = load(self.folder / "etc" / "lab.yaml")
        self.assertEqual(config.warning_text, "")
        self.assertEqual(set(config.servers), set(config.lab.servers))

    def test_schema_line(self) -> None:
        """Every configuration in etc/ names the schema in its first line."""
        for path in ETC.glob("*.yaml"):
            first = path.read_text().splitlines()[0]
            self.assertEqual(first, "# yaml-language-server: $schema=exproxy.schema.json", path.name)
