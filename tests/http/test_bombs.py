"""What is too much is refused before it is there, and is not collected."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Hangup, ToClient
from tests.http.bombs import ANSWERS, PIECE, REQUESTS, Bomb
from tests.http.support import Talk, kinds, recorded

# Bytes: the largest limit (a head's) and a piece; and what all of it may cost while it is looked at.
_TAKEN = 64 * 1024 + 2 * PIECE
_COST = 512 * 1024


class BombTests(SynchronousTestCase):
    """One conversation each, fed until it hangs up."""

    def _fed(self, bomb: Bomb, say: Callable[[bytes], list[Any]]) -> tuple[list[Any], int]:
        """(the actions that ended it, bytes that it took)."""
        taken = 0
        tracemalloc.start()
        try:
            for piece in bomb.pieces():
                taken += len(piece)
                actions = say(piece)
                if "Hangup" in kinds(actions):
                    _, peak = tracemalloc.get_traced_memory()
                    self.assertLess(peak, _COST, bomb.name)
                    return actions, taken
        finally:
            tracemalloc.stop()
        self.fail(f"{bomb.name}: {taken} bytes, and still listening")

    def test_requests(self) -> None:
        """Refused with the right status after no more than the limit, within bounded memory."""
        for bomb in REQUESTS:
            talk = Talk()

            def say(piece: bytes, talk: Talk = talk) -> list[Any]:
                actions = talk.says(piece)
                return actions + talk.meets() if "Pick" in kinds(actions) else actions

            actions, taken = self._fed(bomb, say)
            self.assertLess(taken, _TAKEN, bomb.name)
            [page] = [action.data for action in actions if isinstance(action, ToClient)]
            self.assertTrue(page.startswith(b"HTTP/1.1 %d " % bomb.status), (bomb.name, page[:40]))
            self.assertEqual(recorded(actions)["status"], bomb.status, bomb.name)

    def test_answers(self) -> None:
        """502, or the end where the answer has begun."""
        for bomb in ANSWERS:
            talk = Talk()
            talk.says(b"GET /bomb HTTP/1.1\r\nHost: a\r\n\r\n")
            talk.meets()
            actions, taken = self._fed(bomb, talk.answers)
            self.assertLess(taken, _TAKEN, bomb.name)
            self.assertEqual(recorded(actions)["status"], bomb.status, bomb.name)
            self.assertIsInstance(actions[-1], Hangup)
