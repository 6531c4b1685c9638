"""Many relays, everything at random: each byte arrives once and in order, and nothing is left."""

from __future__ import annotations

import contextlib
import random
import select
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import BACKEND, CLIENT, Side
from exproxy.relay.pipes import Pipes
from tests.relay.sockets import Hand, descriptors

RELAYS = 24
STEPS = 6000
# Every position of a stream has a byte of its own, near enough: a shift or a gap is seen.
STREAM = random.Random(1).randbytes(1 << 20) * 2
SIZES = (1, 100, 5_000, 65_536, 300_000, 1_000_000)


class End:
    """A far end: what it has said, and what it has heard of the other's saying."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.said = 0
        self.heard = 0
        self.finished = False
        self.eof = False

    def say(self, size: int) -> None:
        if not self.finished:
            start = self.said % (1 << 20)
            with contextlib.suppress(BlockingIOError):
                self.said += self.sock.send(STREAM[start : start + size])

    def finish(self) -> None:
        if not self.finished:
            self.finished = True
            self.sock.shutdown(socket.SHUT_WR)

    def hear(self, size: int, test: Any) -> None:
        if self.eof:
            return
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return
        start = self.heard % (1 << 20)
        test.assertEqual(data, STREAM[start : start + len(data)])
        self.heard += len(data)
        self.eof = not data


class StormTests(SynchronousTestCase):
    """A seeded storm, with plenty of pipes, with few, and with none."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def step(self, dice: random.Random, hand: Hand, ends: dict[Side, End]) -> None:
        """One thing that happens to one relay."""
        end = ends[dice.choice((CLIENT, BACKEND))]
        what = dice.random()
        if what < 0.45:
            end.say(dice.choice(SIZES))
        elif what < 0.97:
            end.hear(dice.choice(SIZES), self)
        elif what < 0.972:
            end.finish()
        if dice.random() < 0.6:
            hand.turn(1)

    def storm(self, most: int, seed: int) -> None:
        """All of them, to the end."""
        dice = random.Random(seed)
        hand = Hand(self, Pipes(most))
        before = descriptors()
        made = [hand.relay() for _ in range(RELAYS)]
        relays = [(relay, user, {CLIENT: End(c), BACKEND: End(b)}) for relay, user, c, b in made]
        for _ in range(STEPS):
            self.step(dice, hand, dice.choice(relays)[2])
        for _, _, ends in relays:
            for end in ends.values():
                end.finish()
        for _ in range(STEPS):
            hand.turn(1)
            for _, _, ends in relays:
                for end in ends.values():
                    end.hear(1_000_000, self)
            if all(end.eof for _, _, ends in relays for end in ends.values()):
                break
        hand.turn()
        for relay, user, ends in relays:
            client, backend = ends[CLIENT], ends[BACKEND]
            self.assertEqual((client.heard, backend.heard), (backend.said, client.said))
            self.assertEqual(relay.counts, {CLIENT: client.said, BACKEND: backend.said})
            self.assertEqual([reason for _, reason in user.ends], ["closed"])
            client.sock.close()
            backend.sock.close()
        hand.poller.pipes.close()
        self.assertEqual((hand.poller.pipes.made, descriptors()), (0, before))

    def test_pipes_for_all(self) -> None:
        """Splicing whenever a direction is bulk."""
        self.storm(64, 2)

    def test_two_pipes(self) -> None:
        """Splicing where a pipe is free, copying where none is, in the middle of a stream."""
        self.storm(2, 3)

    def test_no_pipes(self) -> None:
        """Copying only."""
        self.storm(0, 4)
