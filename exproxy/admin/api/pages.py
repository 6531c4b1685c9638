"""The files of the dashboard: read from the package, known by name; no other file can be asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from exproxy.admin.api.problem import Problem
from exproxy.admin.api.reply import Reply

FOLDER = Path(__file__).resolve().parent.parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is served."""

    body: bytes
    media_type: str
    etag: str


class Pages:
    """All files of a folder whose kind is known, by their path from there; read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._pages: dict[str, Page] = {}
        for path in sorted(folder.rglob("*")):
            kind = TYPES.get(path.suffix)
            if kind is not None and path.is_file():
                body = path.read_bytes()
                tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
                self._pages["/" + path.relative_to(folder).as_posix()] = Page(body, kind, tag)
        if "/index.html" in self._pages:
            self._pages["/"] = self._pages["/index.html"]

    def get(self, path: str, if_none_match: str | None) -> Reply:
        """The file; 304 where the browser has it still. Raises Problem: 404."""
        page = self._pages.get(path)
        if page is None:
            raise Problem(
                HTTPStatus.NOT_FOUND, "no-such-path", "there is nothing here; see /api/v1/openapi.json"
            )
        headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
        if if_none_match is not None and page.etag in [each.strip() for each in if_none_match.split(",")]:
            return Reply(b"", page.media_type, HTTPStatus.NOT_MODIFIED, headers)
        return Reply(page.body, page.media_type, HTTPStatus.OK, headers)
