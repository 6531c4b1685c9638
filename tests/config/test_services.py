"""Services: what is merged from where, and what must fit together."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from zope.interface.verify import verifyObject

from exproxy.config import BackendConfig, Target
from exproxy.interfaces import IDefaulting, IProtocolPlugin
from exproxy.model import TLSOptions
from exproxy.plugins import NoOptions, Options
from exproxy.protocol import Protocol as Record
from exproxy.settings import HealthSettings, Limits, Networks, TcpOptions, Timeouts, WhenFull
from tests.config.fakes import Protocol
from tests.config.reading import SERVERS, ReadingTestCase


class Mapped(BaseModel):
    """Options of a protocol that may ask for ports."""

    mapper: int | None = None


class Spelled(Options):
    """Options of which one has two words."""

    first_word: int = 1


class SpellingTests(ReadingTestCase):
    def test_options_have_one_spelling(self) -> None:
        """The name that an option has in the code is no name in a file."""
        record = Record("told", "", Any, options=Spelled)
        told = self.wrong("{protocol: {told: {first_word: 3}}, listen: 25}", (IProtocolPlugin, record))
        self.assertEqual(told, ["protocol.told.first_word: unknown option; did you mean 'first-word'?"])


class DefaultsTests(ReadingTestCase):
    def test_silent_file(self) -> None:
        """Where nobody says anything, the built-in defaults hold."""
        service = self.service("{protocol: tcp, listen: 25}")
        self.assertEqual(service.servers, ("a", "b"))
        self.assertEqual(service.persistence.name, "none")
        self.assertEqual(service.scheduling.name, "round-robin")
        self.assertEqual(service.check.name, "connect")
        self.assertEqual(service.group, None)
        self.assertEqual(service.health, HealthSettings())
        self.assertEqual(service.timeouts, Timeouts())
        self.assertEqual(service.limits, Limits())
        self.assertEqual(service.tcp, TcpOptions())
        self.assertEqual(service.backend, BackendConfig())
        self.assertEqual(service.when_full, WhenFull("next"))
        self.assertEqual((service.on_down, service.drain, service.slow_ramp), ("keep", "keep", 0.0))
        self.assertEqual((service.allow, service.deny), (None, None))
        self.assertEqual((service.retries, service.name_ttl), (3, 60.0))
        self.assertEqual(service.host_name, "lb.test")
        self.assertEqual(service.trusted_proxies, Networks())

    def test_protocol_then_defaults_then_service(self) -> None:
        """The protocol's word is weaker than `defaults:`, that is weaker than the service's."""
        config = self.config(
            f"""\
            {SERVERS}
            defaults: {{timeouts: {{idle: 5m, connect: 2s}}, check: connect, slow-ramp: 10s}}
            services:
              plain: {{protocol: imap, listen: 143, timeouts: {{connect: 1s}}}}
              said: {{protocol: imap, listen: 1143, check: http, slow-ramp: 0s, timeouts: {{idle: 1m}}}}
            """
        )
        plain, said = config.services["plain"], config.services["said"]
        self.assertEqual(plain.timeouts, Timeouts(idle=300.0, connect=1.0))
        self.assertEqual((plain.check.name, plain.slow_ramp), ("connect", 10.0))
        self.assertEqual(said.timeouts, Timeouts(idle=60.0, connect=2.0))
        self.assertEqual((said.check.name, said.slow_ramp), ("http", 0.0))

    def test_protocol_alone(self) -> None:
        """A protocol's own defaults hold where the file is silent."""
        self.assertEqual(self.service("{protocol: imap, listen: 143}").timeouts.idle, 1860.0)
        self.assertEqual(self.service("{protocol: imap, listen: 143}").check.name, "imap")
        self.assertEqual(self.service("{protocol: rpc, listen: 135}").on_down, "cut")

    def test_protocol_with_wrong_defaults(self) -> None:
        """A plugin whose own defaults are wrong is told as that, at its name."""
        plugin = Protocol("odd", defaults={"timeouts": {"idel": "5s"}})
        self.assertEqual(
            self.wrong("{protocol: odd, listen: 5}", (IProtocolPlugin, plugin)),
            [
                "protocol: the plugin's own defaults are wrong (unknown option; did you mean 'idle'?); "
                "tell its author"
            ],
        )

    def test_everything_written(self) -> None:
        """Every key of a service arrives where it belongs, in base units."""
        service = self.service(
            "{protocol: {http: {routes: {owa: {prefix: /owa/}}}}, listen: 80, servers: b,"
            " persistence: {source-ip: {mask: 24, timeout: 1h}}, scheduling: least-connections,"
            " check: {http: {path: /x, status: [200, 401]}}, health: {interval: 10s, timeout: 2s, rise: 1},"
            " timeouts: {request-head: 500ms}, limits: {max-held: 1m, per-source: 5}, tcp: {keepalive: 0},"
            " slow-ramp: 2m, when-full: wait 5s, on-down: cut, drain: move, allow: 10.0.0.0/8,"
            " deny: [10.1.0.0/16, '::1'],"
            " retries: 0, name-ttl: 5m, host-name: Mail.Example, trusted-proxies: 192.0.2.1}"
        )
        self.assertEqual(service.protocol.options.routes["owa"].prefix, "/owa/")
        self.assertEqual(service.servers, ("b",))
        self.assertEqual(
            (service.persistence.options.mask, service.persistence.options.timeout), (24, 3600.0)
        )
        self.assertEqual(service.scheduling.name, "least-connections")
        self.assertEqual(service.check.options.status, (200, 401))
        self.assertEqual(service.health, HealthSettings(10.0, 2.0, 1, 3))
        self.assertEqual(service.timeouts.request_head, 0.5)
        self.assertEqual((service.limits.max_held, service.limits.per_source), (1024**2, 5))
        self.assertEqual(service.tcp, TcpOptions(0.0, 30.0))
        self.assertEqual((service.slow_ramp, service.name_ttl, service.retries), (120.0, 300.0, 0))
        self.assertEqual((service.when_full, service.on_down), (WhenFull("wait", 5.0), "cut"))
        self.assertEqual(service.drain, "move")
        self.assertEqual(service.allow, Networks.parse(["10.0.0.0/8"]))
        self.assertEqual(service.deny, Networks.parse(["10.1.0.0/16", "::1"]))
        self.assertEqual(service.host_name, "mail.example")
        self.assertIn("192.0.2.1", service.trusted_proxies)

    def test_file_wide_words(self) -> None:
        """The host name and the trusted proxies of the file hold for services that name none."""
        config = self.config(
            f"{SERVERS}host-name: lb.example\ntrusted-proxies: [10.0.0.0/8]\n"
            "services: {s: {protocol: tcp, listen: 5}}\n"
        )
        self.assertEqual(config.host_name, "lb.example")
        self.assertEqual(config.services["s"].host_name, "lb.example")
        self.assertEqual(config.services["s"].trusted_proxies, Networks.parse(["10.0.0.0/8"]))


class FittingTests(ReadingTestCase):
    def test_needed_keys(self) -> None:
        """A service without protocol or listen is told so, once."""
        self.assertEqual(self.wrong("{}"), [": 'protocol' is missing", ": 'listen' is missing"])
        self.assertEqual(
            self.wrong("{protocol: tcp, listen: []}"), ["listen: is empty; name at least one port"]
        )
        self.assertEqual(
            self.wrong("{protocol: , listen: 5}"),
            ["protocol: has no value; give it one or remove the key"],
        )

    def test_facts(self) -> None:
        """A persistence whose facts the protocol does not give is refused, naming both."""
        self.assertEqual(
            self.wrong("{protocol: imap, listen: 143, persistence: super-http}"),
            [
                "persistence: persistence 'super-http' needs Head, which protocol 'imap' does not give; "
                "choose another, such as source-ip"
            ],
        )
        self.assertEqual(
            self.service("{protocol: http, listen: 80, persistence: super-http}").persistence.name,
            "super-http",
        )

    def test_facts_from_defaults(self) -> None:
        """The same from `defaults:` is told there."""
        self.assertEqual(
            self.messages(
                f"{SERVERS}defaults: {{persistence: super-http}}\n"
                "services: {s: {protocol: imap, listen: 5}}"
            ),
            [
                "defaults.persistence: persistence 'super-http' needs Head, which protocol 'imap' does not "
                "give; choose another, such as source-ip"
            ],
        )

    def test_health(self) -> None:
        """A check must be over before the next begins."""
        self.assertEqual(
            self.wrong("{protocol: tcp, listen: 5, health: {interval: 2s}}"),
            ["health: timeout (3s) must not be longer than interval (2s)"],
        )

    def test_choices(self) -> None:
        """A plugin is a name or one name with a mapping of options."""
        text = "{protocol: tcp, listen: 5, scheduling: %s}"
        for written, word in (
            ("5", "must be a name, or {name: {option: value}}"),
            ("{}", "must be a name, or {name: {option: value}}"),
            ("{a: {}, b: {}}", "names exactly one: its options stand one level deeper"),
            ("{random: 5}", "the options of 'random' must be a mapping"),
            ("[random]", "must be a name, or"),
        ):
            (message,) = self.wrong(text % written)
            self.assertIn(word, message)

    def test_grammar(self) -> None:
        """Small languages tell what they expect."""
        for written, word in (
            ("when-full: waits", "when-full: must be next, refuse or wait with a duration (wait 5s)"),
            ("when-full: wait 5", "when-full: a duration needs a unit: 5s or 5m?"),
            ("when-full: wait 0s", "when-full: must wait longer than 0"),
            ("on-down: kill", "on-down: must be 'keep' or 'cut', not 'kill'"),
            ("drain: shove", "drain: must be 'keep' or 'move', not 'shove'"),
            ("retries: 50", "retries: must be at most 20, not 50"),
            ("retries: true", "retries: must be a whole number, not true"),
            ("retries: '3'", "retries: must be a whole number, not '3'"),
            ("slow-ramp: -5s", "slow-ramp: '-5s' is no duration"),
            ("limits: {head: 0}", "limits.head: must be at least 1"),
            ("limits: {head: big}", "limits.head: 'big' is no size"),
            ("limits: 5", "limits: must be a mapping (key: value), not 5"),
            ("allow: [10.0.0.0/8, ten]", "allow[1]: 'ten' is no IP address or network"),
            ("host-name: 'a b'", "host-name: 'a b' is no IP address or host name"),
            ("servers: []", "servers: is empty"),
        ):
            found = self.wrong(f"{{protocol: tcp, listen: 5, {written}}}")
            self.assertEqual(len(found), 1, found)
            self.assertIn(word, found[0])


class BackendTests(ReadingTestCase):
    def targets(self, text: str) -> list[tuple[int, str, TLSOptions | None]]:
        service = self.service(text)
        targets = [service.target(listen) for listen in service.listens]
        return [(target.port, target.tls_mode, target.tls) for target in targets]

    def test_follows_the_listening_port(self) -> None:
        """Without a word the port and the TLS are those of the listening port."""
        self.assertEqual(
            self.targets("{protocol: imap, listen: [143, 993]}"),
            [(143, "none", None), (993, "passthrough", None)],
        )

    def test_port(self) -> None:
        """The servers' port may be another one."""
        self.assertEqual(
            self.targets("{protocol: imap, listen: 143, backend: {port: 1143}}"), [(1143, "none", None)]
        )

    def test_mode(self) -> None:
        """TLS to the servers may be asked for, or not wanted."""
        self.assertEqual(
            self.targets("{protocol: http, listen: 80, backend: {port: 443, tls: true}}"),
            [(443, "implicit", TLSOptions())],
        )
        self.assertEqual(
            self.targets(
                "{protocol: http, listen: 80, backend: {tls: {mode: implicit, verify: none, "
                "server-name: mail.example, legacy: true}}}"
            ),
            [(80, "implicit", TLSOptions("none", "mail.example", True))],
        )
        self.assertEqual(
            self.targets("{protocol: http, listen: 80, backend: {tls: false}}"), [(80, "none", None)]
        )

    def test_defaults_and_service(self) -> None:
        """`tls:` is put together key by key, and one's own words lift a general false."""
        text = (
            f"{SERVERS}defaults: {{backend: {{tls: %s}}}}\n"
            "services: {s: {protocol: http, listen: 80, %s}}\n"
        )
        config = self.config(text % ("{verify: none}", "backend: {tls: {mode: implicit}}"))
        self.assertEqual(
            config.services["s"].backend, BackendConfig(None, "implicit", TLSOptions("none"), True)
        )
        config = self.config(text % ("false", "backend: {tls: {mode: implicit}}"))
        self.assertEqual(config.services["s"].backend.tls_mode, "implicit")
        config = self.config(text % ("{verify: none}", "retries: 1"))
        self.assertEqual(config.services["s"].backend.tls_mode, "follow")
        config = self.config(text % ("true", "backend: {tls: false}"))
        self.assertEqual(config.services["s"].backend.tls_mode, "none")

    def test_contradictions(self) -> None:
        """What cannot be together is refused."""
        for text, word in (
            (
                "{protocol: imap, listen: 993, backend: {tls: true}}",
                "backend.tls: port 993 passes the clients' TLS through, so its backend cannot have mode",
            ),
            (
                "{protocol: imap, listen: 143, backend: {tls: {mode: passthrough}}}",
                "backend.tls.mode: there is no client's TLS to pass through: port 143 has tls 'none'",
            ),
            (
                "{protocol: imap, listen: 143, backend: {tls: {verify: none}}}",
                "backend.tls: says how to speak TLS, but the listening ports are plain",
            ),
            ("{protocol: imap, listen: 0}", "listen: listens on any free port, so"),
            ("{protocol: imap, listen: 143, backend: {port: 0}}", "backend.port: must be at least 1"),
            (
                "{protocol: imap, listen: 143, backend: {tls: yes}}",
                "backend.tls: must be true, false or a mapping",
            ),
            (
                "{protocol: imap, listen: 143, backend: {tls: {mode: starttls}}}",
                "backend.tls.mode: starttls is a word of smtp, imap and pop",
            ),
        ):
            found = self.wrong(text)
            self.assertEqual(len(found), 1, found)
            self.assertIn(word, found[0])


class DefaultsOfOptionsTests(ReadingTestCase):
    """A protocol whose defaults depend on its options."""

    def setUp(self) -> None:
        super().setUp()

        def defaults(options: Mapped) -> dict[str, object]:
            return {"check": "imap", "timeouts": {"idle": "1h"}} if options.mapper else {}

        silent = {"check": "smtp", "on-down": "cut", "timeouts": {"connect": "1s"}}
        record = Record("map", "", Any, options=Mapped, defaults=silent, defaults_for=defaults)
        self.map = (IProtocolPlugin, record)

    def test_merged(self) -> None:
        """They stand over the other defaults, each key as a whole; the file is stronger than both."""
        service = self.service("{protocol: {map: {mapper: 135}}, listen: 6001}", self.map)
        self.assertEqual((service.check.name, service.on_down), ("imap", "cut"))
        self.assertEqual(service.timeouts, Timeouts(idle=3600.0))
        service = self.service("{protocol: {map: {mapper: 135}}, listen: 6001, check: connect}", self.map)
        self.assertEqual(service.check.name, "connect")

    def test_nothing(self) -> None:
        """Where the options mean nothing the others hold."""
        service = self.service("{protocol: map, listen: 6001}", self.map)
        self.assertEqual((service.check.name, service.timeouts), ("smtp", Timeouts(connect=1.0)))

    def test_interface(self) -> None:
        """A Protocol has none but where it is given some."""
        plain = Record("x", "", Any)
        self.assertTrue(verifyObject(IDefaulting, plain))
        self.assertEqual(plain.defaults_of(NoOptions()), {})

    def test_wrong(self) -> None:
        """What is wrong with them is told as the plugin's own mistake."""
        record = Record("odd", "", Any, defaults_for=lambda options: {"timeouts": {"idel": "5s"}})
        [wrong] = self.wrong("{protocol: odd, listen: 25}", (IProtocolPlugin, record))
        self.assertIn("the plugin's own defaults are wrong", wrong)


class LocatorTests(ReadingTestCase):
    """Servers that are asked for their ports: a protocol that knows how, for some of its options."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Any] = []
        record = Record("map", "", Any, options=Mapped, locate=lambda o: self.asked.append(o) or o.mapper)
        self.map = (IProtocolPlugin, record)

    def test_located(self) -> None:
        """Where the protocol knows what to ask, all listening ports lead to ports that are learnt."""
        service = self.service("{protocol: {map: {mapper: 135}}, listen: [6001, 0, 6002]}", self.map)
        self.assertEqual(service.locator, 135)
        self.assertEqual({service.target(each) for each in service.listens}, {Target(0, "none", None)})

    def test_port_written(self) -> None:
        """A port that is written is not asked for, whoever writes it."""
        text = "{protocol: {map: {mapper: 135}}, listen: [6001, 0], backend: {port: 6001}}"
        service = self.service(text, self.map)
        self.assertEqual((service.locator, service.target(service.listens[1]).port), (None, 6001))
        config = self.config(
            f"""\
            {SERVERS}
            defaults: {{backend: {{port: 6001}}}}
            services: {{s: {{protocol: {{map: {{mapper: 135}}}}, listen: 6001}}}}
            """,
            self.map,
        )
        self.assertEqual((config.services["s"].locator, self.asked), (None, []))

    def test_nothing_to_ask(self) -> None:
        """With options that need no question it is the listening port, and 0 is none."""
        service = self.service("{protocol: map, listen: 6001}", self.map)
        self.assertEqual((service.locator, service.target(service.listens[0]).port), (None, 6001))
        [wrong] = self.wrong("{protocol: map, listen: 0}", self.map)
        self.assertIn("listens on any free port", wrong)
