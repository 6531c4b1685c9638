"""A web server that logs people in as IIS does, and an RPC proxy (MS-RPCH) before a real RPC server.

`python -m tests.peers.kit.windows_program ADDRESS PORT NAME RPC-ADDRESS`, users in NTLM_USER_FILE.
Log-ins belong to the connection: NTLM, and Basic for RPC. Pages say who asks, over which connection;
`/DIRECTORY/healthcheck.htm` asks for no log-in, and some answers take their time (long_answers).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import itertools
import struct
import sys
from collections.abc import Mapping
from typing import Any

from .long_answers import long_answer
from .server import PASSWORD

_EMPTY = b"Content-Length: 0\r\n\r\n"
_ASKS = b"HTTP/1.1 401 Unauthorized\r\n"
_OFFERS = b"".join(
    b"WWW-Authenticate: %b\r\n" % offer for offer in (b"NTLM", b"Negotiate", b'Basic realm="x"')
)
_RPC = b"HTTP/1.1 200 Success\r\nContent-Type: application/rpc\r\nContent-Length: %d\r\n\r\n"
_SOAP = (
    '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
    '<s:Header><h:ServerVersionInfo MajorVersion="14" MinorVersion="3" MajorBuildNumber="123" '
    'MinorBuildNumber="3" Version="Exchange2010_SP2" '
    'xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>'
    '<m:GetRoomListsResponse ResponseClass="Success" '
    'xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" '
    'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseCode>NoError'
    "</m:ResponseCode><m:RoomLists><t:Address><t:Name>{name}</t:Name><t:EmailAddress>{name}@ex.test"
    "</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType><t:MailboxType>PublicDL</t:MailboxType></t:Address>"
    "</m:RoomLists></m:GetRoomListsResponse></s:Body></s:Envelope>"
)
_numbers = itertools.count(1)
# The virtual connections: cookie -> the RPC server's side, once the IN channel is there.
_virtual: dict[bytes, asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}
_outs: dict[bytes, asyncio.StreamWriter] = {}


def rts(flags: int, *commands: bytes) -> bytes:
    """An RTS packet (MS-RPCH 2.2.3.6)."""
    body = b"".join(commands)
    head = struct.pack("<4s4sHHI", b"\x05\0\x14\x03", b"\x10\0\0\0", 20 + len(body), 0, 0)
    return head + struct.pack("<HH", flags, len(commands)) + body


_TIMEOUT = struct.pack("<II", 2, 120_000)
_A3 = rts(0, _TIMEOUT)
_C2 = rts(0, struct.pack("<II", 6, 1), struct.pack("<II", 0, 65536), _TIMEOUT)
_ECHO = rts(0x40)


def proven(token: bytes, challenge: bytes) -> str | None:
    """Whose raw AUTHENTICATE message this is, by its NTLMv2 response (MS-NLMP 3.3.2); None for nobody's.

    pyspnego computes the whole response anew, and so takes only clients that spell their part of it as
    it would itself: neither Samba's nor impacket's.
    """
    from spnego._ntlm_raw.crypto import ntowfv1, ntowfv2
    from spnego._ntlm_raw.messages import Authenticate

    if token[8:12] != b"\3\0\0\0":
        return None
    shown = Authenticate.unpack(token)
    user, domain, response = (
        shown.user_name or "",
        shown.domain_name or "",
        shown.nt_challenge_response or b"",
    )
    key = ntowfv2(user, ntowfv1(PASSWORD), domain)
    proof = hmac.digest(key, challenge + response[16:], "md5")
    return f"{domain}\\{user}" if hmac.compare_digest(proof, response[:16]) else None


async def packet(reader: asyncio.StreamReader) -> bytes:
    """One RPC packet."""
    head = await reader.readexactly(16)
    (length,) = struct.unpack_from("<H" if head[4] >> 4 else ">H", head, 8)
    return head + await reader.readexactly(length - 16)


class Connection:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, rpc: str):
        self._reader, self._writer, self._name, self._rpc = reader, writer, name, rpc
        self._number = next(_numbers)
        self._requests = 0
        self._context: Any = None
        self._challenge = b""
        self._user: str | None = None

    async def serve(self) -> None:
        """Until it ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._request()
        self._writer.close()

    async def _request(self) -> None:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(fields.get("content-length", "0"))
        self._requests += 1
        channel = method.startswith("RPC_") and length > 16
        if target.lower().endswith("/healthcheck.htm"):
            self._page(target, fields)
            return
        if self._user is None and not self._logs_in(fields.get("authorization", "")):
            # A channel that nobody may open is not read.
            await self._reader.readexactly(0 if channel else length)
            return
        if fields.get("expect", "").lower() == "100-continue" and version == "HTTP/1.1":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if channel:
            await self._channel(method, target)
            raise ConnectionError
        body = await self._reader.readexactly(length)
        if method.startswith("RPC_"):
            self._writer.write(_RPC % len(_ECHO) + _ECHO)
        elif not await long_answer(self._name, target, fields, body, self._writer):
            self._page(target, fields)
        await self._writer.drain()

    def _page(self, target: str, fields: Mapping[str, str]) -> None:
        body = f"{self._name} user={self._user} connection={self._number} request={self._requests}\n"
        kind = "text/plain"
        if target.lower().startswith("/ews"):
            kind, body = "text/xml; charset=utf-8", _SOAP.format(name=self._name)
        data = body.encode()
        head = f"HTTP/1.1 200 OK\r\nX-Server: {self._name}\r\nContent-Type: {kind}\r\n"
        self._writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)

    def _logs_in(self, authorization: str) -> bool:
        """Whether somebody is logged in now; else the 401 was written."""
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() == "basic":
            self._user = base64.b64decode(text).decode().partition(":")[0]
            return True
        if scheme.lower() not in ("ntlm", "negotiate") or not text:
            self._writer.write(_ASKS + _OFFERS + _EMPTY)
            return False
        import spnego

        token = base64.b64decode(text)
        if self._context is None:
            self._context = spnego.server(protocol=scheme.lower(), options=spnego.NegotiateOptions.use_ntlm)
        try:
            answer = self._context.step(token) or b""
        except Exception:
            self._context = None
            self._user = proven(token, self._challenge)
            if self._user is None:
                self._writer.write(_ASKS + _OFFERS + _EMPTY)
            return self._user is not None
        if self._context.complete:
            self._user = str(self._context.client_principal)
            return True
        # MS-NLMP 2.2.1.2
        self._challenge = answer[24:32]
        told = base64.b64encode(answer)
        self._writer.write(_ASKS + b"WWW-Authenticate: %s %s\r\n" % (scheme.encode(), told) + _EMPTY)
        return False

    async def _channel(self, method: str, target: str) -> None:
        opening = await packet(self._reader)
        cookie = opening[32:48]
        server = _virtual.setdefault(cookie, asyncio.get_running_loop().create_future())
        if method == "RPC_OUT_DATA":
            _outs[cookie] = self._writer
            self._writer.write(_RPC % (1 << 30) + _A3)
            reader, _ = await server
            self._writer.write(_C2)
            while data := await reader.read(65536):
                self._writer.write(data)
                await self._writer.drain()
            return
        port = int(target.rpartition(":")[2])
        ends = await asyncio.open_connection(self._rpc, port)
        server.set_result(ends)
        try:
            await self._pump(ends[1], cookie, opening[52:68])
        finally:
            ends[1].close()

    async def _pump(self, server: asyncio.StreamWriter, cookie: bytes, channel: bytes) -> None:
        """From the IN channel to the server, saying how much came (MS-RPCH 2.2.3.5.2)."""
        received = 0
        while True:
            data = await packet(self._reader)
            received += len(data)
            if data[2] == 20:
                continue
            server.write(data)
            await server.drain()
            if received > 32768:
                seen = struct.pack("<III", 1, received, 65536) + channel
                _outs[cookie].write(rts(2, struct.pack("<II", 13, 0), seen))
                received = 0


async def main(address: str, port: int, name: str, rpc: str) -> None:
    """Serve for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(reader, writer, name, rpc).serve()

    server = await asyncio.start_server(serve, address, port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
