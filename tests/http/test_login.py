"""Log-ins, told by their tokens: who, how far, and whether they may."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Count, Learn, Pin
from exproxy.events import Lost
from exproxy.model import BACKEND, CLIENT, User
from exproxy.testing import service
from protocols.http.authentication import Token, tokens
from protocols.http.conversation import Conversation
from protocols.http.head import parse_request
from protocols.http.ntlm import Negotiate
from protocols.http.options import HttpOptions
from tests.http.support import GET, OK, ONE, Talk, counted, kinds, recorded, to_client
from tests.http.test_ntlm import SESSION_SECURITY, UNICODE, der, init, response, type_1, type_3

TICKET = der(0x60, bytes.fromhex("06092a864886f712010202") + b"\1\0" + bytes(100))
OFFER = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n"
CHALLENGED = OFFER % b"NTLM TlRMTVNTUAACAAAA"


def showing(token: bytes, scheme: bytes = b"NTLM", field: bytes = b"Authorization") -> bytes:
    """A GET with that token."""
    return GET[:-2] + b"%b: %b %b\r\n\r\n" % (field, scheme, base64.b64encode(token))


def counts(talk: Talk) -> list[str]:
    """The names of all that was counted."""
    return [action.name for _, actions in talk.steps for action in actions if isinstance(action, Count)]


def learnt(talk: Talk) -> list[object]:
    """All that was learnt."""
    return [action.observation for _, said in talk.steps for action in said if isinstance(action, Learn)]


def strict() -> Talk:
    """A talk with a service that refuses NTLMv1."""
    talk = Talk()
    served = service(HttpOptions(ntlmv1="refuse"))
    began = talk.steps[0][0]
    talk.conversation = Conversation(served, counted())
    talk.on(began)
    return talk


class TokenTests(SynchronousTestCase):
    """What is read of a request."""

    def test_mechanisms(self) -> None:
        """NTLM raw and in both wrappings, Kerberos, and what nobody knows."""
        for scheme, data, expected in (
            (b"NTLM", type_1(), Token("ntlm", Negotiate())),
            (b"Negotiate", type_1(), Token("ntlm", Negotiate())),
            (b"negotiate", init(type_1()), Token("ntlm", Negotiate())),
            (b"Nego2", init(type_1()), Token("ntlm", Negotiate())),
            (b"Negotiate", init(TICKET), Token("kerberos")),
            (b"Kerberos", TICKET, Token("kerberos")),
            (b"Negotiate", response(b"NEGOEXTS"), Token("negotiate")),
            (b"Negotiate", b"rubbish", Token("negotiate")),
            (b"NTLM", b"rubbish", Token("ntlm", hidden=True)),
            (b"Negotiate", b"\x60\x7f" + type_1(), Token("negotiate", hidden=True)),
        ):
            self.assertEqual(tokens(parse_request(showing(data, scheme))), [expected], (scheme, data))

    def test_none(self) -> None:
        """Basic is none of them; what is no base64 hides something."""
        self.assertEqual(tokens(parse_request(GET)), [])
        self.assertEqual(tokens(parse_request(GET[:-2] + b"Authorization: Basic eDp5\r\n\r\n")), [])
        [token] = tokens(parse_request(GET[:-2] + b"Authorization: NTLM ****\r\n\r\n"))
        self.assertTrue(token.hidden)


class LoginTests(SynchronousTestCase):
    """A handshake from its first leg to its end."""

    def handshake(self, talk: Talk, answer: bytes = OK) -> None:
        """Both legs."""
        talk.exchanges(showing(type_1()), CHALLENGED)
        talk.exchanges(showing(type_3("ann", "EX")), answer)

    def test_done(self) -> None:
        """The user is learnt and logged when the server has accepted, and with later requests too."""
        talk = Talk()
        self.handshake(talk)
        self.assertEqual(recorded(talk.steps[-1][1])["user"], "EX\\ann")
        self.assertEqual(recorded(talk.steps[-1][1])["login"], "done")
        self.assertEqual(learnt(talk), [User("EX\\ann")])
        self.assertEqual(counts(talk), ["logins_done"])
        talk.says(GET)
        self.assertEqual(recorded(talk.meets(ONE, reused=True)), {"user": "EX\\ann"})
        self.assertEqual([said for _, said in talk.steps if Pin(ONE) in said][1:], [])

    def test_refused(self) -> None:
        """Whom the server does not accept is logged, and not learnt."""
        talk = Talk()
        self.handshake(talk, OFFER % b"NTLM")
        self.assertEqual(counts(talk), ["logins_refused"])
        self.assertEqual(learnt(talk), [])
        fields = recorded(talk.steps[-1][1])
        self.assertEqual((fields["login"], fields["user"]), ("refused", "EX\\ann"))

    def test_unfinished(self) -> None:
        """A client that goes after the challenge, or begins anew, has left a handshake."""
        talk = Talk()
        talk.exchanges(showing(type_1()), CHALLENGED)
        talk.exchanges(showing(type_1()), CHALLENGED)
        self.assertEqual(recorded(talk.on(Lost(CLIENT, "closed")))["login"], "unfinished")
        self.assertEqual(counts(talk), ["logins_unfinished"] * 2)

    def test_unfinished_by_the_server(self) -> None:
        """A pinned link that ends in the middle ends both."""
        talk = Talk()
        talk.exchanges(showing(type_1()), CHALLENGED)
        self.assertIn("Hangup", kinds(talk.expire("link-1")))
        self.assertEqual(counts(talk), ["logins_unfinished"])

    def test_unanswered(self) -> None:
        """A last token without an answer, as of an IN channel that works, is logged at the end."""
        for end in (Lost(CLIENT, "closed"), Lost(BACKEND, "closed", ONE)):
            talk = Talk()
            talk.exchanges(showing(type_1()), CHALLENGED)
            talk.says(showing(type_3("ann", "EX")))
            talk.meets(ONE, reused=True)
            fields = recorded(talk.on(end))
            self.assertEqual((fields["login"], fields["user"]), ("unanswered", "EX\\ann"))
            self.assertEqual((counts(talk), learnt(talk)), ([], []))

    def test_anonymous_first_leg(self) -> None:
        """A server that answers the first leg with a page had nobody to log in."""
        talk = Talk()
        talk.exchanges(showing(type_1()), OK)
        talk.on(Lost(CLIENT, "closed"))
        self.assertEqual(counts(talk), [])

    def test_kerberos(self) -> None:
        """One leg, whose user is encrypted."""
        talk = Talk()
        talk.exchanges(showing(init(TICKET), b"Negotiate"), OK)
        self.assertEqual(counts(talk), ["logins_done"])
        self.assertEqual(learnt(talk), [])
        self.assertEqual(recorded(talk.steps[-1][1])["mechanism"], "kerberos")

    def test_spnego(self) -> None:
        """NTLM inside of SPNEGO names its user as well."""
        talk = Talk()
        talk.exchanges(showing(init(type_1()), b"Negotiate"), OFFER % b"Negotiate oYGZMIGWoAMK")
        talk.exchanges(showing(response(type_3()), b"Negotiate"), OK)
        self.assertEqual(learnt(talk), [User("EX\\ann")])

    def test_no_token_anywhere(self) -> None:
        """Nothing that is logged or learnt has a byte of a token."""
        talk = Talk()
        self.handshake(talk)
        said = repr([recorded(actions) for _, actions in talk.steps]) + repr(learnt(talk))
        self.assertNotIn("TlRM", said)
        self.assertNotIn("\\x11", said)


class OldTests(SynchronousTestCase):
    """NTLMv1, where it is refused."""

    def test_passes(self) -> None:
        """It passes where nobody has said anything, and NTLMv2 passes anywhere."""
        for talk, message in ((Talk(), type_3(nt=bytes(24))), (strict(), type_3())):
            self.assertIn("Pick", kinds(talk.says(showing(message))))

    def test_refused(self) -> None:
        """No server hears of it, whatever it is wrapped in and in whichever field it stands."""
        old = type_3(nt=bytes(24), flags=UNICODE | SESSION_SECURITY)
        for request in (
            showing(type_3(nt=bytes(24))),
            showing(old),
            showing(old, b"Negotiate"),
            showing(response(old), b"Negotiate"),
            showing(old, field=b"Proxy-Authorization"),
            showing(b"\xa1\x7f" + old, b"Negotiate"),
            showing(response(type_3() + old), b"Negotiate"),
            showing(type_3()[:100]),
        ):
            talk = strict()
            actions = talk.says(request)
            self.assertTrue(to_client(actions).startswith(b"HTTP/1.1 403 "), request)
            self.assertEqual(kinds(actions)[-1], "Hangup")
            self.assertEqual(talk.server, b"")
            self.assertEqual(counts(talk), ["logins_objected"])
            self.assertEqual(recorded(actions)["login"], "objected")

    def test_told(self) -> None:
        """The log says who depends on it, where it passes and where it does not."""
        old = showing(type_3("ann", "EX", nt=bytes(24)))
        talk = Talk()
        talk.exchanges(old, OK)
        for fields in (recorded(talk.steps[-1][1]), recorded(strict().says(old))):
            self.assertEqual((fields["mechanism"], fields["user"]), ("ntlmv1", "EX\\ann"))

    def test_others(self) -> None:
        """Kerberos, Basic and first legs go on."""
        for request in (showing(init(TICKET), b"Negotiate"), showing(type_1()), GET):
            self.assertIn("Pick", kinds(strict().says(request)), request)

    def test_pinned(self) -> None:
        """A refusal ends the pinned connection with it."""
        talk = strict()
        talk.exchanges(showing(type_1()), CHALLENGED)
        self.assertIn("Hangup", kinds(talk.says(showing(type_3(nt=bytes(24))))))
        self.assertEqual(talk.on(Lost(BACKEND, "closed", ONE)), [])
