"""Answers that take their time, as Exchange's do: EWS streaming, Ping, MAPI over HTTP, WebSockets.

`?wait=SECONDS` says how long; GetStreamingEvents is silent for its ConnectionTimeout and a moment more.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEAD = b"HTTP/1.1 200 OK\r\nX-Server: %b\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"
# Seconds beyond the ConnectionTimeout, so that no event falls together with a client's idea of its end.
_MOMENT = 3
_ENVELOPE = (
    '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
    '<s:Header><h:ServerVersionInfo MajorVersion="15" MinorVersion="1" MajorBuildNumber="2507" '
    'MinorBuildNumber="6" Version="V2017_07_11" '
    'xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header>'
    '<s:Body><m:{operation}Response xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" '
    'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages>'
    '<m:{operation}ResponseMessage ResponseClass="{outcome}"><m:ResponseCode>{code}</m:ResponseCode>{content}'
    "</m:{operation}ResponseMessage></m:ResponseMessages></m:{operation}Response></s:Body></s:Envelope>"
)
_EVENT = (
    "<m:Notifications><m:Notification><t:SubscriptionId>{subscription}</t:SubscriptionId><t:NewMailEvent>"
    "<t:TimeStamp>2026-01-02T03:04:05Z</t:TimeStamp><t:ItemId Id='{item}' ChangeKey='a'/>"
    "<t:ParentFolderId Id='inbox' ChangeKey='a'/></t:NewMailEvent></m:Notification></m:Notifications>"
)
# The cookie by which a client of EWS asks for the server that has its subscription.
_AFFINITY = "X-BackEndOverrideCookie"


async def long_answer(
    name: str, target: str, fields: Mapping[str, str], body: bytes, writer: asyncio.StreamWriter
) -> bool:
    """Answer as the server ``name`` a request that one of these is for; False where none is."""
    if b"GetStreamingEvents" in body:
        await _stream(name, body, writer)
    elif b"StreamingSubscriptionRequest" in body:
        _subscribe(name, writer)
    elif seconds := parse_qs(urlsplit(target).query).get("wait"):
        await _waited(name, int(seconds[0]), target, fields, writer)
    else:
        return False
    return True


def _soap(operation: str, content: str, code: str = "NoError") -> bytes:
    outcome = "Success" if code == "NoError" else "Error"
    return _ENVELOPE.format(operation=operation, content=content, code=code, outcome=outcome).encode()


def _subscribe(name: str, writer: asyncio.StreamWriter) -> None:
    body = _soap("Subscribe", f"<m:SubscriptionId>{name}</m:SubscriptionId>")
    head = f"HTTP/1.1 200 OK\r\nX-Server: {name}\r\nContent-Type: text/xml\r\n"
    cookie = f"Set-Cookie: {_AFFINITY}={name}~1941962754; path=/; secure; HttpOnly\r\n"
    writer.write(f"{head}{cookie}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def _stream(name: str, body: bytes, writer: asyncio.StreamWriter) -> None:
    found = re.search(rb"<t:SubscriptionId>(\w+)<.*<m:ConnectionTimeout>(\d+)<", body, re.DOTALL)
    assert found is not None, body
    subscription = found[1].decode()
    operation = "GetStreamingEvents"
    writer.write(_HEAD % (name.encode(), b"text/xml"))
    if subscription != name:
        # A subscription lives on the server that made it, and nowhere else.
        _chunk(
            writer, _soap(operation, "<m:MessageText>not here</m:MessageText>", "ErrorSubscriptionNotFound")
        )
    else:
        _chunk(writer, _soap(operation, "<m:ConnectionStatus>OK</m:ConnectionStatus>"))
        _chunk(writer, _soap(operation, _EVENT.format(subscription=name, item="before")))
        await asyncio.sleep(int(found[2]) * 60 + _MOMENT)
        _chunk(writer, _soap(operation, _EVENT.format(subscription=name, item="after")))
        _chunk(writer, _soap(operation, "<m:ConnectionStatus>Closed</m:ConnectionStatus>"))
    writer.write(_END)


async def _waited(
    name: str, seconds: int, target: str, fields: Mapping[str, str], writer: asyncio.StreamWriter
) -> None:
    if "sec-websocket-key" in fields:
        accept = base64.b64encode(hashlib.sha1(fields["sec-websocket-key"].encode() + _MAGIC).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        await asyncio.sleep(seconds)
        text = f"news of {name}".encode()
        writer.write(bytes((0x81, len(text))) + text)
        raise ConnectionError
    if target.lower().startswith("/mapi"):
        # MS-OXCMAPIHTTP 2.2.7: the answer begins at once, and says that it goes on.
        writer.write(_HEAD % (name.encode(), b"application/mapi-http"))
        _chunk(writer, b"PROCESSING\r\n")
        await asyncio.sleep(seconds)
        _chunk(writer, b"DONE\r\nX-ResponseCode: 0\r\n\r\n")
        writer.write(_END)
        return
    await asyncio.sleep(seconds)
    text = f"news of {name}\n".encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\nX-Server: %b\r\nContent-Length: %d\r\n\r\n" % (name.encode(), len(text))
    )
    writer.write(text)


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
