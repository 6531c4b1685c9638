"""The fast relay, turn by turn: fair shares, bulk, pipes, failures of the system, and nothing left behind."""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import weakref
from typing import Any
from unittest import mock

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.model import BACKEND, CLIENT
from exproxy.poller import poller
from exproxy.relay import Sweep, flow
from exproxy.relay.joined import LINGER, LOST
from exproxy.relay.pipes import MOST, SPARE, Pipes, spliced
from tests.relay.sockets import Ending, Hand, Reactor, descriptors, fill, read, send_all

BLOCK = bytes(range(256)) * 1024


class FastTestCase(SynchronousTestCase):
    """Where there is an epoll."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.hand = Hand(self)


class PollerTests(FastTestCase):
    """The one reader."""

    def test_where_it_can_be(self) -> None:
        """A reactor that takes descriptors gets one; a clock alone does not, nor a system without epoll."""
        reactor = Reactor()
        self.assertTrue(verifyObject(IReadDescriptor, poller(reactor, Sweep(reactor))))
        self.assertIsNone(poller(Clock(), Sweep(reactor)))
        with mock.patch.object(select, "epoll", create=True):
            del select.epoll
            self.assertIsNone(poller(reactor, Sweep(reactor)))

    def test_in_the_reactor_while_needed(self) -> None:
        """It is a reader while there is a relay, however many there are, and none afterwards."""
        hand = self.hand
        self.assertEqual(hand.reactor.readers, set())
        relays = [hand.relay() for _ in range(3)]
        self.assertEqual(hand.reactor.readers, {hand.poller})
        self.assertEqual(len(hand.poller), 6)
        for relay, *_ in relays:
            relay.cut("over")
        self.assertEqual(hand.reactor.readers, set())
        hand.turn()
        self.assertEqual([user.ends for _, user, *_ in relays], [[(None, "over")]] * 3)

    def test_no_epoll_to_be_had(self) -> None:
        """Without a descriptor left it is not ready; later it may be."""
        reactor = Reactor()
        made = poller(reactor, Sweep(reactor))
        assert made is not None
        self.addCleanup(made.close)
        with mock.patch.object(select, "epoll", side_effect=OSError(errno.EMFILE, "no more")):
            self.assertFalse(made.ready())
        self.assertEqual(made.fileno(), -1)
        self.assertTrue(made.ready())

    def test_a_socket_that_cannot_be_watched(self) -> None:
        """fs.epoll.max_user_watches, say: both connections are dropped, and the user is told why."""
        with mock.patch.object(self.hand.poller, "watch", side_effect=OSError(errno.ENOSPC, "too many")):
            _, user, client, _ = self.hand.relay()
        self.assertEqual(user.ends, [])
        self.hand.turn()
        self.assertEqual(len(user.ends), 1)
        self.assertIn("too many", user.ends[0][1])
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertEqual(len(self.hand.sweep), 0)

    def test_the_reactor_stops(self) -> None:
        """Relays that are open when the reactor stops are dropped, their users told, nothing stays open."""
        before = descriptors()
        kept = [self.hand.relay() for _ in range(5)]
        fill(self.hand, kept[0][3])
        self.hand.poller.connectionLost(Failure(RuntimeError()))
        self.hand.poller.connectionLost(Failure(RuntimeError()))
        for _, user, client, backend in kept:
            self.assertEqual(user.ends, [(None, "the reactor was stopped")])
            client.close()
            backend.close()
        # Its epoll object, which was there before, is gone too.
        self.assertEqual(descriptors(), before - 1)
        self.assertEqual(len(self.hand.sweep), 0)

    def test_a_user_that_fails(self) -> None:
        """An error in one relay's user is logged and the others go on."""

        class Failing(Ending):
            def finished(self, side: Any, reason: str) -> None:
                raise ValueError("a mistake")

        _, _, bad, bad_far = self.hand.relay(user=Failing())
        _, _, client, backend = self.hand.relay()
        for sock in (bad, bad_far):
            sock.close()
        client.send(b"on")
        self.hand.turn()
        self.assertEqual(read(backend), b"on")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(self.hand.poller), 2)

    def test_a_relay_that_fails(self) -> None:
        """A mistake of ours in one relay cuts that one."""
        _, user, client, _ = self.hand.relay()
        with mock.patch.object(flow.Flow, "_copy", side_effect=ValueError("a mistake")):
            client.send(b"x")
            self.hand.turn()
        self.assertEqual(user.ends, [(None, "internal error")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_events_of_a_socket_that_is_gone(self) -> None:
        """What the system reported of a socket that went in the same turn is of no interest."""
        relay, user, _, _ = self.hand.relay()
        number = next(iter(self.hand.poller._served))
        late = mock.Mock()
        late.poll.return_value = [(number, 1), (number, 1)]
        with mock.patch.object(self.hand.poller, "_epoll", late):
            relay.cut("over")
            self.hand.poller.doRead()
        self.hand.turn()
        self.assertEqual(user.ends, [(None, "over")])

    def test_nothing_is_left(self) -> None:
        """Relays that ended in every way leave no descriptor, no sleeper and no object."""
        gone = []
        before = descriptors()
        for way in range(20):
            relay, user, client, backend = self.hand.relay(b"hello", b"x")
            gone.append(weakref.ref(user))
            if way % 4 == 1:
                fill(self.hand, backend)
            if way % 4 == 2:
                relay.cut("over")
            if way % 4 == 3:
                client.shutdown(socket.SHUT_WR)
                self.hand.turn()
            client.close()
            self.hand.turn()
            backend.close()
            self.hand.turn()
            self.assertEqual(len(user.ends), 1, way)
            del user, relay, client, backend
        self.assertEqual(len(self.hand.poller), 0)
        self.assertEqual(len(self.hand.sweep), 0)
        self.hand.poller.pipes.close()
        self.assertEqual(descriptors(), before)
        gc.collect()
        self.assertEqual([ref() for ref in gone], [None] * 20)


class FlowTests(FastTestCase):
    """How bytes move."""

    def test_what_was_kept_comes_first(self) -> None:
        """Unsent before unread, and both before what the socket has; only the unread is counted."""
        relay, _, client, backend = self.hand.relay(b"unread ", b"unsent ")
        client.send(b"new")
        self.hand.turn()
        self.assertEqual(read(backend), b"unsent unread new")
        self.assertEqual(relay.counts, {CLIENT: 10, BACKEND: 0})

    def test_bulk(self) -> None:
        """Bulk is whole and in order, spliced and copied, and then small things still pass."""
        for most in (0, MOST):
            hand = Hand(self, Pipes(most))
            relay, _, client, backend = hand.relay()
            data = BLOCK * 20
            self.assertEqual(send_all(hand, backend, client, data), data)
            client.send(b"ping")
            hand.turn()
            self.assertEqual(read(backend), b"ping")
            self.assertEqual(relay.counts, {CLIENT: 4, BACKEND: len(data)})
            self.assertEqual(hand.poller.pipes.made > 0, bool(most) and spliced())

    def test_one_pipe_for_many(self) -> None:
        """A pipe is given back as soon as it is empty: flows that are bulk one after another share it."""
        for _ in range(3):
            _, _, client, backend = self.hand.relay()
            data = BLOCK * 8
            self.assertEqual(send_all(self.hand, backend, client, data), data)
        self.assertEqual(self.hand.poller.pipes.made, 1 if spliced() else 0)

    def test_the_end_of_bulk(self) -> None:
        """A bulk transfer that ends with a FIN: every byte comes, then the end, and the pipe goes back."""
        _, user, client, backend = self.hand.relay()
        fill(self.hand, backend)
        backend.close()
        got = size = 0
        while True:
            self.hand.turn(1)
            try:
                size = len(client.recv(1_000_000))
            except BlockingIOError:
                continue
            if not size:
                break
            got += size
        client.close()
        self.hand.turn()
        self.assertEqual(user.ends, [(BACKEND, "closed")])
        self.hand.poller.pipes.close()
        self.assertEqual(self.hand.poller.pipes.made, 0)

    def test_back_pressure_is_bounded(self) -> None:
        """What waits here for a client that does not read is one buffer or one pipe."""
        relay, _, _, backend = self.hand.relay()
        fill(self.hand, backend)
        down = relay._down
        self.assertTrue(down.blocked)
        self.assertLessEqual(len(down.pending) + down.piped, 1024 * 1024)
        moved = relay.counts[BACKEND]
        self.hand.turn(5)
        self.assertEqual(relay.counts[BACKEND], moved)

    def test_fair_shares(self) -> None:
        """A bulk transfer stops after its share, so that a small message passes in the same turn."""
        _, _, client, backend = self.hand.relay()
        _, _, small, small_far = self.hand.relay()
        self.hand.turn()
        with mock.patch.object(flow, "SHARE", 128 * 1024):
            backend.send(b"x" * 2_000_000)
            small.send(b"ping")
            self.hand.turn(1)
            self.assertEqual(read(small_far), b"ping")
            first = len(read(client))
            self.assertLessEqual(first, 256 * 1024)
            self.hand.turn(1)
            self.assertGreater(len(read(client)), 0)

    def test_a_turn_has_an_end(self) -> None:
        """When a turn's bytes are used up the other sockets wait for the next turn, and have it then."""
        relays = [self.hand.relay() for _ in range(4)]
        self.hand.turn()
        with mock.patch("exproxy.poller.TURN", 1):
            for _, _, client, _ in relays:
                client.send(b"ping")
            for turn in range(1, 5):
                self.hand.turn(1)
                counts = [relay.counts[CLIENT] for relay, *_ in relays]
                self.assertEqual(sum(counts), 4 * turn)

    def test_the_answer_to_an_unwanted_upload(self) -> None:
        """A server that answers and closes while its client is still sending: the answer arrives."""
        _, user, client, backend = self.hand.relay()
        client.send(b"upload")
        self.hand.turn()
        # The upload was not read, so closing resets the connection behind the answer.
        backend.send(b"no, thank you")
        backend.close()
        client.send(b"more")
        self.hand.turn()
        self.assertEqual(read(client), b"no, thank you")
        self.assertEqual(user.ends, [(BACKEND, LOST)])

    def test_an_upload_that_cannot_be_sent(self) -> None:
        """Where the sending finds out that the server is gone, what it said before is still read."""
        relay, user, client, backend = self.hand.relay()
        backend.send(b"no, thank you")
        relay.unsendable(CLIENT)
        self.hand.turn()
        self.assertEqual(read(client), b"no, thank you")
        self.assertEqual(relay.idle, LINGER)
        backend.close()
        self.hand.turn()
        self.assertEqual(user.ends, [(BACKEND, LOST)])

    def test_a_reset_after_a_half_close(self) -> None:
        """A client that has ended its sending and is reset later is noticed, though nobody reads it."""
        _, user, client, _ = self.hand.relay()
        client.shutdown(socket.SHUT_WR)
        self.hand.turn()
        self.assertEqual(user.ends, [])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        self.hand.turn()
        self.assertEqual(user.ends, [(CLIENT, "closed")])

    def test_urgent_data(self) -> None:
        """Reads stop at the mark of urgent data; what comes after it is not left lying."""
        _, _, client, backend = self.hand.relay()
        client.send(b"before")
        client.send(b"!", socket.MSG_OOB)
        client.send(b"after")
        self.hand.turn()
        self.assertEqual(read(backend), b"beforeafter")

    def test_bytes_and_fin_at_once(self) -> None:
        """A FIN that comes with the last bytes is not left lying."""
        _, user, client, backend = self.hand.relay()
        client.send(b"bye")
        client.close()
        self.hand.turn()
        self.assertEqual(backend.recv(100), b"bye")
        self.assertEqual(backend.recv(100), b"")
        backend.close()
        self.hand.turn()
        self.assertEqual(user.ends, [(CLIENT, "closed")])


class FailingSystemTests(FastTestCase):
    """Systems that run short."""

    def test_no_descriptor_for_a_pipe(self) -> None:
        """Bulk is copied where the system gives no pipe."""
        with mock.patch.object(os, "pipe2", side_effect=OSError(errno.EMFILE, "no more")):
            _, _, client, backend = self.hand.relay()
            self.assertEqual(send_all(self.hand, backend, client, BLOCK * 12), BLOCK * 12)
        self.assertEqual(self.hand.poller.pipes.made, 0)

    def test_small_pipes_only(self) -> None:
        """A pipe that may not be made large is closed again, and bulk is copied."""
        before = descriptors()
        with mock.patch("fcntl.fcntl", side_effect=PermissionError):
            self.assertIsNone(self.hand.poller.pipes.take())
        self.assertEqual(self.hand.poller.pipes.made, 0)
        self.assertEqual(descriptors(), before)

    def test_a_system_that_does_not_splice(self) -> None:
        """Where splice is refused everything is copied, from then on."""
        if not spliced():
            return
        with mock.patch.object(os, "splice", side_effect=OSError(errno.EINVAL, "no")) as splice:
            _, _, client, backend = self.hand.relay()
            self.assertEqual(send_all(self.hand, backend, client, BLOCK * 12), BLOCK * 12)
        self.assertEqual(splice.call_count, 1)
        self.assertEqual(self.hand.poller.pipes.made, 0)

    def test_splice_meets_a_broken_connection(self) -> None:
        """A source that breaks while it is spliced is lost, a sink too; no pipe is lost with them."""
        if not spliced():
            return
        splice = os.splice

        def broken(source: int, sink: int, *arguments: Any, **more: Any) -> int:
            if calls.pop(0):
                return splice(source, sink, *arguments, **more)
            raise ConnectionResetError

        for calls, side in (([False], BACKEND), ([True, False], CLIENT)):
            _, user, client, backend = self.hand.relay()
            with mock.patch.object(os, "splice", broken):
                backend.send(b"x" * 1_000_000)
                while calls:
                    read(client)
                    self.hand.turn(1)
            (backend if side is BACKEND else client).close()
            self.hand.turn()
            self.assertEqual(user.ends, [(side, LOST)])
            self.assertEqual(len(self.hand.poller), 0)
        self.hand.poller.pipes.close()
        self.assertEqual(self.hand.poller.pipes.made, 0)


class PipesTests(SynchronousTestCase):
    """The pool."""

    if not spliced():
        skip = "this system does not splice"

    def test_so_many_and_no_more(self) -> None:
        """At most so many at a time; most of them are closed when they come back."""
        before = descriptors()
        pipes = Pipes()
        taken = [pipe for pipe in (pipes.take() for _ in range(MOST + 5)) if pipe is not None]
        self.assertLessEqual(len(taken), MOST)
        self.assertIsNone(pipes.take())
        for pipe in taken:
            pipes.give(pipe)
        self.assertEqual(pipes.made, min(SPARE, len(taken)))
        pipes.close()
        self.assertEqual(descriptors(), before)

    def test_limit(self) -> None:
        """The limit is on those that exist, and a dropped one makes room."""
        pipes = Pipes(1)
        self.addCleanup(pipes.close)
        pipe = pipes.take()
        assert pipe is not None
        self.assertIsNone(pipes.take())
        pipes.drop(pipe)
        again = pipes.take()
        assert again is not None
        pipes.give(again)
        self.assertEqual(pipes.take(), again)
        pipes.give(again)
