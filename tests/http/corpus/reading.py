"""How others read the bytes that came to a server: llhttp, and a strict reader of our own."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httptools

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/1\.[01]")
_FIELD = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")

Plain = tuple[str, str, bytes]


@dataclass(frozen=True)
class Request:
    """A whole request as a server saw it; field names in lower case."""

    method: str
    target: str
    body: bytes
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        """The values of every field of that name."""
        return [value for one, value in self.fields if one == name]


def readings(raw: bytes) -> dict[str, tuple[list[Plain], str]]:
    """For each reader: the requests in ``raw``, and its complaint, if it has one."""
    return {"llhttp": _llhttp(raw), "strict": _strict(raw)}


class _Heard:
    def __init__(self) -> None:
        self.requests: list[Plain] = []
        self._url = self._body = b""
        self.parser: httptools.HttpRequestParser

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode("latin-1")
        self.requests.append((method, self._url.decode("latin-1"), self._body))


def _llhttp(raw: bytes) -> tuple[list[Plain], str]:
    heard = _Heard()
    while raw:
        heard.parser = httptools.HttpRequestParser(heard)
        try:
            heard.parser.feed_data(raw)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer that was not accepted: what follows is HTTP.
            raw = raw[upgrade.args[0] :]
        except httptools.HttpParserInvalidMethodError:
            # llhttp knows a list of methods only, and what it has no name for says nothing about framing.
            return _strict(raw) if heard.requests == [] else (heard.requests, "")
        except httptools.HttpParserError as error:
            # Proxy-Connection ends a connection for llhttp and for nobody else.
            if b"proxy-connection: close" in raw.lower() and "close" in str(error):
                return _strict(raw)
            return heard.requests, str(error)
        else:
            break
    return heard.requests, ""


def _strict(raw: bytes) -> tuple[list[Plain], str]:
    requests: list[Plain] = []
    at = 0
    while at < len(raw):
        end = raw.find(b"\r\n\r\n", at)
        if end < 0:
            return requests, "a head without an end"
        line, *lines = raw[at:end].split(b"\r\n")
        at = end + 4
        if not _LINE.fullmatch(line):
            return requests, f"request line {line[:60]!r}"
        fields = []
        for one in lines:
            if not _FIELD.fullmatch(one):
                return requests, f"field line {one[:60]!r}"
            name, _, value = one.partition(b":")
            fields.append((name.lower(), value.strip(b"\t ")))
        hosts = [value for name, value in fields if name == b"host"]
        if len(hosts) > 1 or (not hosts and line.endswith(b"1.1")):
            return requests, f"{len(hosts)} fields Host"
        try:
            body, at = _body(raw, at, fields)
        except ValueError as error:
            return requests, str(error)
        if body is None:
            break
        method, target, _ = line.decode("latin-1").split(" ")
        requests.append((method, target, body))
    return requests, ""


def _body(raw: bytes, at: int, fields: list[tuple[bytes, bytes]]) -> tuple[bytes | None, int]:
    """The body and where it ends; None: it is not all there. ValueError: there is no telling."""
    lengths = [value for name, value in fields if name.replace(b"_", b"-") == b"content-length"]
    codings = [value for name, value in fields if name.replace(b"_", b"-") == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise ValueError(f"framing {lengths + codings}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise ValueError(f"coding {codings[0]!r}")
        return _chunks(raw, at)
    if not lengths:
        return b"", at
    if not re.fullmatch(rb"[0-9]+", lengths[0]) or int(lengths[0]) >= 1 << 63:
        raise ValueError(f"length {lengths[0]!r}")
    end = at + int(lengths[0])
    return (raw[at:end], end) if end <= len(raw) else (None, at)


def _chunks(raw: bytes, at: int) -> tuple[bytes | None, int]:
    body = b""
    while True:
        end = raw.find(b"\r\n", at)
        if end < 0:
            return None, at
        found = _CHUNK.fullmatch(raw[at:end])
        if found is None:
            raise ValueError(f"chunk {raw[at:end][:60]!r}")
        size = int(found[1], 16)
        at = end + 2
        if not size:
            break
        body += raw[at : at + size]
        at += size + 2
        if at > len(raw):
            return None, at
        if raw[at - 2 : at] != b"\r\n":
            raise ValueError("chunk without its line end")
    while (end := raw.find(b"\r\n", at)) > at:
        if not _FIELD.fullmatch(raw[at:end]):
            raise ValueError(f"trailer {raw[at:end][:60]!r}")
        at = end + 2
    return (None, at) if end < 0 else (body, end + 2)
