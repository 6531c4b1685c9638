"""exproxy.settings."""

from __future__ import annotations

import dataclasses

from twisted.trial.unittest import SynchronousTestCase

from exproxy.settings import HealthSettings, Limits, Networks, TcpOptions, Timeouts, parse_network


class SettingsTests(SynchronousTestCase):
    def test_every_setting_says_what_it_guards(self) -> None:
        """The schema and the documentation are made from the help texts, so each has one."""
        for values in (Timeouts, Limits, TcpOptions, HealthSettings):
            for field in dataclasses.fields(values):
                self.assertTrue(field.metadata["help"].endswith("."), field.name)

    def test_waits_are_positive(self) -> None:
        """No wait is without end or over before it begins."""
        for field in dataclasses.fields(Timeouts):
            self.assertGreater(field.default, 0, field.name)

    def test_they_are_frozen(self) -> None:
        """A layer cannot change what another one relies on."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Timeouts().idle = 1.0  # type: ignore[misc]


class NetworksTests(SynchronousTestCase):
    def test_membership(self) -> None:
        """Addresses of both families are in the networks that cover them, and in no others."""
        networks = Networks.parse(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"])
        for host in ("192.0.2.1", "192.0.2.255", "2001:db8::1", "198.51.100.7"):
            self.assertIn(host, networks)
        for host in ("192.0.3.1", "2001:db9::1", "198.51.100.8", "::", "0.0.0.0"):
            self.assertNotIn(host, networks)

    def test_mapped_and_scoped_spellings(self) -> None:
        """A v4-mapped address is the IPv4 one, and a scope does not matter."""
        networks = Networks.parse(["192.0.2.0/24", "fe80::/10"])
        self.assertIn("::ffff:192.0.2.9", networks)
        self.assertNotIn("::ffff:192.0.3.9", networks)
        self.assertIn("fe80::1%eth0", networks)

    def test_what_is_no_address(self) -> None:
        """Text that is no address is in no network, not even in all of them."""
        networks = Networks.parse(["0.0.0.0/0", "::/0"])
        for text in ("", "localhost", "192.0.2", "192.0.2.1:25", "/var/run/socket"):
            self.assertNotIn(text, networks)

    def test_empty(self) -> None:
        """No networks contain nothing."""
        self.assertNotIn("192.0.2.1", Networks())
        self.assertEqual(len(Networks()), 0)

    def test_remembering_is_bounded(self) -> None:
        """A scan from very many addresses does not fill the memory."""
        networks = Networks.parse(["10.0.0.0/8"])
        for number in range(10_000):
            self.assertIn(f"10.0.{number // 256}.{number % 256}", networks)
        self.assertLessEqual(len(networks._known), Networks._REMEMBERED)

    def test_values(self) -> None:
        """Networks are compared, hashed and iterated by what they contain."""
        one, other = Networks.parse(["10.0.0.0/8"]), Networks.parse(["10.0.0.0/8"])
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(one, Networks())
        self.assertEqual([str(network) for network in one], ["10.0.0.0/8"])
        self.assertEqual(repr(one), "Networks(10.0.0.0/8)")

    def test_wrong_texts(self) -> None:
        """What is no network is refused with advice."""
        for text, word in (("10.0.0.1/8", "did you mean '10.0.0.0/8'"), ("ten", "is no IP address")):
            error = self.assertRaises(ValueError, parse_network, text)
            self.assertIn(word, str(error))
