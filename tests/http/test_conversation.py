"""Requests and answers on their way through."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.actions import (
    Close,
    Hangup,
    Hold,
    Idle,
    Pick,
    Record,
    Relay,
    Release,
    SetDeadline,
    ToBackend,
    ToClient,
)
from exproxy.events import Data, Draining, Eof, Lost, Secured
from exproxy.interfaces import IConversation
from exproxy.model import BACKEND, CLIENT, TLS, Source
from exproxy.testing import every_split, service
from protocols.http.conversation import AWAITED, Conversation
from protocols.http.head import RequestHead
from protocols.http.peer import Scheme
from tests.http.support import (
    GET,
    OK,
    ONE,
    PLAIN,
    TWO,
    Talk,
    counted,
    kinds,
    only,
    post,
    recorded,
    to_backend,
    to_client,
)


class OneRequestTests(SynchronousTestCase):
    """A single request and its answer."""

    def test_interface(self) -> None:
        """It is a conversation."""
        self.assertTrue(verifyObject(IConversation, Conversation(service(), counted())))

    def test_repr(self) -> None:
        """Its repr shows where it is."""
        talk = Talk()
        self.assertEqual(repr(talk.conversation), "<http awaiting a request, 0 bytes ahead>")
        talk.says(GET + b"ab")
        talk.meets()
        self.assertIn("<http GET over Link(", repr(talk.conversation))
        talk.on(Lost(CLIENT, "closed"))
        self.assertTrue(repr(talk.conversation).startswith("<http"))

    def test_strange_event(self) -> None:
        """An event of no concern is answered by nothing."""
        self.assertEqual(Talk().on(Secured(CLIENT, TLS("TLSv1.3"))), [])

    def test_begin_waits(self) -> None:
        """The client speaks first; its silence is borne for the keep-alive time."""
        self.assertEqual(Talk().began, [SetDeadline(AWAITED, 60.0)])

    def test_pick_with_the_head(self) -> None:
        """A whole head leads to a pick that knows it, its source and its scheme."""
        deadline, pick = Talk().says(GET)
        self.assertEqual(deadline, SetDeadline(AWAITED, 1000.0))
        assert isinstance(pick, Pick)
        self.assertEqual(pick.facts[RequestHead].path, b"/owa/")
        self.assertEqual(pick.facts[Source].host, "192.0.2.1")
        self.assertEqual(pick.facts[Scheme], Scheme("https"))

    def test_forwarded_head(self) -> None:
        """The backend gets the head with what a proxy adds."""
        talk = Talk()
        talk.says(GET)
        (opening,) = talk.meets()
        assert isinstance(opening, ToBackend)
        self.assertIs(opening.link, ONE)
        self.assertEqual(
            opening.data,
            b"GET /owa/?secret=1 HTTP/1.1\r\nHost: mail.example.org\r\nX-Forwarded-For: 192.0.2.1\r\n"
            b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: mail.example.org\r\nX-Request-ID: r1\r\n\r\n",
        )

    def test_plain_http_says_so(self) -> None:
        """Without TLS the backend is told http."""
        talk = Talk(PLAIN)
        talk.says(GET)
        self.assertIn(b"X-Forwarded-Proto: http\r\n", to_backend(talk.meets()))

    def test_answer(self) -> None:
        """An answer goes on in one piece, is recorded, and leaves both connections open."""
        talk = Talk()
        actions = talk.exchanges()
        self.assertEqual(to_client(actions), OK)
        self.assertEqual(kinds(actions), ["ToClient", "Record", "Idle", "SetDeadline", "SetDeadline"])
        self.assertEqual(only(Idle, actions), Idle(ONE))
        self.assertEqual(talk.deadlines, {AWAITED: 60.0, "link-1": 60.0})

    def test_record(self) -> None:
        """The access log has method, host, path without query, status, sizes and the request's id."""
        record = only(Record, Talk().exchanges())
        assert isinstance(record, Record)
        self.assertTrue(record.close)
        self.assertEqual(
            record.fields,
            {
                "method": "GET",
                "host": "mail.example.org",
                "path": "/owa/",
                "status": 200,
                "request_id": "r1",
                "bytes_in": len(GET),
                "bytes_out": len(OK),
            },
        )

    def test_every_split(self) -> None:
        """However the bytes are cut, the same bytes come out on both sides."""
        request = post(b"x" * 10, b"Expect: 100-continue")
        answer = b"HTTP/1.1 100 Continue\r\n\r\n" + OK
        whole = Talk()
        whole.exchanges(request, answer)
        for pieces in every_split(request):
            talk, held = Talk(), False
            for piece in pieces:
                if any(isinstance(action, Pick) for action in talk.says(piece)):
                    held = True
                    talk.meets()
            self.assertTrue(held)
            talk.answers(answer)
            self.assertEqual((talk.server, talk.client), (whole.server, whole.client))
        for pieces in every_split(answer):
            talk = Talk()
            talk.says(request)
            talk.meets()
            for piece in pieces:
                talk.answers(piece)
            self.assertEqual(talk.client, whole.client)

    def test_any_method(self) -> None:
        """Methods of RPC over HTTP and WebDAV go through."""
        for method in (b"RPC_OUT_DATA", b"PROPFIND", b"X-ANYTHING"):
            talk = Talk()
            talk.exchanges(method + GET[3:])
            self.assertTrue(talk.server.startswith(method + b" /owa/"))

    def test_head_and_bodiless_answers(self) -> None:
        """Answers to HEAD, 204 and 304 end with their heads, whatever length they state."""
        for request, answer in (
            (GET.replace(b"GET", b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
            (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        ):
            actions = Talk().exchanges(request, answer)
            self.assertEqual(to_client(actions), answer)
            self.assertIn("Idle", kinds(actions))


class BodyTests(SynchronousTestCase):
    """Bodies stream in both directions."""

    def test_request_body_streams(self) -> None:
        """What has arrived goes on at once; the rest follows as it comes."""
        talk = Talk()
        talk.says(post(b"abc" * 20, length=1 << 30, method=b"RPC_IN_DATA"))
        self.assertTrue(to_backend(talk.meets()).endswith(b"\r\n\r\n" + b"abc" * 20))
        self.assertEqual(talk.says(b"d" * 1000), [ToBackend(b"d" * 1000, ONE), SetDeadline(AWAITED, 3600.0)])

    def test_answer_streams(self) -> None:
        """The head and every part of the body go on as they come."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        self.assertEqual(talk.answers(head), [ToClient(head), SetDeadline(AWAITED, 660.0)])
        self.assertEqual(talk.answers(b"x" * 9), [ToClient(b"x" * 9), SetDeadline(AWAITED, 660.0)])

    def test_full_duplex(self) -> None:
        """An answer may begin, and end, while its request is still arriving."""
        talk = Talk()
        talk.says(post(b"ab", length=4))
        talk.meets()
        self.assertEqual(to_client(talk.answers(OK)), OK)
        self.assertEqual(to_backend(talk.says(b"c")), b"c")
        last = talk.says(b"d")
        self.assertEqual(to_backend(last), b"d")
        self.assertIn("Idle", kinds(last))
        self.assertEqual(recorded(last)["bytes_in"], len(post(b"abcd")))

    def test_chunked_both_ways(self) -> None:
        """Chunks and trailers pass byte for byte."""
        body = b"3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        request = GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        talk = Talk()
        actions = talk.exchanges(request + body, answer + body)
        self.assertTrue(talk.server.endswith(b"\r\n\r\n" + body))
        self.assertEqual(talk.client, answer + body)
        self.assertIn("Idle", kinds(actions))

    def test_until_close(self) -> None:
        """A body that ends with its connection ends the client's too, and the head says so."""
        for end in (Eof(BACKEND, ONE), Lost(BACKEND, "closed", ONE)):
            talk = Talk()
            talk.exchanges(GET, b"HTTP/1.1 200 OK\r\n\r\nhel")
            talk.answers(b"lo")
            self.assertEqual(talk.client, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
            self.assertEqual(kinds(talk.on(end)), ["Record", "Hangup"])

    def test_old_client_gets_no_chunks(self) -> None:
        """An HTTP/1.0 client gets the data of a chunked answer, ended by a close."""
        talk = Talk()
        actions = talk.exchanges(
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        self.assertEqual(talk.client, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
        self.assertEqual(kinds(actions)[-1], "Hangup")
        self.assertIn(b" HTTP/1.1\r\nHost: lb.example.org\r\n", talk.server)

    def test_old_client_keeps_alive(self) -> None:
        """An HTTP/1.0 client that asks for it is kept, and told so."""
        talk = Talk()
        actions = talk.exchanges(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertIn(b"\r\nConnection: keep-alive\r\n", talk.client)
        self.assertNotIn("Hangup", kinds(actions))


class InterimTests(SynchronousTestCase):
    """1xx answers."""

    def test_continue_passes(self) -> None:
        """Expect goes to the backend, its 100 to the client, then the body, then the answer."""
        talk = Talk()
        talk.says(post(b"", b"Expect: 100-continue", length=4))
        self.assertIn(b"\r\nExpect: 100-continue\r\n", to_backend(talk.meets()))
        self.assertEqual(
            to_client(talk.answers(b"HTTP/1.1 100 Continue\r\n\r\n")), b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        self.assertEqual(to_backend(talk.says(b"body")), b"body")
        self.assertEqual(to_client(talk.answers(OK)), OK)

    def test_several_in_one_piece(self) -> None:
        """Interim heads keep their order before the final one."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        talk = Talk()
        talk.exchanges(GET, b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK)
        self.assertEqual(talk.client, b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK)

    def test_none_for_old_clients(self) -> None:
        """HTTP/1.0 clients know no interim answers and get none."""
        talk = Talk()
        talk.exchanges(b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
        self.assertTrue(talk.client.startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_endless_ones(self) -> None:
        """A backend that only ever says 100 is given up."""
        talk = Talk()
        actions = talk.exchanges(GET, b"HTTP/1.1 100 Continue\r\n\r\n" * 101)
        self.assertIn(b" 502 ", to_client(actions))


class KeepAliveTests(SynchronousTestCase):
    """Several requests on one connection."""

    def test_second_request_reuses(self) -> None:
        """The next request gets a pick of its own and goes over the link that it leads to."""
        talk = Talk()
        talk.exchanges()
        self.assertEqual(kinds(talk.says(GET)), ["SetDeadline", "Pick"])
        (opening,) = talk.meets(ONE, reused=True)
        assert isinstance(opening, ToBackend)
        self.assertIn(b"X-Request-ID: r2\r\n", opening.data)

    def test_two_servers(self) -> None:
        """Requests of one client may go to different servers, each over its own link."""
        talk = Talk()
        talk.exchanges()
        actions = talk.exchanges(link=TWO)
        self.assertEqual(only(Idle, actions), Idle(TWO))
        self.assertEqual(set(talk.deadlines), {AWAITED, "link-1", "link-2"})

    def test_pipelined(self) -> None:
        """Requests sent ahead wait in the session and are answered in order."""
        talk = Talk()
        self.assertEqual(
            kinds(talk.says(GET + GET.replace(b"/owa/", b"/two") + GET[:9])), ["SetDeadline", "Pick", "Hold"]
        )
        talk.meets()
        actions = talk.answers(OK)
        self.assertEqual(kinds(actions)[-2:], ["SetDeadline", "Pick"])
        self.assertNotIn("Release", kinds(actions))
        self.assertIn(b"GET /two?", to_backend(talk.meets(ONE, reused=True)))
        actions = talk.answers(OK)
        self.assertEqual(actions[-2:], [SetDeadline(AWAITED, 10.0), Release(CLIENT)])
        self.assertEqual(kinds(talk.says(GET[9:])), ["SetDeadline", "Pick"])
        self.assertEqual(talk.client, OK + OK)

    def test_sent_ahead_later(self) -> None:
        """What comes while an answer is awaited is held back once, and served after it."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        self.assertEqual(talk.says(GET), [Hold(CLIENT)])
        actions = talk.answers(OK)
        self.assertEqual(kinds(actions)[-3:], ["SetDeadline", "Pick", "Release"])

    def test_rubbish_ahead(self) -> None:
        """A malformed request behind a good one is refused after the good one's answer."""
        talk = Talk()
        talk.says(GET + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        talk.meets()
        actions = talk.answers(OK)
        self.assertTrue(to_client(actions).startswith(OK + b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertEqual(kinds(actions)[-1], "Hangup")

    def test_client_says_close(self) -> None:
        """Connection: close of the client ends its connection after the answer."""
        talk = Talk()
        actions = talk.exchanges(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertIn(b"\r\nConnection: close\r\n", talk.client)
        self.assertEqual(kinds(actions), ["ToClient", "Record", "Hangup"])

    def test_backend_says_close(self) -> None:
        """Connection: close of a backend ends that link only."""
        talk = Talk()
        actions = talk.exchanges(GET, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertEqual(talk.client, OK)
        self.assertEqual(only(Close, actions), Close(BACKEND, link=ONE))
        self.assertEqual(talk.says(GET)[-1].__class__, Pick)

    def test_keep_alive_deadline(self) -> None:
        """Silence between requests ends the connection without a word."""
        talk = Talk()
        talk.exchanges()
        self.assertEqual(kinds(talk.expire(AWAITED)), ["Hangup"])

    def test_backend_keep_alive_deadline(self) -> None:
        """An idle link is closed at its deadline; a busy one is left alone."""
        talk = Talk()
        talk.exchanges()
        talk.says(GET)
        talk.meets(ONE, reused=True)
        self.assertEqual(talk.expire("link-1"), [])
        talk.answers(OK)
        self.assertEqual(talk.expire("link-1"), [Close(BACKEND, link=ONE)])

    def test_idle_link_ends(self) -> None:
        """An idle link that ends, or speaks unasked, is closed; the client stays."""
        for event, expected in (
            (Lost(BACKEND, "closed", ONE), []),
            (Eof(BACKEND, ONE), [Close(BACKEND, link=ONE)]),
            (Data(BACKEND, b"HTTP/1.1 408 Timeout\r\n\r\n", ONE), [Close(BACKEND, link=ONE)]),
        ):
            talk = Talk()
            talk.exchanges()
            self.assertEqual(talk.on(event), expected)
            self.assertEqual(kinds(talk.says(GET)), ["SetDeadline", "Pick"])

    def test_surplus_of_an_answer(self) -> None:
        """A link that says more than its answer is not used again, and the surplus reaches nobody."""
        talk = Talk()
        actions = talk.exchanges(GET, OK + OK)
        self.assertEqual(talk.client, OK)
        self.assertEqual(only(Close, actions), Close(BACKEND, link=ONE))


class UpgradeTests(SynchronousTestCase):
    """101 Switching Protocols."""

    ASK = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"

    def test_tunnel(self) -> None:
        """Both sides are joined to the end, and what came early goes along."""
        talk = Talk()
        talk.says(self.ASK + b"early")
        self.assertIn(b"Connection: Upgrade\r\n", to_backend(talk.meets()))
        actions = talk.answers(self.SWITCH + b"Connection: Upgrade\r\n\r\nhi")
        self.assertEqual(to_client(actions), self.SWITCH + b"Connection: Upgrade\r\n\r\nhi")
        self.assertEqual(to_backend(actions), b"early")
        self.assertEqual(actions[-1], Relay(idle=3600.0))
        self.assertEqual(recorded(actions)["status"], 101)
        self.assertEqual(talk.on(Draining(1.0)), [])

    def test_refused_upgrade(self) -> None:
        """Another answer than 101 is an answer like any other."""
        talk = Talk()
        self.assertIn("Idle", kinds(talk.exchanges(self.ASK)))

    def test_unasked(self) -> None:
        """101 to a request that offered nothing is an invalid answer."""
        talk = Talk()
        self.assertIn(b" 502 ", to_client(talk.exchanges(GET, self.SWITCH + b"\r\n")))

    def test_http_in_disguise(self) -> None:
        """An upgrade to HTTP/2 would hide requests: it is not passed on."""
        talk = Talk()
        talk.says(self.ASK.replace(b"websocket", b"h2c"))
        self.assertNotIn(b"Upgrade", to_backend(talk.meets()))


class EndTests(SynchronousTestCase):
    """Draining, and clients that go."""

    def test_draining_idle(self) -> None:
        """A client that waits for nothing is let go at once."""
        talk = Talk()
        talk.exchanges()
        self.assertEqual(talk.on(Draining(30.0)), [Hangup("draining")])

    def test_draining_in_a_request(self) -> None:
        """A request under way is answered with Connection: close."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        self.assertEqual(talk.on(Draining(30.0)), [])
        actions = talk.answers(OK)
        self.assertIn(b"\r\nConnection: close\r\n", to_client(actions))
        self.assertEqual(kinds(actions)[-1], "Hangup")

    def test_draining_inside_an_answer(self) -> None:
        """Where the head has gone already the connection ends after the answer nevertheless."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        talk.answers(OK[:-2])
        talk.on(Draining(30.0))
        self.assertEqual(kinds(talk.answers(OK[-2:]))[-1], "Hangup")

    def test_client_lost(self) -> None:
        """A client that goes inside its request leaves a record of it, and nothing more is done."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        actions = talk.on(Lost(CLIENT, "closed"))
        self.assertEqual(recorded(actions)["path"], "/owa/")
        self.assertEqual(talk.answers(OK), [])

    def test_half_close(self) -> None:
        """A client that ends its side gets its answer, if that comes soon, and then the end."""
        talk = Talk()
        talk.says(GET)
        talk.meets()
        self.assertEqual(talk.on(Eof(CLIENT)), [SetDeadline(AWAITED, 60.0)])
        actions = talk.answers(OK)
        self.assertTrue(to_client(actions).endswith(b"hello"))
        self.assertEqual(kinds(actions)[-1], "Hangup")

    def test_half_close_in_the_answer(self) -> None:
        """A client that ends its side inside its answer gets the rest of it, and then the end."""
        talk = Talk()
        talk.exchanges(GET, OK[:-1])
        self.assertEqual(talk.on(Eof(CLIENT)), [])
        self.assertEqual(kinds(talk.answers(OK[-1:])), ["ToClient", "Record", "Hangup"])

    def test_half_close_inside(self) -> None:
        """A client that ends inside a head, a body, or between requests is gone."""
        for said in (b"", GET[:20], post(b"ab", length=5)):
            talk = Talk()
            if said:
                talk.says(said)
            self.assertEqual(kinds(talk.on(Eof(CLIENT)))[-1], "Hangup")
