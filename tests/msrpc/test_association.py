"""Persistence rpc-association: over a real pool and table."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.interfaces import IPersistencePlugin
from exproxy.model import AnyOf, AssociationGroup, Choice, Facts, Persistence, Served
from exproxy.persistence.group import Group
from exproxy.persistence.keys import Secrets
from exproxy.persistence.none import plugin as none
from exproxy.persistence.source_ip import SourceIpOptions
from exproxy.persistence.source_ip import plugin as source_ip
from exproxy.plugins import Selected, find
from exproxy.pool import Pool
from exproxy.store.memory import MemoryStore
from exproxy.testing import check_persistence, facts
from protocols.msrpc.association import LIFETIME, RpcAssociationOptions, plugin
from tests.pools import chosen, client, go_down, lease_of, make_pool

KEYS = Secrets([b"a secret of the tests"]).keys("mapi", ("a", "b"))
NONE = Selected(none, none.options())


class PluginTests(SynchronousTestCase):
    """What the framework asks of it."""

    def test_contract(self) -> None:
        """It keeps what the framework counts on, learns groups, and is found by its name."""
        known = facts(source="192.0.2.1").plus(AssociationGroup(7))
        check_persistence(plugin, known=[known])
        strategy = plugin.strategy(plugin.options(), KEYS)
        self.assertEqual(len(strategy.observe(known.plus(Served("a")), AssociationGroup(7))), 1)
        self.assertIs(find(IPersistencePlugin, "rpc-association"), plugin)
        self.assertEqual(plugin.needs, (AssociationGroup,))

    def test_options(self) -> None:
        """Timeout and limit are those of the fallback's table; the fallback is source-ip."""
        options = RpcAssociationOptions.model_validate({"timeout": "1h", "limit": 500})
        self.assertEqual((options.timeout, options.limit, options.fallback), (3600.0, 500, None))
        self.assertEqual(repr(plugin.strategy(options, KEYS))[:20], "<RpcAssociation, els")

    def test_without_a_server(self) -> None:
        """What was seen before there is a server, or is no group, teaches nothing."""
        strategy = plugin.strategy(plugin.options(), KEYS)
        self.assertEqual(strategy.observe(client(), AssociationGroup(7)), ())
        self.assertEqual(strategy.observe(client().plus(Served("a")), "anything"), ())

    def test_no_group(self) -> None:
        """A client that names no group is its fallback's."""
        strategy = plugin.strategy(plugin.options(), KEYS)
        fallback = source_ip.strategy(SourceIpOptions(), KEYS)
        self.assertEqual(strategy.candidates(client()), fallback.candidates(client()))
        self.assertEqual(strategy.remember(client()), fallback.remember(client()))

    def test_nothing_is_known(self) -> None:
        """Without an address an id is looked up all the same."""
        (only,) = plugin.strategy(plugin.options(), KEYS).candidates(Facts(AssociationGroup(1)))
        assert isinstance(only, AnyOf)
        self.assertEqual(len(only.keys), 2)


class AssociationCase(SynchronousTestCase):
    """Two servers by round robin; each client that comes is one connection."""

    fallback: Any = None

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        options = plugin.options().model_copy(update={"fallback": self.fallback})
        self.pool = self.made("rpc", plugin.strategy(options, KEYS))

    def made(self, name: str, persistence: Any, **settings: Any) -> Pool:
        """A pool over these servers and the one table."""
        settings.setdefault("table", "mapi")
        settings |= {"clock": self.clock, "store": self.store, "persistence": persistence}
        return make_pool("a", "b", name=name, ttl=7200.0, **settings)

    def bind(self, group: int = 0, host: str = "192.0.2.1") -> Choice:
        """A client binds; the choice, whose lease it holds."""
        known = client(host)
        return chosen(self.pool.pick(known.plus(AssociationGroup(group)) if group else known))

    def given(self, choice: Choice, group: int, host: str = "192.0.2.1") -> str:
        """The chosen server gives that id out; the server's name."""
        server = choice.backend.server
        self.pool.learn(client(host), AssociationGroup(group), server, choice.lease)
        return server

    def place(self, group: int = 0, host: str = "192.0.2.1") -> tuple[str, Persistence]:
        """Where such a client is led now, and how; its connection ends at once."""
        choice = self.bind(group, host)
        lease_of(choice).release()
        return choice.backend.server, choice.persistence


class RoundRobinTests(AssociationCase):
    """Where nothing but the association decides."""

    fallback = NONE

    def test_same_server(self) -> None:
        """A bind that names a group goes to the server that gave it out, every time."""
        server = self.given(self.bind(), 0x77)
        for _ in range(20):
            self.assertEqual(self.place(0x77), (server, Persistence.HIT))
        self.assertEqual({self.place()[0] for _ in range(4)}, {"a", "b"})

    def test_keyed_by_address(self) -> None:
        """The id means nothing from another address: a new client there is led anywhere."""
        self.given(self.bind(), 0x77)
        self.assertEqual({self.place(0x77, "192.0.2.2")[0] for _ in range(4)}, {"a", "b"})

    def test_unknown(self) -> None:
        """An id that nobody gave out leads to the fallback."""
        self.given(self.bind(), 0x77)
        self.assertEqual({self.place(0x78)[0] for _ in range(4)}, {"a", "b"})

    def test_held(self) -> None:
        """While a connection lives its id is known, however long it is silent."""
        choice = self.bind()
        server = self.given(choice, 0x77)
        self.clock.advance(48 * 3600)
        self.assertEqual([self.place(0x77)[0] for _ in range(3)], [server] * 3)

    def test_forgotten(self) -> None:
        """LIFETIME seconds after its last connection an id is known no more."""
        choice = self.bind()
        server = self.given(choice, 0x77)
        second = self.bind(0x77)
        self.given(second, 0x77)
        lease_of(choice).release()
        self.clock.advance(LIFETIME * 5)
        self.assertEqual(self.place(0x77)[0], server)
        lease_of(second).release()
        self.clock.advance(LIFETIME - 1)
        self.assertEqual(self.store.held("mapi"), 0)
        self.assertEqual(self.store.size("mapi"), 1)
        self.clock.advance(1)
        self.assertEqual({self.place(0x77)[0] for _ in range(4)}, {"a", "b"})

    def test_one_id_of_two_servers(self) -> None:
        """Two servers give one address the same id: both are kept, and it is counted."""
        servers = {self.given(self.bind(), 0x77), self.given(self.bind(), 0x77)}
        self.assertEqual(servers, {"a", "b"})
        self.assertEqual(self.store.size("mapi"), 2)
        self.place(0x77)
        self.assertEqual(self.pool.ambiguous, 1)

    def test_its_server_is_down(self) -> None:
        """The id of a server that is DOWN leads nowhere; its key stays that server's."""
        server = self.given(self.bind(), 0x77)
        other = "b" if server == "a" else "a"
        go_down(self.pool, server)
        self.assertEqual([self.place(0x77)[0] for _ in range(3)], [other] * 3)
        self.assertEqual(self.given(self.bind(0x77), 0x99), other)
        self.assertEqual(self.place(0x99)[0], other)

    def test_new_association_after_that(self) -> None:
        """A client may have several associations at once, each where it began."""
        places = {group: self.given(self.bind(), group) for group in range(1, 9)}
        self.assertEqual(set(places.values()), {"a", "b"})
        for group, server in reversed(places.items()):
            self.assertEqual(self.place(group)[0], server)


class SourceTests(AssociationCase):
    """Where the address decides over new associations."""

    def test_new_ones(self) -> None:
        """New associations of one address go to one server, held by its key for its own time."""
        choice = self.bind()
        server = self.given(choice, 0x77)
        self.assertEqual({self.place()[0] for _ in range(5)}, {server})
        lease_of(choice).release()
        self.clock.advance(LIFETIME * 10)
        self.assertEqual(self.place(), (server, Persistence.HIT))
        self.clock.advance(7200)
        self.assertEqual(self.place()[1], Persistence.NEW)

    def test_association_before_address(self) -> None:
        """Where the address leads elsewhere by now, an association that lives stays where it is."""
        server = self.given(self.bind(), 0x77)
        other = "b" if server == "a" else "a"
        (key,) = self.pool.keys_of(client())
        self.pool.move(key, other)
        self.assertEqual((self.place()[0], self.place(0x77)[0]), (other, server))

    def test_the_fallback_decides(self) -> None:
        """Of two servers with one id that one is taken to which the address leads."""
        for server in ("a", "b"):
            self.pool.learn(client(), AssociationGroup(0x77), server)
        for server in ("a", "b", "a"):
            (key,) = self.pool.keys_of(client())
            self.pool.move(key, server)
            self.assertEqual(self.place(0x77), (server, Persistence.HIT))
        self.assertEqual(self.pool.ambiguous, 3)

    def test_unknown(self) -> None:
        """An id that nobody gave out goes where the address leads."""
        server = self.given(self.bind(), 0x77)
        self.assertEqual(self.place(0x99), (server, Persistence.HIT))


class GroupTests(AssociationCase):
    """In one group with an HTTPS service that goes by the address."""

    def setUp(self) -> None:
        super().setUp()
        group = Group("mapi")
        strategy = plugin.strategy(plugin.options(), KEYS)
        self.pool = self.made("rpc", strategy, group=group, table=None)
        self.web = self.made("web", source_ip.strategy(SourceIpOptions(), KEYS), group=group, table=None)
        self.mapper = self.made("epm", strategy, group=group, table=None)

    def test_one_server(self) -> None:
        """A client of both services meets one server, whichever it came to first."""
        for first, second in ((self.web, self.pool), (self.pool, self.web), (self.mapper, self.web)):
            for number in range(6):
                host = f"198.51.100.{number}"
                server = chosen(first.pick(client(host))).backend.server
                self.assertEqual(chosen(second.pick(client(host))).backend.server, server)

    def test_ids_are_shared(self) -> None:
        """An id given out through one port is known at the other ports of the group."""
        for server in ("a", "b"):
            self.mapper.learn(client(), AssociationGroup(ord(server)), server)
        for server in ("a", "b"):
            known = client().plus(AssociationGroup(ord(server)))
            self.assertEqual(chosen(self.pool.pick(known)).backend.server, server)
