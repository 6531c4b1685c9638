"""TLS channels on socket pairs, whose other end is the standard library's ssl."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import TLSOptions
from exproxy.tls import binding
from exproxy.tls.channel import TLSChannel
from exproxy.tls.client import ClientTLS
from exproxy.tls.server import ServerTLS
from tests.certificates import ca_file, pem

NAME = "ex1.litware.test"
BUFFER = memoryview(bytearray(256 * 1024))
AGAIN = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def serving(*names: str) -> ServerTLS:
    """A server of ours for one certificate."""
    path = pem(*(names or (NAME,)))
    return ServerTLS([(path, path)])


def asking(name: str = NAME, verify: str | None = None, **options: Any) -> ClientTLS:
    """A client of ours that verifies that name."""
    return ClientTLS(TLSOptions(verify or str(ca_file()), **options), name)


def far_client(most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """The other end of a server's channel; it verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = most
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def far_server(*names: str, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """The other end of a client's channel."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = most
    context.load_cert_chain(pem(*(names or (NAME,))))
    return context


class ChannelTestCase(SynchronousTestCase):
    """Pairs of connected sockets, closed at the end; ``direct``: whether the private binding is used."""

    direct = True

    def setUp(self) -> None:
        if not self.direct:
            self.patch(binding, "DIRECT", False)

    def sockets(self, *, tcp: bool = False) -> tuple[socket.socket, socket.socket]:
        """A pair of non-blocking sockets."""
        ours, theirs = connected() if tcp else socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
            self.addCleanup(sock.close)
        return ours, theirs

    def far(self, sock: socket.socket, context: ssl.SSLContext, **more: Any) -> ssl.SSLSocket:
        """TLS on the other socket."""
        server_side = context.protocol == ssl.PROTOCOL_TLS_SERVER
        wrapped = context.wrap_socket(
            sock, server_side=server_side, do_handshake_on_connect=False, suppress_ragged_eofs=False, **more
        )
        self.addCleanup(wrapped.close)
        return wrapped

    def pair(
        self,
        ours: ServerTLS | ClientTLS | None = None,
        context: ssl.SSLContext | None = None,
        *,
        tcp: bool = False,
        **more: Any,
    ) -> tuple[TLSChannel, ssl.SSLSocket]:
        """A channel and its other end, the handshake done."""
        ours = ours or serving()
        near, theirs = self.sockets(tcp=tcp)
        channel = ours.channel(near)
        self.addCleanup(channel.close)
        other = far_client() if isinstance(ours, ServerTLS) else far_server()
        far = self.far(theirs, context or other, **more)
        shake(channel, far)
        return channel, far


def connected() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    for sock in (ours, theirs):
        # What is sent is there at once.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def shake(channel: TLSChannel, far: ssl.SSLSocket) -> None:
    """Carry out the handshake; raises what the channel raises."""
    done = [False, False]
    for _ in range(20):
        if not done[0]:
            done[0] = channel.handshake()
        if not done[1]:
            try:
                far.do_handshake()
                done[1] = True
            except AGAIN:
                pass
        if all(done):
            return
    raise AssertionError(f"no end of the handshake: {done}")


def received(channel: TLSChannel, buffer: memoryview = BUFFER) -> bytes:
    """All that is there now."""
    found = b""
    while True:
        try:
            count = channel.recv_into(buffer, len(buffer))
        except BlockingIOError:
            return found
        if not count:
            return found
        found += bytes(buffer[:count])
