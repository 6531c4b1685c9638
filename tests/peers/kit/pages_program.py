"""Pages for a browser: `python pages_program.py NAME ADDRESS PORT`.

/page?n=K shows which server gave the page, its style, its script and two fetches, and what a
WebSocket said; it holds the next page in a frame, up to LAST. The browser's load is not over before
the WebSocket is: /wait?n=K is an image that comes when the WebSocket of that page has ended.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from collections import defaultdict
from urllib.parse import parse_qs, urlsplit

LAST = 3
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE = 1, 8
_IMAGE = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
_PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{name}</title>
<link rel="stylesheet" href="/style.css?n={n}"><script src="/script.js?n={n}"></script></head>
<body><h1>Page {n} of server {name}</h1><pre id="out"></pre><div id="style"></div>{frame}
<script>
const image = new Image();
image.src = "/wait?n={n}";
document.body.append(image);
const heard = [];
const tell = (text) => {{ top.document.getElementById("out").textContent += text + "\\n"; }};
const socket = new WebSocket("wss://" + location.host + "/echo?n={n}");
socket.onopen = () => socket.send("one");
socket.onmessage = async (event) => {{
  heard.push(event.data);
  if (heard.length == 1) socket.send("two");
  else if (heard.length == 2) setTimeout(() => socket.send("three"), 500);
  else {{
    const style = getComputedStyle(document.getElementById("style")).getPropertyValue("--server").trim();
    const got = await (await fetch("/who")).text();
    const posted = await (await fetch("/who", {{method: "POST", body: "x"}})).text();
    tell(["page {n}", "{name}", style, script_server, got, posted, ...heard].join(" "));
    socket.close();
  }}
}};
socket.onerror = () => tell("page {n} WebSocket failed");
</script></body></html>
"""


class Pages:
    """One server."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.split("\r\n")
                fields = dict(one.lower().split(": ", 1) for one in lines if one)
                await reader.readexactly(int(fields.get("content-length", 0)))
                target = urlsplit(line.split(" ")[1])
                number = parse_qs(target.query).get("n", ["0"])[0]
                if target.path == "/echo":
                    key = next(
                        one[18:].strip() for one in lines if one.lower().startswith("sec-websocket-key:")
                    )
                    await self._echo(key, number, reader, writer)
                    return
                kind, body = await self._page(target.path, number)
                status = b"200 OK" if kind else b"404 Not Found"
                writer.write(
                    b"HTTP/1.1 %b\r\nContent-Type: %b\r\nCache-Control: no-store\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (status, kind.encode(), len(body), body)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _page(self, path: str, number: str) -> tuple[str, bytes]:
        if path == "/page":
            frame = f'<iframe src="/page?n={int(number) + 1}"></iframe>' if int(number) < LAST else ""
            return "text/html", _PAGE.format(name=self._name, n=number, frame=frame).encode()
        if path == "/style.css":
            return "text/css", b"#style { --server: %b }" % self._name.encode()
        if path == "/script.js":
            return "text/javascript", b'const script_server = "%b";' % self._name.encode()
        if path == "/who":
            return "text/plain", self._name.encode()
        if path == "/wait":
            await self._ended[number].wait()
            self._ended[number].clear()
            return "image/svg+xml", _IMAGE
        return "", b""

    async def _echo(
        self, key: str, number: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A WebSocket (RFC 6455) of short texts: each comes back with the server's name."""
        accept = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        try:
            while True:
                first, length = await reader.readexactly(2)
                mask = await reader.readexactly(4)
                masked = await reader.readexactly(length & 0x7F)
                text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
                if first & 0x0F == _CLOSE:
                    writer.write(bytes((0x80 | _CLOSE, len(text))) + text)
                    return
                said = f"{self._name}:{text.decode()}".encode()
                writer.write(bytes((0x80 | _TEXT, len(said))) + said)
        finally:
            self._ended[number].set()


async def main(name: str, address: str, port: str) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(Pages(name).serve, address, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
