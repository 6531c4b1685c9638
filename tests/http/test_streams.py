"""Whole dialogues with bytes cut anywhere: nothing is lost, added, or put out of order."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Action, Close, Hangup, Hold, Pick, Release
from exproxy.model import BACKEND, CLIENT
from exproxy.testing import link
from tests.http.support import OK, ONE, Talk, post

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + OK


class Stage:
    """What a session does around a conversation: it holds, connects, and cuts both streams to pieces."""

    def __init__(self, answers: list[bytes], cuts: list[int]) -> None:
        self.talk = Talk()
        self.answers = deque(answers)
        self.cuts = deque(cuts)
        self.waiting: deque[bytes] = deque()
        self.holding = False
        self.open = False
        self.link = ONE
        self.links = 0
        self.over = False

    def run(self, stream: bytes) -> None:
        """Let the client say all of it; each request is answered as soon as it is heard."""
        self.waiting.extend(self.cut(stream))
        while self.waiting and not self.over and not self.holding:
            self.perform(self.talk.says(self.waiting.popleft()))

    def cut(self, data: bytes) -> list[bytes]:
        pieces = []
        while data:
            size = self.cuts.popleft() if self.cuts else len(data)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def perform(self, actions: list[Action]) -> None:
        picked = False
        for action in actions:
            self.over = self.over or isinstance(action, Hangup)
            if isinstance(action, (Hold, Release)) and action.side is CLIENT:
                self.holding = isinstance(action, Hold)
            elif isinstance(action, Close) and action.side is BACKEND:
                self.open = False
            picked = picked or isinstance(action, Pick)
        if picked:
            self.connect()

    def connect(self) -> None:
        reused = self.open
        if not reused:
            self.links += 1
            self.link = link("exch1", self.links)
            self.open = True
        self.perform(self.talk.meets(self.link, reused))
        # The rest of a body must come before the answer does, as from most servers.
        while self.body_is_missing() and self.waiting:
            self.perform(self.talk.says(self.waiting.popleft()))
        for piece in self.cut(self.answers.popleft()):
            self.perform(self.talk.answers(piece, self.link))

    def body_is_missing(self) -> bool:
        head, _, body = self.talk.server[self.talk.server.rindex(b" HTTP/1.1\r\n") :].partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        return len(body) < length


class DialogueTests(SynchronousTestCase):
    """Pipelined requests of any number and size."""

    @settings(max_examples=60, deadline=None)
    @given(
        bodies=st.lists(
            st.binary(max_size=60).map(lambda body: body.replace(b"H", b"h")), min_size=1, max_size=5
        ),
        answers=st.lists(st.sampled_from([OK, CHUNKED, EMPTY, CLOSING, CONTINUED]), min_size=5, max_size=5),
        cuts=st.lists(st.integers(1, 200), max_size=60),
    )
    def test_in_order(self, bodies: list[bytes], answers: list[bytes], cuts: list[int]) -> None:
        """Every request reaches a backend once, and its answer the client, in order."""
        stage = Stage(answers, cuts)
        stage.run(b"".join(post(body) for body in bodies))
        expected = answers[: len(bodies)]
        self.assertEqual(
            stage.talk.client,
            b"".join(answer.replace(b"Connection: close\r\n", b"") for answer in expected),
        )
        sent = stage.talk.server.split(b"POST /ews HTTP/1.1\r\n")[1:]
        self.assertEqual([request.partition(b"\r\n\r\n")[2] for request in sent], bodies)
        self.assertFalse(stage.over)
        self.assertFalse(stage.holding)
