"""The TCP service: echo, streams in both directions, and RPC.

An order is a line: ``ECHO NUMBER``, ``DOWN NUMBER LENGTH``, ``UP NUMBER LENGTH``, ``BOTH NUMBER LENGTH``; the
answer begins with ``SERVER NUMBER``. Of ``BOTH`` the stream down has the number plus one.
"""

from __future__ import annotations

import threading

from bench.load import rpc as words
from bench.soak.line import LONGEST, Cut, Line
from bench.soak.servers.modes import Modes
from bench.soak.stream import Wrong, stream
from exproxy.lab.dcerpc import BIND, Malformed, Pdu, read_pdu, read_request, response


def tcp(line: Line, modes: Modes) -> None:
    """Orders until the client ends."""
    while order := line.some():
        while b"\n" not in order and len(order) < LONGEST:
            more = line.some()
            if not more:
                return
            order += more
        head, _, rest = order.partition(b"\n")
        word, number, *length = head.split()
        line.put_back(rest)
        modes.say(line, b"%s %s\n" % (modes.name, number))
        _ORDERS[word](line, modes, int(number, 16), *map(int, length))


def _echo(line: Line, modes: Modes, number: int) -> None:
    while data := line.some():
        modes.say(line, data)


def _down(line: Line, modes: Modes, number: int, length: int) -> None:
    if modes.lies():
        length //= 2
        modes.say_all(line, stream(number, length))
        raise Cut("we have lied")
    modes.say_all(line, stream(number, length))


def _up(line: Line, modes: Modes, number: int, length: int) -> None:
    modes.say(line, b"%s\n" % _verdict(line, number, length))


def _verdict(line: Line, number: int, length: int) -> bytes:
    try:
        line.compare(number, length)
    except Wrong as wrong:
        return b"WRONG " + str(wrong).encode()
    return b"RIGHT"


def _both(line: Line, modes: Modes, number: int, length: int) -> None:
    def send() -> None:
        try:
            modes.say_all(line, stream(number + 1, length))
        except Cut:
            line.reset()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    verdict = _verdict(line, number, length)
    sender.join()
    modes.say(line, b"%s\n" % verdict)


_ORDERS = {b"ECHO": _echo, b"DOWN": _down, b"UP": _up, b"BOTH": _both}


def rpc(line: Line, modes: Modes) -> None:
    """Binds and calls; a call is answered with the server's name and what was said."""
    held = b""
    port = line.sock.getsockname()[1]
    while data := line.some():
        held += data
        try:
            while read := read_pdu(held):
                held = held[read[1] :]
                modes.say(line, _answer(read[0], modes, port))
        except Malformed:
            raise Cut("no RPC") from None


def _answer(pdu: Pdu, modes: Modes, port: int) -> bytes:
    if pdu.kind == BIND:
        return words.answer(pdu, port)
    answer = response(pdu, 0, modes.name + b" " + read_request(pdu).stub)
    # A length that goes on into the next packet.
    return answer[:8] + b"\x40\x10" + answer[10:] if modes.lies() else answer
