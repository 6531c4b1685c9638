"""What the lab's clients say to each service, without I/O: bytes in, bytes out, and at the end who served.

A script is a generator: it yields a `Step` (what to send, and how much answer to wait for), is given that
answer, and returns the name of the server that gave it. It raises `Unserved` when the answer is a refusal.
The server is read from the bytes alone: the X-Server header, the greeting, the stub.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass
from uuid import UUID

from exproxy.lab import dcerpc, epm

Until = Callable[[bytes], int | None]


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes to send, and a test: the length of the answer once `data` holds all of it, None before.

    With `at_end` the end of the connection also ends the answer.
    """

    send: bytes
    until: Until
    at_end: bool = False


Script = Generator[Step, bytes, str]


class Unserved(Exception):
    """The answer was a refusal, or made no sense; the text is fit for one line."""


def line(data: bytes) -> int | None:
    """One line."""
    return data.find(b"\n") + 1 or None


def smtp_reply(data: bytes) -> int | None:
    """All lines of an SMTP reply: the last has a space after its code (RFC 5321, 4.2.1)."""
    found = re.match(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\r?\n", data)
    return found.end() if found else line(data) if data[:1].isalpha() else None


def tagged(tag: bytes) -> Until:
    """Everything up to an IMAP command's own line, or to a BYE."""
    pattern = re.compile(rb"(?s).*?^(?:" + tag + rb"|\* BYE)[^\n]*\n", re.MULTILINE)

    def until(data: bytes) -> int | None:
        found = pattern.match(data)
        return found.end() if found else None

    return until


def http_answer(data: bytes) -> int | None:
    """Head and body, when the head says the body's length."""
    head, mark, _ = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length:[ \t]*(\d+)", head)
    if not mark or length is None:
        return None
    end = len(head) + 4 + int(length[1])
    return end if len(data) >= end else None


def pdu(data: bytes) -> int | None:
    """One DCE/RPC PDU."""
    try:
        read = dcerpc.read_pdu(data)
    except dcerpc.Malformed as error:
        raise Unserved(str(error)) from error
    return read[1] if read else None


def _text(data: bytes) -> str:
    return data.split(b"\n", 1)[0].strip().decode("ascii", "replace")[:70] or "an empty answer"


def _need(good: bool, answer: bytes) -> None:
    if not good:
        raise Unserved(_text(answer))


def _name(pattern: bytes, answer: bytes) -> str:
    found = re.match(pattern, answer)
    if found is None:
        raise Unserved(_text(answer))
    return found[1].decode("ascii", "replace")


def https(host: str, path: str, jar: dict[str, str], user: str = "", password: str = "") -> Script:
    """One GET; cookies go into and come from `jar`, a browser's when it is kept between calls."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "User-Agent: exproxy-lab", "Connection: close"]
    if jar:
        lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in jar.items()))
    if user:
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        lines.append(f"Authorization: Basic {secret}")
    answer = yield Step("\r\n".join([*lines, "", ""]).encode(), http_answer, at_end=True)
    head = answer.partition(b"\r\n\r\n")[0]
    _need(re.match(rb"HTTP/1\.[01] [23]", head) is not None, head)
    for name, value in re.findall(rb"(?i)\r\nset-cookie:[ \t]*([^=;\s]+)=([^;\r\n]*)", head):
        jar[name.decode("latin-1")] = value.decode("latin-1").strip()
    found = re.search(rb"(?i)\r\nx-server:[ \t]*(\S+)", head)
    if found is None:
        raise Unserved("no X-Server header")
    return found[1].decode("ascii", "replace")


def smtp(sender: str, recipient: str, subject: str) -> Script:
    """Send one short message."""
    greeting = yield Step(b"", smtp_reply)
    server = _name(rb"220[ -]([\w.-]+)", greeting)
    message = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\n\r\nSent through exproxy.\r\n.\r\n"
    )
    for command, good in (
        (b"EHLO client.litware.test\r\n", b"250"),
        (f"MAIL FROM:<{sender}>\r\n".encode(), b"250"),
        (f"RCPT TO:<{recipient}>\r\n".encode(), b"250"),
        (b"DATA\r\n", b"354"),
        (message.encode(), b"250"),
        (b"QUIT\r\n", b"221"),
    ):
        answer = yield Step(command, smtp_reply)
        _need(answer.startswith(good), answer)
    return server


def imap(user: str, password: str) -> Script:
    """Log in and select the inbox."""
    greeting = yield Step(b"", line)
    server = _name(rb"(?i)\* (?:OK|PREAUTH)(?: \[[^\]]*\])? ([\w.-]+)", greeting)
    for tag, command in ((b"a1", f'LOGIN "{user}" "{password}"'), (b"a2", "SELECT INBOX")):
        answer = yield Step(tag + b" " + command.encode() + b"\r\n", tagged(tag))
        last = answer.rstrip().rsplit(b"\n", 1)[-1]
        _need(last.startswith(tag + b" OK"), last)
    yield Step(b"a3 LOGOUT\r\n", tagged(b"a3"))
    return server


def pop(user: str, password: str) -> Script:
    """Log in and count."""
    greeting = yield Step(b"", line)
    server = _name(rb"\+OK ([\w.-]+)", greeting)
    for command in (f"USER {user}", f"PASS {password}", "STAT", "QUIT"):
        answer = yield Step(command.encode() + b"\r\n", line)
        _need(answer.startswith(b"+OK"), answer)
    return server


def rpc(interface: UUID, version: int) -> Script:
    """Bind to an interface and make one call; `version` is (minor << 16) | major."""
    yield from _bound(interface, version)
    stub = yield from _call(1, 0, b"")
    found = re.search(rb"server=([\w.-]+)", stub)
    if found is None:
        raise Unserved("the answer does not name its server")
    return found[1].decode()


def endpoints() -> Script:
    """Ask the endpoint mapper where EMSMDB is, then what else there is; an annotation names the server."""
    yield from _bound(epm.EPM, 3)
    mapped = yield from _call(1, 3, epm.map_request(epm.EMSMDB, 0, 81))
    if epm.mapped_port(mapped) is None:
        raise Unserved("EMSMDB is not registered")
    listed = yield from _call(2, 2, epm.lookup_request())
    found = re.search(rb"Exchange rpc on ([\w.-]+)", listed)
    if found is None:
        raise Unserved("no annotation names the server")
    return found[1].decode()


def _bound(interface: UUID, version: int) -> Generator[Step, bytes, None]:
    context = struct.pack("<HBB", 0, 1, 0) + interface.bytes_le + struct.pack("<I", version)
    context += dcerpc.NDR32.bytes_le + struct.pack("<I", 2)
    body = struct.pack("<HHIB3x", 5840, 5840, 0, 1) + context
    answer = yield Step(_pdu(dcerpc.BIND, 1, body), pdu)
    if answer[2] == dcerpc.BIND_NAK:
        raise Unserved("bind_nak")
    length = int.from_bytes(answer[24:26], "little")
    results = 26 + length + -(26 + length) % 4
    _need(
        answer[2] == dcerpc.BIND_ACK and answer[results + 4 : results + 6] == b"\0\0",
        b"the bind was rejected",
    )


def _call(number: int, opnum: int, stub: bytes) -> Generator[Step, bytes, bytes]:
    body = struct.pack("<IHH", len(stub), 0, opnum) + stub
    answer = yield Step(_pdu(dcerpc.REQUEST, number + 1, body), pdu)
    if answer[2] != dcerpc.RESPONSE:
        raise Unserved(f"fault {answer[24:28][::-1].hex()}" if answer[2] == dcerpc.FAULT else "no response")
    return answer[24:]


def _pdu(kind: int, call: int, body: bytes) -> bytes:
    return struct.pack("<BBBBIHHI", 5, 0, kind, 3, 0x10, 16 + len(body), 0, call) + body
