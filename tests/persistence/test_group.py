"""Groups: one client, one server, over all services of the group."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.backend import Lease
from exproxy.model import Named, Persistence, User
from exproxy.persistence.group import Group
from exproxy.pool import Pool
from exproxy.scheduling import RandomChoice
from exproxy.settings import WhenFull
from exproxy.store.memory import MemoryStore
from tests.pools import BySource, LateStore, Told, chosen, client, come_up, go_down, key, lease_of, make_pool

SERVICES = ("epm", "rpc", "ab")
HOSTS = [f"192.0.2.{number}" for number in range(40)]


class Mapi:
    """Three services on the same servers, in one group."""

    def __init__(self, *servers: str, on_move: str = "keep", store: Any = None, **settings: Any) -> None:
        self.clock = Clock()
        self.store = store(self.clock) if store else MemoryStore(self.clock)
        self.notices: list[str] = []
        self.group = Group("mapi", timeout=60.0, on_move=on_move, notice=self.notices.append)
        self.pools = {
            name: make_pool(
                *(servers or ("a", "b", "c")),
                clock=self.clock,
                name=name,
                persistence=BySource(),
                store=self.store,
                group=self.group,
                **settings,
            )
            for name in SERVICES
        }

    def pool(self, name: str) -> Pool:
        """One service's pool."""
        return self.pools[name]

    def open(self, service: str, host: str = "192.0.2.1") -> Lease:
        """A link of that client, with somebody who owns it: cut, it comes back."""
        lease = lease_of(self.pools[service].pick(client(host)))

        def cut(reason: str) -> None:
            lease.release()

        lease.cut = cut
        return lease

    def went(self, service: str, host: str = "192.0.2.1") -> str:
        """Where that client goes; its link ends at once."""
        lease = self.open(service, host)
        lease.release()
        return lease.backend.server

    def bound(self, host: str = "192.0.2.1") -> str | None:
        """What the table says."""
        claim = self.store.find("mapi", (key(host),))
        return claim.server if claim is not None else None

    def links(self) -> int:
        """All that are open."""
        return sum(b.links for pool in self.pools.values() for b in pool.backends)


class OneServerTests(SynchronousTestCase):
    """While all is well."""

    def test_one_client_one_server(self) -> None:
        """Whatever the service and the order, a client goes to one server, and clients spread."""
        mapi = Mapi()
        seen = set()
        for number, host in enumerate(HOSTS):
            order = SERVICES[number % 3 :] + SERVICES[: number % 3]
            servers = {mapi.went(service, host) for service in order * 2}
            self.assertEqual(len(servers), 1, host)
            seen |= servers
        self.assertEqual(seen, {"a", "b", "c"})

    def test_random_too(self) -> None:
        """The scheduling of each service does not matter."""
        mapi = Mapi(scheduling=RandomChoice())
        for host in HOSTS:
            self.assertEqual(len({mapi.went(service, host) for service in SERVICES}), 1)

    def test_timeout_is_the_groups(self) -> None:
        """Any service's use refreshes, and the group's time counts."""
        mapi = Mapi(ttl=1.0)
        server = mapi.went("epm")
        for service in SERVICES:
            mapi.clock.advance(50)
            self.assertEqual(mapi.went(service), server)
        mapi.clock.advance(60)
        self.assertIsNone(mapi.bound())

    def test_two_at_once(self) -> None:
        """Two services claim the same new client at the same time: one wins, both use it."""
        mapi = Mapi(store=LateStore)
        mapi.pool("rpc").schedule(client(), ())
        picks = [mapi.pool(service).pick(client()) for service in ("epm", "rpc")]
        mapi.store.answer_all()
        choices = []
        for picked in picks:
            assert isinstance(picked, Deferred)
            choices.append(chosen(self.successResultOf(picked)))
        self.assertEqual([choice.backend.name for choice in choices], ["epm/a", "rpc/a"])
        self.assertEqual([choice.persistence for choice in choices], [Persistence.NEW, Persistence.HIT])
        self.assertEqual(mapi.links(), 2)

    def test_repr(self) -> None:
        """A group shows its pools."""
        self.assertEqual(repr(Mapi().group), "<Group mapi: epm, rpc, ab>")


class FailureTests(SynchronousTestCase):
    """When a server fails for one of the services."""

    def test_new_clients(self) -> None:
        """A new client goes to a server that all services have, whichever it asks first."""
        mapi = Mapi()
        go_down(mapi.pool("rpc"), "a")
        for host in HOSTS:
            self.assertNotEqual(mapi.went("epm", host), "a")

    def test_the_group_moves_together(self) -> None:
        """Down for one service, a server loses its clients in all of them, and they stay together."""
        mapi = Mapi()
        before = {host: mapi.went("epm", host) for host in HOSTS}
        go_down(mapi.pool("rpc"), "a")
        for number, host in enumerate(HOSTS):
            order = SERVICES[number % 3 :] + SERVICES[: number % 3]
            servers = {mapi.went(service, host) for service in order}
            self.assertEqual(len(servers), 1)
            self.assertEqual(servers == {before[host]}, before[host] != "a")
        come_up(mapi.pool("rpc"), "a")
        self.assertNotIn("a", {mapi.went(service, host) for service in SERVICES for host in HOSTS})

    def test_a_server_that_failed_one_client(self) -> None:
        """A client whose connect to one service failed takes all its services along."""
        mapi = Mapi()
        server = mapi.went("epm")
        lease_of(mapi.pool("rpc").pick(client(), avoiding={server})).release()
        self.assertEqual(len({mapi.went(service) for service in SERVICES}), 1)
        self.assertNotEqual(mapi.went("epm"), server)

    def test_drained_in_one(self) -> None:
        """Drained in one service, a server keeps its clients in all, and gets nobody new in any."""
        mapi = Mapi()
        self.assertEqual(mapi.went("epm", "old"), "a")
        mapi.pool("ab").operate("a", "drain")
        self.assertEqual({mapi.went(service, "old") for service in SERVICES}, {"a"})
        self.assertNotIn("a", {mapi.went("rpc", host) for host in HOSTS})

    def test_none_has_all(self) -> None:
        """Where no server has all services a new client goes where its service is, and that is told once."""
        mapi = Mapi("a", "b")
        go_down(mapi.pool("epm"), "a")
        go_down(mapi.pool("rpc"), "b")
        for host in HOSTS:
            self.assertEqual((mapi.went("epm", host), mapi.went("rpc", host)), ("b", "a"))
        self.assertEqual(mapi.notices, ["group mapi, seen from epm: no server is usable in all its services"])
        come_up(mapi.pool("epm"), "a")
        mapi.went("rpc", "another")
        self.assertIn("again", mapi.notices[-1])

    def test_no_pulling_to_and_fro(self) -> None:
        """Where no server has all services a client keeps its binding, and no link of it is cut."""
        mapi = Mapi("a", "b", "c", on_move="cut")
        lease = mapi.open("ab")
        self.assertEqual(lease.backend.server, "a")
        go_down(mapi.pool("epm"), "a")
        for server in "bc":
            go_down(mapi.pool("rpc"), server)
        for _ in range(5):
            lodged = {mapi.went("epm") for _ in range(4)}
            self.assertEqual(len(lodged), 1)
            self.assertLessEqual(lodged, {"b", "c"})
            self.assertEqual(mapi.went("rpc"), "a")
        self.assertIsNone(lease.condemned)
        self.assertEqual(mapi.bound(), "a")

    def test_dead_everywhere(self) -> None:
        """A server that is down for all moves its clients, though none has all services."""
        mapi = Mapi("a", "b", "c")
        self.assertEqual(mapi.went("epm"), "a")
        for service in SERVICES:
            go_down(mapi.pool(service), "a")
        go_down(mapi.pool("ab"), "b")
        go_down(mapi.pool("rpc"), "c")
        self.assertIn(mapi.went("epm"), "bc")
        self.assertNotEqual(mapi.bound(), "a")

    def test_full_in_one(self) -> None:
        """A server that is full for one service serves that link elsewhere, and the client stays bound."""
        mapi = Mapi("a", "b", limit=1, when_full=WhenFull("next"))
        first = mapi.open("epm")
        second = mapi.open("epm")
        self.assertEqual((first.backend.server, second.backend.server), ("a", "b"))
        self.assertEqual((mapi.went("rpc"), mapi.bound()), ("a", "a"))


class MoveTests(SynchronousTestCase):
    """What becomes of a moved client's old links."""

    def test_cut(self) -> None:
        """With cut its links to the old server end in all services, and nobody else's do."""
        mapi = Mapi(on_move="cut")
        mine = [mapi.open(service) for service in ("rpc", "ab", "ab")]
        self.assertEqual(mapi.group.links(key("192.0.2.1")), 3)
        others = [mapi.open("ab", host) for host in HOSTS[2:20]]
        go_down(mapi.pool("epm"), "a")
        moved = mapi.open("epm")
        self.assertNotEqual(moved.backend.server, "a")
        self.assertEqual([lease.condemned for lease in mine], [f"client moved to {moved.backend.server}"] * 3)
        self.assertEqual([lease.condemned for lease in others], [None] * 18)
        self.assertIsNone(moved.condemned)
        self.assertEqual(mapi.group.links(key("192.0.2.1")), 1)
        for lease in [moved, *others]:
            lease.release()
        self.assertEqual((mapi.links(), mapi.group._open, mapi.store.held("mapi")), (0, {}, 0))

    def test_cut_while_connecting(self) -> None:
        """A link that is still being made finds its sentence."""
        mapi = Mapi(on_move="cut")
        lease = lease_of(mapi.pool("rpc").pick(client()))
        go_down(mapi.pool("epm"), "a")
        mapi.went("epm")
        self.assertIsNotNone(lease.condemned)
        lease.release()

    def test_keep(self) -> None:
        """With keep they go on to their own end."""
        mapi = Mapi(on_move="keep")
        lease = mapi.open("rpc")
        go_down(mapi.pool("epm"), "a")
        self.assertNotEqual(mapi.went("epm"), "a")
        self.assertIsNone(lease.condemned)
        lease.release()
        self.assertEqual((mapi.links(), mapi.store.held("mapi")), (0, 0))

    def test_deleted(self) -> None:
        """A key that is deleted cuts nothing."""
        mapi = Mapi(on_move="cut")
        lease = mapi.open("rpc")
        mapi.store.delete("mapi")
        self.assertIsNone(lease.condemned)

    def test_moved_by_another(self) -> None:
        """A move that comes through the store counts as one of our own."""
        mapi = Mapi(on_move="cut")
        lease = mapi.open("rpc")
        mapi.store.move("mapi", (key("192.0.2.1"),), "b", 60)
        self.assertEqual(lease.condemned, "client moved to b")
        self.assertEqual(mapi.went("rpc"), "b")

    def test_a_shared_address(self) -> None:
        """A person known by name is not cut where the address that others share moves."""
        mapi = Mapi(on_move="cut")
        mapi.went("rpc")
        mapi.store.claim("mapi", (key("ann", "user"),), "c", 60)
        ann = lease_of(mapi.pool("rpc").pick(client().plus(User("ann"))))
        self.assertEqual((ann.backend.server, mapi.bound()), ("c", "a"))
        mapi.store.move("mapi", (key("192.0.2.1"),), "b", 60)
        self.assertIsNone(ann.condemned)
        mapi.store.move("mapi", (key("ann", "user"),), "b", 60)
        self.assertEqual(ann.condemned, "client moved to b")

    def test_a_cookie_behind_a_shared_address(self) -> None:
        """Nor is one whose cookie names another server than the address has."""
        mapi = Mapi(on_move="cut")
        mapi.store.claim("mapi", (key("shared"),), "a", 60)
        pool = mapi.pool("rpc")
        pool.persistence = Told([Named("c")], [key("shared")])
        lease = lease_of(pool.pick(client()))
        self.assertEqual(lease.backend.server, "c")
        mapi.store.move("mapi", (key("shared"),), "b", 60)
        self.assertIsNone(lease.condemned)

    def test_a_learnt_key(self) -> None:
        """A learnt key that moves to the server where its link is already cuts nothing."""
        mapi = Mapi(on_move="cut")
        lease = lease_of(mapi.pool("rpc").pick(client()))
        mapi.pool("rpc").learn(client(), User("ann"), "b", lease)
        mapi.pool("rpc").learn(client(), User("ann"), "a", lease)
        self.assertIsNone(lease.condemned)
        lease.release()
        self.assertEqual(mapi.group._open, {})

    def test_a_storm_of_moves(self) -> None:
        """All clients of a server move at once, each link is cut once and nothing is left."""
        mapi = Mapi("a", "b", on_move="cut")
        hosts = [f"10.0.{number // 200}.{number % 200}" for number in range(1000)]
        for host in hosts:
            mapi.open("rpc", host)
        self.assertEqual([b.links for b in mapi.pool("rpc").backends], [500, 500])
        go_down(mapi.pool("epm"), "a")
        for host in hosts:
            self.assertEqual(mapi.went("epm", host), "b")
        self.assertEqual([b.links for b in mapi.pool("rpc").backends], [0, 500])
