"""Whatever either side says, in whatever order: a conversation in the path never fails, and keeps little."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy import actions, events
from exproxy.model import BACKEND, CLIENT, TLS
from exproxy.testing import check_protocol_plugin, facts, link
from protocols.mail import imap, pop, smtp
from protocols.mail.imap_alone import Imap
from protocols.mail.options import ImapOptions, PopOptions, SmtpOptions
from protocols.mail.pop_alone import Pop
from protocols.mail.smtp_alone import Smtp
from tests.mail.dialogues import served

WORDS: dict[Any, tuple[list[bytes], list[bytes]]] = {
    Smtp: (
        [b"EHLO x", b"STARTTLS", b"AUTH PLAIN AGEAYg==", b"AUTH LOGIN", b"YQ==", b"MAIL FROM:<a>", b"DATA",
         b"RCPT TO:<b>", b"a\r\n.", b".", b"BDAT 5", b"BDAT 3 LAST", b"RSET", b"QUIT", b"XCLIENT", b"*"],
        [b"220 x", b"250-x\r\n250-STARTTLS\r\n250-CHUNKING\r\n250 AUTH PLAIN", b"250 ok", b"334 ", b"235 in",
         b"354 go", b"535 no", b"421 bye", b"250-half"],
    ),
    Imap: (
        [b"a STARTTLS", b"b LOGIN a b", b"c LOGIN {3}", b"d LOGIN {2+}\r\nab c", b"e IDLE", b"DONE",
         b"f NOOP", b"g AUTHENTICATE PLAIN", b"AGEAYg==", b"h APPEND x {4}",
         b"i LOGOUT", b"j ID (\"x-a\" \"b\")", b"*"],
        [b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] x", b"* PREAUTH x", b"b OK in", b"c OK in",
         b"d OK in", b"g OK in", b"+ go", b"a OK", b"exproxy OK", b"* 1 FETCH {3}\r\nabc)",
         b"f OK", b"e NO", b"* BYE x"],
    ),
    Pop: (
        [b"STLS", b"USER a", b"PASS b", b"AUTH PLAIN", b"AGEAYg==", b"CAPA", b"RETR 1", b"LIST", b"DELE 1",
         b"QUIT", b"APOP a b", b"XCLIENT", b"AUTH", b"NOOP"],
        [b"+OK <1@x>", b"+OK", b"+ ", b"-ERR no", b"+OK\r\nSTLS\r\nSASL PLAIN\r\n.", b"text\r\n.", b"."],
    ),
}  # fmt: skip
OPTIONS: dict[Any, Any] = {Smtp: SmtpOptions, Imap: ImapOptions, Pop: PopOptions}


def play(make: Any, dice: random.Random) -> None:
    """One connection by the dice, as a session would tell it."""
    said = {"routing": dice.choice(["user", "backend"]), "relay": "watched"}
    mode, behind = dice.choice(["none", "starttls", "implicit"]), dice.random() < 0.4
    conversation = make(served(OPTIONS[make](**said), mode, behind))
    waiting: list[events.Event] = [events.Began(facts(*([TLS("x")] if mode == "implicit" else [])))]
    links = 0
    for _ in range(60):
        if waiting:
            event = waiting.pop(0)
        else:
            event = something(make, dice, links > 0)
        for action in conversation.handle(event):
            if isinstance(action, (actions.Pick, actions.Retry)):
                links += 1
                up = dice.random() < 0.9
                waiting.append(events.Connected(link(number=links)) if up else events.Unavailable("none"))
            elif isinstance(action, actions.StartTLS):
                waiting.append(events.Secured(action.side, TLS("TLSv1.3")))
            elif isinstance(action, (actions.Hangup, actions.Relay)):
                assert conversation.handle(events.Data(CLIENT, b"x\r\n")) == ()
                return
        assert len(conversation.client) + len(conversation.server) < 100_000


def something(make: Any, dice: random.Random, linked: bool) -> events.Event:
    """A line, a piece of one, rubbish, or an end of either side."""
    side = dice.choice([CLIENT, BACKEND]) if linked else CLIENT
    kind = dice.random()
    if kind < 0.02:
        return dice.choice([events.Eof(side), events.Draining(30.0), events.Deadline("idle")])
    if kind < 0.04 and linked:
        return events.Lost(BACKEND, "reset")
    words = WORDS[make][0 if side is CLIENT else 1]
    data = dice.choice(words) + b"\r\n"
    if kind < 0.15:
        data = data[: dice.randrange(1, len(data))]
    elif kind < 0.2:
        data = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 300)))
    elif kind < 0.4:
        data += dice.choice(words) + b"\r\n"
    return events.Data(side, data)


class RubbishTests(SynchronousTestCase):
    def test_contract(self) -> None:
        """In the path as well the plugins keep what the framework counts on."""
        for plugin, options in ((smtp, SmtpOptions), (imap, ImapOptions), (pop, PopOptions)):
            check_protocol_plugin(plugin.plugin, options=options(relay="watched"))

    def test_by_dice(self) -> None:
        """Thousands of senseless dialogues: no exception, nothing after the end, nothing heaped up."""
        dice = random.Random(20261125)
        for _ in range(3000):
            for make in WORDS:
                play(make, dice)
