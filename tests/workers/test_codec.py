"""Frames: everything that is said arrives as it was said, and nothing else does."""

from __future__ import annotations

import json
import random
import typing

from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import Claim, Key
from exproxy.workers import messages as said
from exproxy.workers.codec import MAX_FRAME, Decoder, Garbled, decode, encode

KEY = Key("user", bytes(range(16)))
ENTRY = said.Entry(KEY, "ex1", 7, 7200.0, 12.5)
SAMPLES: tuple[said.Message, ...] = (
    said.Hello("exproxy 0, channel 0"),
    said.Prepare(2, b"\x80\x05pickle", (b"secret", b"older"), (said.Socket("web", 0, 5),), -1),
    said.Begin(1),
    said.Serve(),
    said.Ready(),
    said.Refused("no such file"),
    said.Standings((said.Standing("web", "ex1", None, 0, True, False, True, "ready", 1.5),)),
    said.Standings((said.Standing("web", "ex2", "::1", 443, False, True, False, "drain"),)),
    said.Failed("web", "ex1", "L4CON", "Connection refused"),
    said.Found("rpc", "ex1", 59531),
    said.Sever("web", "ex1", "server is DOWN"),
    said.Empty("web", "ex1", 30.0),
    said.Ask(1, "claim", "mapi", (KEY,), "ex1", 7200.0),
    said.Ask(2, "delete", "mapi", None, "ex1"),
    said.Answer(1, Claim("ex1", 3, True), 0, (ENTRY,)),
    said.Answer(2, None, 5),
    said.Bound("mapi", (ENTRY, ENTRY)),
    said.Freed("mapi", (KEY,)),
    said.Used("mapi", (KEY,), ("ex1",)),
    said.Held("mapi", (KEY,), ()),
    said.Want("web/ex1"),
    said.Lent("web/ex1", 3),
    said.Scarce("web/ex1", True),
    said.Give("web/ex1", 2, True),
    said.Loads({"web/ex1": 4}),
    said.Sources({"web": {"192.0.2.1": 9}}, {"web": {}}),
    said.Report({"services": {"web": {"sessions": 3, "counts": {"a": 1.5}, "list": [1, None, "x"]}}}),
    said.Said("warn", "exproxy.pool", "half a pair \ud800 and ümlaut", ""),
    said.Reopen(),
    said.Reread(),
    said.Stop(),
    said.Cut("stopped at once"),
)


class CodecTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """Every kind of message arrives equal to what was sent."""
        for message in SAMPLES:
            self.assertEqual(decode(encode(message)[4:]), message)

    def test_every_kind_has_a_sample(self) -> None:
        """A new kind of message is tried here, too."""
        self.assertEqual({type(each) for each in SAMPLES}, set(typing.get_args(said.Message)))

    def test_secrets_are_not_shown(self) -> None:
        """A message that is logged shows no secret."""
        self.assertNotIn("older", repr(SAMPLES[1]))

    def test_cut_anywhere(self) -> None:
        """Bytes may come in any portions."""
        stream = b"".join(map(encode, SAMPLES))
        dice = random.Random(6)
        for size in (1, 3, 7, 1000, len(stream)):
            decoder, found, at = Decoder(), [], 0
            while at < len(stream):
                step = dice.randint(1, size)
                found += decoder.feed(stream[at : at + step])
                at += step
            self.assertEqual(found, list(SAMPLES))

    def test_nonsense(self) -> None:
        """What is no message is Garbled: no JSON, no such kind, wrong count of fields, wrong types."""
        for body in (
            b"",
            b"{}",
            b"[]",
            b"[1]",
            b'["Nobody"]',
            b'["Lent","web"]',
            b'["Lent","web",true]',
            b'["Lent",3,3]',
            b'["Lent","web",3,4]',
            b'["Freed","mapi",[["user","!"]]]',
            b'["Freed","mapi","user"]',
            b'["Loads",{"a":"b"}]',
            b"\xff",
            b"[" * 100_000,
        ):
            with self.assertRaises(Garbled, msg=body[:40]):
                decode(body)

    def test_too_long(self) -> None:
        """A frame has an end: one that says to be longer is refused before it has come, and none is made."""
        with self.assertRaises(Garbled):
            Decoder().feed((MAX_FRAME + 1).to_bytes(4, "big"))
        with self.assertRaises(Garbled):
            encode(said.Refused("x" * MAX_FRAME))
        longest = MAX_FRAME - len(json.dumps(["Refused", ""], separators=(",", ":")))
        self.assertEqual(len(encode(said.Refused("x" * longest))), MAX_FRAME + 4)
