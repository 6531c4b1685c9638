"""A socket that its stream has given up."""

from __future__ import annotations

import socket
from typing import NamedTuple


class Detached(NamedTuple):
    """The socket, with the bytes still under way on our side.

    ``unread`` were received and told nobody; ``unsent`` were written and are not with the system yet.
    ``watched``: the socket is in the poller's epoll object, and nobody is served for it now. Then ``ready``
    says whether there may be something to read that epoll has reported already, and ``thorough`` that
    reads must go on until nothing comes.
    """

    socket: socket.socket
    unread: bytes
    unsent: bytes
    watched: bool = False
    ready: bool = False
    thorough: bool = False
