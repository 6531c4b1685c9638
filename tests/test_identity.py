"""protocols.identity and the persistence user: one person, whatever the spelling."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import ValidationError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.backend import Backend
from exproxy.interfaces import IPersistencePlugin
from exproxy.model import Key, User
from exproxy.persistence.group import Group
from exproxy.persistence.keys import Secrets
from exproxy.plugins import find
from exproxy.pool import Pool
from exproxy.scheduling import RoundRobin
from exproxy.store.memory import MemoryStore
from exproxy.testing import check_persistence, facts
from protocols.identity import identity, parts
from protocols.user import plugin
from tests.pools import go_down

KEYS = Secrets([b"a secret of the tests"]).keys("people", ("a", "b"))
ANNA = ("anna", "EX\\anna", "ex\\ANNA", "anna@ex.test", "Anna@Mail.Litware.com", "ex.test/anna", " anna ")


def strategy(**options: Any) -> Any:
    return plugin.strategy(plugin.options.model_validate(options), KEYS)


class IdentityTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """User and domain of each spelling, in one case."""
        for name, found in (
            ("anna", ("anna", "")),
            ("EX\\Anna", ("anna", "ex")),
            ("Anna@EX.test", ("anna", "ex.test")),
            ("EX\\anna\\shared", ("shared", "ex")),
            ("ex.test/anna/shared@ex.test", ("shared", "ex.test")),
            ("first@last@ex.test", ("first@last", "ex.test")),
            ("\N{FULLWIDTH LATIN SMALL LETTER A}nna", ("anna", "")),
            ("STRASSE", ("strasse", "")),
            ("stra\N{LATIN SMALL LETTER SHARP S}e", ("strasse", "")),
            ("@ex.test", ("ex.test", "")),
            ("", ("", "")),
        ):
            self.assertEqual(parts(name), found, name)

    def test_domains(self) -> None:
        """All domains are one unless some are named; then those and no domain are one."""
        self.assertEqual({identity(name) for name in ANNA}, {("anna",)})
        some = {"ex", "ex.test"}
        self.assertEqual(identity("EX\\anna", some), identity("anna@ex.test", some))
        self.assertEqual(identity("anna@other.test", some), ("anna", "other.test"))
        self.assertEqual(identity(" ", some), ())


class UserTests(SynchronousTestCase):
    def test_contract(self) -> None:
        """The strategy keeps what the framework counts on."""
        check_persistence(
            find(IPersistencePlugin, "user"), known=[facts(User("anna"))], observations=[User("anna")]
        )

    def test_keys(self) -> None:
        """One person is one key, another one another; without a name there is none."""
        made = strategy()
        keys = {made.remember(facts(User(name))) for name in ANNA}
        self.assertEqual(len(keys), 1)
        [[key]] = keys
        self.assertIsInstance(key, Key)
        self.assertNotEqual(made.remember(facts(User("bert"))), (key,))
        self.assertEqual(made.remember(facts()), ())
        apart = strategy(domains=["EX", "ex.test"])
        self.assertEqual(apart.remember(facts(User("EX\\anna"))), apart.remember(facts(User("anna"))))
        self.assertNotEqual(apart.remember(facts(User("anna@b.test"))), apart.remember(facts(User("anna"))))

    def test_options(self) -> None:
        """`domains` is one, or a list."""
        self.assertRaises(ValidationError, plugin.options.model_validate, {"domains": "two"})


class World:
    """Two servers with mail and the web on them, one group over both."""

    def __init__(self) -> None:
        clock = Clock()
        store = MemoryStore(clock)
        self.group = Group("people")
        self.pools = {
            name: Pool(
                name,
                [Backend(f"{name}/{server}", server, "192.0.2.1", 25) for server in ("a", "b")],
                RoundRobin(),
                strategy(),
                store,
                clock,
                group=self.group,
            )
            for name in ("imap", "pop", "smtp", "https")
        }

    def server(self, pool: str, name: str) -> str:
        """Where that user's connection goes; it stays open."""
        choice: Any = self.pools[pool].pick(facts(User(name)))
        return str(choice.backend.server)


class GroupTests(SynchronousTestCase):
    def test_a_thousand_users(self) -> None:
        """A thousand users with four protocols each: one server each, and the servers have half of them."""
        world = World()
        homes = {}
        for number in range(1000):
            spellings = (f"user{number}", f"EX\\User{number}", f"user{number}@ex.test", f"USER{number}")
            found = {world.server(pool, name) for pool, name in zip(world.pools, spellings, strict=True)}
            self.assertEqual(len(found), 1, spellings)
            homes[number] = found.pop()
        self.assertEqual(Counter(homes.values()), {"a": 500, "b": 500})

    def test_they_move_together(self) -> None:
        """A server that goes in one protocol loses its users in all of them."""
        world = World()
        users = [f"user{number}" for number in range(50)]
        for user in users:
            world.server("imap", user)
        go_down(world.pools["pop"], "a")
        for user in users:
            self.assertEqual({world.server(pool, user) for pool in world.pools}, {"b"})

    def test_learnt(self) -> None:
        """A name that came after the choice binds the person, if nobody has bound it before."""
        world = World()
        smtp = world.pools["smtp"]
        smtp.learn(facts(), User("EX\\anna"), "b")
        self.assertEqual(world.server("imap", "anna@ex.test"), "b")
        smtp.learn(facts(), User("anna"), "b")
        self.assertEqual(smtp.disagreed, 0)
        smtp.learn(facts(), User("anna"), "a")
        self.assertEqual((smtp.disagreed, world.server("pop", "anna")), (1, "b"))
