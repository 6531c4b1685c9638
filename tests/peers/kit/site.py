"""Two servers, each with everything that runs on it, and what they share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from .certs import Authority
from .clients import Clients
from .dovecot import Dovecot
from .guardian import guardian
from .kerberos import Kerberos
from .mapper import Mapper
from .needs import skip_unless
from .netns import Namespace
from .nginx import Nginx
from .postfix import Postfix
from .process import Process
from .samba import Roaming, Samba
from .server import DOMAIN, PUBLIC, USERS, Place, Server
from .windows import Apache, Windows

SERVERS = {"ex1": "127.0.0.11", "ex2": "127.0.0.12"}
PROXY = "127.0.0.1"
_MAIL_USER = 8  # Debian's user and group "mail"

# Sites that are not closed yet; the end of the interpreter closes them.
_open: set[Site] = set()

ServerT = TypeVar("ServerT", bound=Server)


class Site:
    """A namespace with the servers ex1 (127.0.0.11) and ex2 (127.0.0.12); 127.0.0.1 is for exproxy.

    `site.dovecot["ex1"]` and the like start both instances at their first use. Whatever is started
    here, or given to `adopt`, ends in close().
    """

    _current: Site | None = None
    _owner: object = None

    def __init__(self) -> None:
        """Make the namespace, the folder and the certificates; start nothing."""
        self.namespace = Namespace()
        self.folder = Path(tempfile.mkdtemp(prefix="exproxy-site-"))
        guardian().folder(self.folder)
        self.folder.chmod(0o755)
        self.authority = Authority(self.folder)
        self.mail = self.folder / "mail"
        self.mail.mkdir(mode=0o700)
        shutil.chown(self.mail, _MAIL_USER, _MAIL_USER)
        self._processes: list[Process] = []
        _open.add(self)
        self.places = {name: self._place(name, address) for name, address in SERVERS.items()}

    @classmethod
    def of(cls, owner: object) -> Site:
        """The site of a test class, kept while tests of that class run: the next class ends it.

        unittest and pytest could end it in tearDownClass; trial does not call that.
        """
        if cls._current is None or cls._owner is not owner:
            cls.leave()
            cls._current, cls._owner = cls(), owner
        return cls._current

    @classmethod
    def leave(cls) -> None:
        """Close the site of the last test class, if any."""
        site, cls._current, cls._owner = cls._current, None, None
        if site is not None:
            site.close()

    def _place(self, name: str, address: str) -> Place:
        pem = self.authority.pem(f"{name}.{DOMAIN}", name, PUBLIC, address, PROXY)
        return Place(self.namespace, name, address, self.folder, pem, self.mail)

    def _both(self, kind: str, make: Callable[[Place], ServerT]) -> dict[str, ServerT]:
        skip_unless(kind)
        made = {name: make(place) for name, place in self.places.items()}
        for server in made.values():
            self.adopt(server).launch()
        for server in made.values():
            server.wait()
        return made

    @cached_property
    def dovecot(self) -> dict[str, Dovecot]:
        """IMAP and POP3."""
        return self._both("dovecot", Dovecot)

    @cached_property
    def postfix(self) -> dict[str, Postfix]:
        """SMTP."""
        return self._both("postfix", Postfix)

    @cached_property
    def nginx(self) -> dict[str, Nginx]:
        """HTTPS."""
        return self._both("nginx", Nginx)

    @cached_property
    def samba(self) -> dict[str, Samba]:
        """RPC."""
        return self._both("samba", Samba)

    @cached_property
    def roaming(self) -> dict[str, Roaming]:
        """RPC at ports that nothing fixes; not together with samba or mapper."""
        return self._both("roaming", Roaming)

    @cached_property
    def mapper(self) -> dict[str, Mapper]:
        """An endpoint mapper in which interfaces come and go."""
        return self._both("mapper", Mapper)

    @cached_property
    def windows(self) -> dict[str, Windows]:
        """HTTP with Windows authentication, and RPC over HTTP."""
        return self._both("windows", Windows)

    @cached_property
    def kerberos(self) -> dict[str, Kerberos]:
        """One centre, on ex1."""
        skip_unless("kerberos")
        centre = Kerberos(self.places["ex1"])
        self.adopt(centre).start()
        return {"ex1": centre}

    @cached_property
    def apache(self) -> dict[str, Apache]:
        """HTTP with SPNEGO by another implementation."""
        return self._both("apache", Apache)

    @cached_property
    def clients(self) -> Clients:
        """Command-line clients inside the namespace."""
        return Clients(self.namespace, self.folder, self.authority.ca)

    def adopt(self, process: Process) -> Process:
        """Let close() end this one too."""
        self._processes.append(process)
        return process

    def ensure(self, *kinds: str) -> None:
        """Have both servers of these kinds running and awake, whatever the test before did."""
        for kind in kinds:
            for server in getattr(self, kind).values():
                server.ensure()

    def new_folder(self, name: str) -> Path:
        """An empty folder in the site's, gone with it."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def empty_mailboxes(self) -> None:
        """Remove all mail."""
        for user in USERS:
            shutil.rmtree(self.mail / user, ignore_errors=True)

    def close(self) -> None:
        """End everything and remove the folder; AssertionError names processes that stayed behind."""
        _open.discard(self)
        try:
            for process in self._processes:
                process.ask()
            for process in self._processes:
                process.stop()
        finally:
            left = self.namespace.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        if left:
            raise AssertionError(f"left behind: {', '.join(left)}")


@atexit.register
def _close_all() -> None:
    for site in tuple(_open):
        site.close()
