"""Servers, groups, and who belongs to whom."""

from __future__ import annotations

from exproxy.config import GroupConfig, ServerConfig
from tests.config.reading import SERVERS, ReadingTestCase

ONE = "services: {s: {protocol: tcp, listen: 25}}\n"


class ServerTests(ReadingTestCase):
    def wrong_servers(self, servers: str) -> list[str]:
        return self.messages(f"servers: {servers}\n{ONE}")

    def test_forms(self) -> None:
        """A server is an address, or a mapping with more; host names are folded."""
        config = self.config(
            "servers: {a: 192.0.2.1, b: Ex2.Litware.com., c: {address: '[2001:DB8::1]', weight: 0, limit: 5, "
            f"backup: true}}}}\n{ONE}"
        )
        self.assertEqual(
            list(config.servers.values()),
            [
                ServerConfig("a", "192.0.2.1"),
                ServerConfig("b", "ex2.litware.com"),
                ServerConfig("c", "2001:db8::1", 0, 5, True),
            ],
        )

    def test_wrong(self) -> None:
        """What is no server is told in its place."""
        for servers, message in (
            ("{a: 192.0.2.300}", "servers.a: '192.0.2.300' is no IP address"),
            ("{a: 5}", "servers.a: must be a mapping (key: value), not 5"),
            (
                "{a: 'ex1:25'}",
                "servers.a: 'ex1:25' is no IP address or host name; a port belongs into a service's",
            ),
            ("{a: -ex}", "servers.a: '-ex' is no IP address or host name"),
            ("{a: {}}", "servers.a: 'address' is missing"),
            ("{a: {adress: 192.0.2.1}}", "servers.a.adress: unknown option; did you mean 'address'?"),
            ("{a: {address: x, weight: 257}}", "servers.a.weight: must be at most 256, not 257"),
            ("{a: {address: x, weight: -1}}", "servers.a.weight: must be at least 0, not -1"),
            ("{a: {address: x, limit: 0}}", "servers.a.limit: must be at least 1, not 0"),
            ("{a: {address: x, backup: yes}}", "servers.a.backup: must be true or false, not 'yes'"),
            ("{a b: x}", "servers.a b: a name begins with a letter or digit"),
            ("[a]", "servers: must be a mapping (key: value)"),
            ("{}", "servers: is empty: there must be at least one of them"),
            ("", "servers: is empty: there must be at least one of them"),
            ("{a: }", "servers.a: has no value; give it one or remove the key"),
        ):
            found = self.wrong_servers(servers)
            self.assertEqual(len(found), 1, found)
            self.assertTrue(found[0].startswith(message), found)

    def test_without(self) -> None:
        """A file without servers or services is told so."""
        self.assertEqual(
            self.messages("host-name: x\n"),
            [
                ": `servers:` is missing: there must be at least one of them",
                ": `services:` is missing: there must be at least one of them",
            ],
        )

    def test_chosen(self) -> None:
        """A service's servers keep the order of `servers:`; one name need not be a list."""
        self.assertEqual(self.service("{protocol: tcp, listen: 25, servers: [b, a]}").servers, ("a", "b"))
        self.assertEqual(self.service("{protocol: tcp, listen: 25, servers: b}").servers, ("b",))

    def test_wrong_choice(self) -> None:
        """Unknown and repeated names are told."""
        self.assertEqual(
            self.wrong("{protocol: tcp, listen: 25, servers: [a, ax, a]}"),
            ["servers[1]: unknown server 'ax'; did you mean 'a'?", "servers[2]: server 'a' is named twice"],
        )

    def test_of_no_use(self) -> None:
        """Backup servers only, or weight 0 only, is a warning."""
        self.assertIn("has backup servers only", self.wrong_servers("{a: {address: x, backup: true}}")[0])
        self.assertIn("has servers of weight 0 only", self.wrong_servers("{a: {address: x, weight: 0}}")[0])


class GroupTests(ReadingTestCase):
    def text(self, first: str = "", second: str = "", group: str = "mapi") -> str:
        persistence = f"persistence: {{source-ip: {{mask: 24, group: {group}}}}}"
        return (
            f"{SERVERS}groups: {{mapi: {{timeout: 1h, on-move: cut}}}}\nservices:\n"
            f"  epm: {{protocol: epm, listen: 135, {persistence}{first}}}\n"
            f"  rpc: {{protocol: rpc, listen: 136, {persistence}{second}}}\n"
        )

    def test_good(self) -> None:
        """Services share a group; the persistence itself does not hear of it."""
        config = self.config(self.text())
        self.assertEqual(config.groups["mapi"], GroupConfig("mapi", 3600.0, 100_000, "cut"))
        self.assertEqual([service.group for service in config.services.values()], ["mapi", "mapi"])
        self.assertEqual(config.services["epm"].persistence.options.mask, 24)
        self.assertEqual(config.warnings, ())

    def test_defaults(self) -> None:
        """A group may be named without anything, and then has the defaults."""
        config = self.config(self.text().replace("{timeout: 1h, on-move: cut}", ""))
        self.assertEqual(config.groups["mapi"], GroupConfig("mapi", 7200.0, 100_000, "keep"))

    def test_different_servers(self) -> None:
        """The services of a group must have the same servers."""
        self.assertEqual(
            self.messages(self.text(second=", servers: [a]")),
            [
                "services.rpc.persistence.source-ip.group: the services of group 'mapi' must have the same "
                "servers: 'epm' has a, b, 'rpc' has a"
            ],
        )
        self.assertEqual(self.messages(self.text(", servers: [b, a]", ", servers: [a, b]")), [])

    def test_different_options(self) -> None:
        """Two masks in one group is a warning: what one service remembers the other does not find."""
        text = self.text().replace("mask: 24", "mask: 16", 1)
        [warning] = self.config(text).warnings
        self.assertIn("with other options of source-ip", warning.message)

    def test_unknown(self) -> None:
        """An unknown group is told; and that nobody uses the other one."""
        found = self.messages(self.text(group="mapo"))
        self.assertIn("groups.mapi: no service uses this group", found[0])
        self.assertIn("unknown group 'mapo'; did you mean 'mapi'?", found[1])
        self.assertIn("must be the name of a group", self.messages(self.text(group="[mapi]"))[1])

    def test_name_of_a_service(self) -> None:
        """A group cannot be called like a service, whose memory has that name already."""
        found = self.messages(self.text().replace("  rpc:", "  mapi:"))
        self.assertEqual(
            found,
            ["groups.mapi: is the name of a service too, whose memory would be the same; choose another"],
        )

    def test_nothing_to_remember(self) -> None:
        """A group for a persistence that remembers nothing is a warning."""
        found = self.messages(self.text().replace("source-ip: {mask: 24, group", "none: {group", 1))
        self.assertEqual(
            found,
            ["services.epm.persistence.none.group: has no effect: persistence 'none' remembers nothing"],
        )

    def test_wrong(self) -> None:
        """A group's own keys are checked."""
        for group, message in (
            ("{timeout: 0s}", "groups.mapi.timeout: must be longer than 0"),
            ("{limit: 0}", "groups.mapi.limit: must be at least 1, not 0"),
            ("{on-move: move}", "groups.mapi.on-move: must be 'keep' or 'cut', not 'move'"),
            ("5", "groups.mapi: must be a mapping (key: value), not 5"),
        ):
            found = self.messages(self.text().replace("{timeout: 1h, on-move: cut}", group))
            self.assertEqual(len(found), 1, found)
            self.assertIn(message, found[0])
