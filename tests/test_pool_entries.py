"""Single persistence entries, and connections that are looked at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import Facts, Link, Persistence, Served, Together
from exproxy.persistence.group import Group
from exproxy.pool import Pool
from tests.pools import BySource, chosen, client, go_down, key, lease_of, make_pool

ANN = key("192.0.2.1")


def sticky(**settings: object) -> Pool:
    """Two servers, sources remembered."""
    return make_pool("exch1", "exch2", persistence=BySource(), **settings)


class ForgetTests(SynchronousTestCase):
    """Pool.forget."""

    def test_the_client_is_new(self) -> None:
        """A forgotten client is scheduled anew; the others stay."""
        pool = sticky()
        chosen(pool.pick(client()))
        other = chosen(pool.pick(client("192.0.2.2"))).backend.server
        self.assertEqual(pool.forget(ANN), 1)
        self.assertIs(chosen(pool.pick(client())).persistence, Persistence.NEW)
        again = chosen(pool.pick(client("192.0.2.2")))
        self.assertEqual((again.backend.server, again.persistence), (other, Persistence.HIT))

    def test_nobody(self) -> None:
        """Who is not known cannot be forgotten."""
        self.assertEqual(sticky().forget(ANN), 0)

    def test_with_an_open_link(self) -> None:
        """The link goes on, and its end does not bring the entry back."""
        pool = sticky()
        lease = lease_of(pool.pick(client()))
        cut: list[str] = []
        lease.cut = cut.append
        self.assertEqual(pool.forget(ANN), 1)
        lease.release()
        self.assertEqual(cut, [])
        self.assertIs(chosen(pool.pick(client())).persistence, Persistence.NEW)


class MoveTests(SynchronousTestCase):
    """Pool.move."""

    def test_the_next_connection(self) -> None:
        """A moved client meets its new server; an unknown one is bound in advance."""
        pool = sticky()
        here = chosen(pool.pick(client())).backend.server
        there = "exch2" if here == "exch1" else "exch1"
        pool.move(ANN, there)
        pool.move(key("192.0.2.9"), there)
        for host in ("192.0.2.1", "192.0.2.9"):
            choice = chosen(pool.pick(client(host)))
            self.assertEqual((choice.backend.server, choice.persistence), (there, Persistence.HIT))

    def test_no_such_server(self) -> None:
        """Only a server of the pool will do."""
        with self.assertRaisesRegex(ValueError, "web has no server 'exch3'"):
            sticky().move(ANN, "exch3")

    def test_a_group_moves_together(self) -> None:
        """All services of a group go with it, and `on-move: cut` ends the links to the old server."""
        group = Group("mapi", on_move="cut")
        pool = sticky(group=group)
        other = make_pool("exch1", "exch2", name="ab", persistence=BySource(), store=pool.store, group=group)
        lease = lease_of(other.pick(client()))
        cut: list[str] = []
        lease.cut = cut.append
        there = "exch2" if lease.backend.server == "exch1" else "exch1"
        pool.move(ANN, there)
        self.assertEqual(cut, [f"client moved to {there}"])
        self.assertEqual(chosen(other.pick(client())).backend.server, there)


class RecheckTests(SynchronousTestCase):
    """`recheck: first` and `recheck: always`."""

    def later(self, server: str, host: str = "192.0.2.1") -> Facts:
        """A later request of a connection."""
        return client(host).plus(Served(server))

    def setUp(self) -> None:
        """Somebody whose entry says exch1."""
        self.once = sticky(recheck="first")
        self.always = sticky()
        for pool in (self.once, self.always):
            pool.move(ANN, "exch1")

    def test_first(self) -> None:
        """A later request goes where the earlier ones went, whatever the entry says now."""
        choice = chosen(self.once.pick(self.later("exch2")))
        self.assertEqual((choice.backend.server, choice.persistence), ("exch2", Persistence.HIT))
        self.assertEqual(chosen(self.once.pick(client())).backend.server, "exch1")

    def test_always(self) -> None:
        """Every request is looked at."""
        self.assertEqual(chosen(self.always.pick(self.later("exch2"))).backend.server, "exch1")

    def test_nothing_is_kept(self) -> None:
        """What a later request shows is not remembered."""
        chosen(self.once.pick(self.later("exch2", "192.0.2.77")))
        self.assertEqual(self.once.forget(key("192.0.2.77")), 0)

    def test_over_the_same_link(self) -> None:
        """The link that is there is used again."""
        link = Link(1, "exch2", "127.0.0.12", 443)
        choice = chosen(self.once.pick(self.later("exch2"), links=(link,)))
        self.assertEqual((choice.reused, choice.lease), (link, None))

    def test_a_server_that_is_gone(self) -> None:
        """A server that is DOWN, has just failed, or is of another pool is not gone back to."""
        self.assertEqual(chosen(self.once.pick(self.later("exch2"), ("exch2",))).backend.server, "exch1")
        self.assertEqual(chosen(self.once.pick(self.later("elsewhere"))).backend.server, "exch1")
        go_down(self.once, "exch2")
        self.assertEqual(chosen(self.once.pick(self.later("exch2"))).backend.server, "exch1")

    def test_drained(self) -> None:
        """A server that is drained keeps its connections."""
        self.once.operate("exch2", "drain")
        self.assertEqual(chosen(self.once.pick(self.later("exch2"))).backend.server, "exch2")

    def test_what_belongs_together(self) -> None:
        """Connections that must meet on one server are not led by what was before."""
        facts = self.later("exch2").plus(Together("rpc", b"cookie"))
        self.assertEqual(chosen(self.once.pick(facts)).backend.server, "exch1")
