"""What the conversation tells of a connection's earlier requests, for `recheck: first`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Action, Pick
from exproxy.model import Facts, Served
from protocols.http.upstream import Upstream
from tests.http.support import GET, OK, ONE, TWO, Talk


def picked(actions: list[Action]) -> Facts:
    """The facts of the only Pick."""
    [pick] = [action for action in actions if isinstance(action, Pick)]
    return pick.facts


class ConversationTests(SynchronousTestCase):
    def test_first_and_later(self) -> None:
        """A connection's first request says nothing of the past, later ones the latest server."""
        talk = Talk()
        self.assertNotIn(Served, picked(talk.says(GET)))
        talk.meets(ONE)
        talk.answers(OK, ONE)
        self.assertEqual(picked(talk.says(GET))[Served], Served(ONE.server))
        talk.meets(TWO)
        talk.answers(OK, TWO)
        self.assertEqual(picked(talk.says(GET))[Served], Served(TWO.server))


class UpstreamTests(SynchronousTestCase):
    def test_each_target(self) -> None:
        """Each route of a service has a past of its own."""
        upstream = Upstream()
        upstream.serves(ONE)
        upstream.serves(TWO, "ews")
        self.assertEqual(upstream.known(Facts())[Served], Served(ONE.server))
        self.assertEqual(upstream.known(Facts(), "ews")[Served], Served(TWO.server))
        self.assertNotIn(Served, upstream.known(Facts(), "owa"))
