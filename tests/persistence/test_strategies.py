"""The strategies none and source-ip: tables of facts."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key
from exproxy.persistence import source_ip
from exproxy.persistence.keys import Secrets
from exproxy.plugins import find
from tests.pools import client

KEYS = Secrets([b"a secret of the tests"]).keys("mapi", ("a", "b"))


def strategy(name: str, **options: Any) -> Any:
    """The strategy, found as a configuration finds it."""
    plugin = find(IPersistencePlugin, name)
    return plugin.strategy(plugin.options.model_validate(options), KEYS)


def source(host: str, **options: Any) -> Key:
    """The key of a client from there."""
    (made,) = strategy("source-ip", **options).remember(client(host))
    assert isinstance(made, Key)
    return made


class NoneTests(SynchronousTestCase):
    """Nobody is known."""

    def test_interfaces(self) -> None:
        """Plugin and strategy are what they say."""
        verifyObject(IPersistencePlugin, find(IPersistencePlugin, "none"))
        verifyObject(IPersistence, strategy("none"))

    def test_nothing(self) -> None:
        """No candidates, no keys."""
        self.assertEqual(
            (strategy("none").candidates(client()), strategy("none").remember(client())), ((), ())
        )


class SourceIpTests(SynchronousTestCase):
    """One address (or network), one key."""

    def test_interfaces(self) -> None:
        """Plugin and strategy are what they say."""
        verifyObject(IPersistencePlugin, find(IPersistencePlugin, "source-ip"))
        verifyObject(IPersistence, strategy("source-ip"))

    def test_equal(self) -> None:
        """Spellings of one address, and addresses of one masked network, are one client."""
        for one, two, options in (
            ("192.0.2.1", "192.0.2.1", {}),
            ("192.0.2.1", "::ffff:192.0.2.1", {}),
            ("192.0.2.1", "::FFFF:C000:201", {}),
            ("192.0.2.1", "192.0.2.254", {"mask-v4": 24}),
            ("192.0.2.1", "::ffff:192.0.2.9", {"mask-v4": 24}),
            ("192.0.2.1", "203.0.113.9", {"mask-v4": 0}),
            ("2001:db8::1", "2001:0DB8:0:0::1", {}),
            ("fe80::1%eth0", "fe80::1%eth1", {}),
            ("2001:db8::1", "2001:db8::ffff:1", {"mask-v6": 64}),
        ):
            self.assertEqual(source(one, **options), source(two, **options), (one, two, options))

    def test_different(self) -> None:
        """Other addresses, and other networks, are other clients."""
        for one, two, options in (
            ("192.0.2.1", "192.0.2.2", {}),
            ("192.0.2.1", "192.0.3.1", {"mask-v4": 24}),
            ("2001:db8::1", "2001:db8::2", {}),
            ("2001:db8::1", "2001:db8:0:1::1", {"mask-v6": 64}),
            ("192.0.2.1", "2001:db8::1", {}),
            ("0.0.0.0", "::", {"mask-v4": 0, "mask-v6": 0}),
        ):
            self.assertNotEqual(source(one, **options), source(two, **options), (one, two, options))

    def test_ports_do_not_matter(self) -> None:
        """Candidates and keys are one key, whatever the port."""
        made = strategy("source-ip")
        self.assertEqual(made.candidates(client()), made.remember(client()))
        self.assertEqual(len(made.remember(client())), 1)

    def test_without_a_source(self) -> None:
        """Where no address is known there is nothing to say."""
        self.assertEqual(strategy("source-ip").candidates(Facts()), ())

    def test_no_address_in_the_key(self) -> None:
        """The key is a keyed digest."""
        self.assertNotIn(b"192", source("192.0.2.1").digest)
        self.assertEqual(source("192.0.2.1").kind, "source")

    def test_made_keys_are_bounded(self) -> None:
        """However many addresses come, only so many keys are kept made, and they stay right."""
        self.patch(source_ip, "REMEMBERED", 10)
        made = strategy("source-ip")
        keys = [made.remember(client(f"10.0.0.{number}")) for number in range(100)]
        self.assertEqual(keys, [made.remember(client(f"10.0.0.{number}")) for number in range(100)])
        self.assertLessEqual(len(made._known), 10)

    def test_options(self) -> None:
        """Masks, timeout and limit are checked as the file is."""
        options = source_ip.SourceIpOptions.model_validate(
            {"mask-v4": 24, "mask-v6": 56, "timeout": "1h", "limit": 500}
        )
        self.assertEqual((options.timeout, options.limit), (3600.0, 500))
        for wrong in ({"mask-v4": 33}, {"mask-v6": -1}, {"timeout": 5}, {"limit": 0}, {"mask": 24}):
            with self.assertRaises(ValidationError):
                source_ip.SourceIpOptions.model_validate(wrong)
