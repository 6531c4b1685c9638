"""Several processes as an administrator meets them: they serve as one, drain as one, and are replaced."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from exproxy.config import load
from exproxy.service import ExproxyService
from exproxy.workers.supervisor import Supervisor
from tests.certificates import pem
from tests.folders import folder
from tests.loopback.twistd import PATIENCE, ROOT, TwistdCase, alive

WORKERS = """
workers: 2
"""
HEAD = "servers: {a: 127.0.0.1, b: 127.0.0.2}\nstate-dir: state\naccess-log: access.log\nworkers: 2\n"
SERVES = r"worker (\d) \(process (\d+)\) serves"


class Named:
    """A server that says its name to whoever comes, and keeps the connection."""

    def __init__(self, name: bytes, host: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self.kept: list[socket.socket] = []
        self._socket = socket.create_server((host, port), backlog=512)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                self.kept.append(sock)
                with contextlib.suppress(OSError):
                    sock.sendall(self.name)

    def close(self) -> None:
        """Nobody is here any more."""
        with contextlib.suppress(OSError):
            # A thread that waits in accept() would keep the socket.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for sock in self.kept:
            sock.close()


class WorkersTests(TwistdCase):
    """Two workers each."""

    # Each of three processes takes a second of the processor to begin.
    patience = 4 * PATIENCE

    def serving(self, file: Path) -> tuple[subprocess.Popen[str], int, dict[int, int]]:
        """A process whose workers serve, its port, and the workers' processes by number."""
        process = self.begin("-n", "--pidfile=", "exproxy", "-c", file)
        found = self.until(process, rf"(?s)listens on 127\.0\.0\.1:(\d+).*{SERVES}.*{SERVES}")
        pids = {int(found[2]): int(found[3]), int(found[4]): int(found[5])}
        self.addCleanup(self._gone, process, pids)
        return process, int(found[1]), pids

    def _gone(self, process: subprocess.Popen[str], pids: dict[int, int]) -> None:
        """No process is left behind by any test."""
        if process.poll() is None:
            process.kill()
            process.wait()
        self.wait(lambda: not any(alive(pid) for pid in pids.values()))

    def two_servers(self, more: str, head: str = "") -> Path:
        """A configuration with two servers that say their names."""
        first = Named(b"a", "127.0.0.1")
        self.servers = [first, Named(b"b", "127.0.0.2", first.port)]
        for server in self.servers:
            self.addCleanup(server.close)
        file = self.folder / "exproxy.yaml"
        file.write_text(
            f"state-dir: state\naccess-log: access.log\nworkers: 2\n{head}"
            "services:\n  relay:\n    protocol: tcp\n    listen: {address: 127.0.0.1, port: 0}\n"
            f"    backend: {{port: {first.port}}}\n    timeouts: {{grace: 100ms}}\n{more}",
            encoding="utf-8",
        )
        return file

    def ask(self, port: int) -> tuple[bytes, socket.socket]:
        """A new client, and what the server that it meets calls itself; b"" where there is none."""
        client = socket.create_connection(("127.0.0.1", port), self.patience)
        self.addCleanup(client.close)
        with contextlib.suppress(ConnectionResetError):
            return client.recv(100), client
        return b"", client

    def records(self) -> list[dict[str, object]]:
        """The access log so far."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text("utf-8").splitlines()]

    # -- the end -----------------------------------------------------------------------

    def test_drains(self) -> None:
        """SIGTERM: nobody new, who is there in any worker goes on; after the last all processes end."""
        process, port, pids = self.serving(self.configure(more=WORKERS))
        pairs = [self.client(port) for _ in range(6)]
        process.send_signal(signal.SIGTERM)
        self.until(process, r"relay waits up to 30 s for \d connections")
        self.wait(lambda: self._refused(port))
        for client, far in pairs:
            far.sendall(b"world")
            self.assertEqual(client.recv(100), b"world")
            client.close()
            far.close()
        out, err = process.communicate(timeout=self.patience)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertNotIn("Traceback", out + err)
        self.assertEqual([r["bytes_in"] for r in self.records()], [5] * 6)
        self.assertFalse([pid for pid in pids.values() if alive(pid)])

    def _refused(self, port: int) -> bool:
        """Nobody listens there any more; to connect would be to leave a client behind."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return not any(line[3] == "0A" and line[1].endswith(f":{port:04X}") for line in lines)

    def test_second_signal(self) -> None:
        """SIGTERM once more cuts the connections of all workers."""
        process, port, _ = self.serving(self.configure(grace="10m", more=WORKERS))
        for _ in range(4):
            self.client(port)
        process.send_signal(signal.SIGTERM)
        self.until(process, r"relay waits up to 600 s")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=self.patience)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertEqual([r["reason"] for r in self.records()], ["stopped at once"] * 4)

    def test_signals_to_all(self) -> None:
        """A signal to the whole group, as a terminal or systemd sends it, is the supervisor's to obey."""
        process, port, pids = self.serving(self.configure(more=WORKERS))
        client, far = self.client(port)
        for pid in pids.values():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(pid, number)
        far.sendall(b"still here")
        self.assertEqual(client.recv(100), b"still here")
        self.client(port)
        self.assertTrue(all(alive(pid) for pid in pids.values()))
        process.send_signal(signal.SIGTERM)

    def test_killed_supervisor(self) -> None:
        """The supervisor is killed: its workers free the address at once for the next one, finish with who
        is there, and end."""
        file = self.configure(listen=self._free_port(), more=WORKERS)
        process, port, pids = self.serving(file)
        pairs = [self.client(port) for _ in range(4)]
        process.kill()
        process.wait()
        self.wait(lambda: self._refused(port))
        following, port, _ = self.serving(file)
        client, far = self.client(port)
        for old, end in [*pairs, (client, far)]:
            end.sendall(b"here")
            self.assertEqual(old.recv(100), b"here")
        for old, end in pairs:
            old.close()
            end.close()
        self.wait(lambda: not any(alive(pid) for pid in pids.values()))
        following.send_signal(signal.SIGTERM)

    def _free_port(self) -> int:
        for port in range(9600, 9700):
            with socket.socket() as sock, contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                return port
        raise AssertionError("no port is free")

    # -- a worker's end ----------------------------------------------------------------

    def test_killed_worker(self) -> None:
        """A worker is killed: another one takes its place, and the connections of the others go on."""
        process, port, pids = self.serving(self.configure(more=WORKERS))
        pairs = [self.client(port) for _ in range(12)]
        os.kill(pids[1], signal.SIGKILL)
        found = self.until(
            process, rf"(?s)worker 1 \(process {pids[1]}\) has died, killed by SIGKILL.*{SERVES}"
        )
        self.assertEqual(found[1], "1")
        pids[1] = int(found[2])
        left = 0
        for client, far in pairs:
            with contextlib.suppress(OSError):
                far.sendall(b"here")
                left += client.recv(100) == b"here"
        # How many were whose is the system's choice.
        self.assertLessEqual(left, 12)
        for _ in range(6):
            self.client(port)
        process.send_signal(signal.SIGTERM)

    def test_nothing_in_the_queue_is_lost(self) -> None:
        """Clients that connect while a worker dies are served by the others."""
        file = self.two_servers("", "servers: {a: 127.0.0.1, b: 127.0.0.2}\n")
        process, port, pids = self.serving(file)
        for number in (1, 2):
            os.kill(pids[number], signal.SIGSTOP)
        clients = [socket.create_connection(("127.0.0.1", port), self.patience) for _ in range(8)]
        for client in clients:
            self.addCleanup(client.close)
        os.kill(pids[1], signal.SIGKILL)
        os.kill(pids[2], signal.SIGCONT)
        answers = [client.recv(100) for client in clients]
        self.assertEqual(set(answers), {b"a", b"b"})
        process.send_signal(signal.SIGTERM)

    # -- as one ------------------------------------------------------------------------

    def test_rotation(self) -> None:
        """SIGHUP: all workers go on in a new access log."""
        process, port, _ = self.serving(self.configure(more=WORKERS))
        (self.folder / "access.log").rename(self.folder / "access.log.1")
        process.send_signal(signal.SIGHUP)
        self.until(process, r"SIGHUP: the logs were reopened")
        for _ in range(6):
            client, far = self.client(port)
            client.close()
            far.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=self.patience)
        self.assertEqual((self.folder / "access.log.1").read_text("utf-8"), "")
        self.assertEqual([r["bytes_in"] for r in self.records()], [5] * 6)

    def test_one_client_one_server(self) -> None:
        """Many connections of one address at once, in all workers: one server."""
        file = self.two_servers("    persistence: source-ip\n", "servers: {a: 127.0.0.1, b: 127.0.0.2}\n")
        process, port, _ = self.serving(file)
        clients = [socket.create_connection(("127.0.0.1", port), self.patience) for _ in range(40)]
        for client in clients:
            self.addCleanup(client.close)
        self.assertEqual(len({client.recv(100) for client in clients}), 1)
        process.send_signal(signal.SIGTERM)

    def test_limit_of_a_server(self) -> None:
        """A storm on servers with limits: as many as there may be come in, whichever worker they meet, and
        those who leave make room for as many."""
        file = self.two_servers(
            "    when-full: refuse\n",
            "servers: {a: {address: 127.0.0.1, limit: 5}, b: {address: 127.0.0.2, limit: 4}}\n",
        )
        process, port, _ = self.serving(file)
        clients = [socket.create_connection(("127.0.0.1", port), self.patience) for _ in range(40)]
        met: dict[bytes, list[socket.socket]] = {b"a": [], b"b": [], b"": []}
        for client in clients:
            self.addCleanup(client.close)
            with contextlib.suppress(ConnectionResetError):
                met[client.recv(100)].append(client)
        self.assertEqual((len(met[b"a"]), len(met[b"b"])), (5, 4))
        for sock in (*met[b"a"], *self.servers[0].kept):
            sock.close()
        self.wait(lambda: self.ask(port)[0] == b"a")
        self.assertEqual([self.ask(port)[0] for _ in range(5)], [b"a"] * 4 + [b""])
        process.send_signal(signal.SIGTERM)

    def test_limit_of_connections(self) -> None:
        """`limits.connections` is that of all workers together: others wait until one leaves."""
        file = self.two_servers(
            "    limits: {connections: 7}\n",
            "servers: {a: 127.0.0.1, b: 127.0.0.2}\n",
        )
        process, port, _ = self.serving(file)
        clients = [socket.create_connection(("127.0.0.1", port), self.patience) for _ in range(30)]
        for client in clients:
            self.addCleanup(client.close)

        def greeted() -> list[socket.socket]:
            return select.select(clients, [], [], 0.2)[0]

        self.wait(lambda: len(greeted()) >= 7)
        self.assertEqual(len(greeted()), 7)
        for _ in range(3):
            first = greeted()[0]
            clients.remove(first)
            first.close()
            self.wait(lambda: len(greeted()) >= 7)
            self.assertEqual(len(greeted()), 7)
        process.send_signal(signal.SIGTERM)

    def test_health(self) -> None:
        """A server that the supervisor finds DOWN gets nobody from any worker, and its clients are cut."""
        file = self.two_servers(
            "    health: {interval: 100ms, timeout: 90ms, rise: 1, fall: 1}\n    on-down: cut\n",
            "servers: {a: 127.0.0.1, b: 127.0.0.2}\n",
        )
        process, port, _ = self.serving(file)
        pairs = [self.ask(port) for _ in range(10)]
        self.assertEqual({name for name, _ in pairs}, {b"a", b"b"})
        # What it has accepted it keeps: nobody would notice but for the check.
        self.servers[0]._socket.shutdown(socket.SHUT_RDWR)
        self.servers[0]._socket.close()
        self.until(process, "Server relay/a is DOWN")
        for name, client in pairs:
            if name == b"a":
                client.settimeout(self.patience)
                with contextlib.suppress(ConnectionResetError):
                    self.assertEqual(client.recv(100), b"")
        self.assertEqual({self.ask(port)[0] for _ in range(8)}, {b"b"})
        process.send_signal(signal.SIGTERM)

    def test_event_log(self) -> None:
        """What workers say stands in the supervisor's logs, with the worker's number."""
        log = self.folder / "events.log"
        process, port, _ = self.serving(self.configure(more=f"{WORKERS}event-log: {log}\n"))
        pairs = [self.client(port) for _ in range(4)]
        process.send_signal(signal.SIGTERM)
        self.until(process, r"worker \d: relay waits up to 30 s")
        for each in pairs:
            for sock in each:
                sock.close()
        process.communicate(timeout=self.patience)
        events = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        [waits, *_] = [event for event in events if re.match(r"worker \d: relay waits", event["text"])]
        self.assertEqual(waits["text"].split()[1], f"{waits['worker']}:")
        self.assertEqual(waits["level"], "info")

    def test_one_is_no_worker(self) -> None:
        """`workers: 1` is one process, as without it."""
        process = self.begin("-n", "--pidfile=", "exproxy", "-c", self.configure(more="workers: 1\n"))
        port = int(self.until(process, r"relay listens on 127\.0\.0\.1:(\d+)")[1])
        self.client(port)
        self.assertEqual(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(), "")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)


class SupervisorTests(TestCase):
    """A supervisor in the test's process, its workers in their own."""

    timeout = 120

    def configured(self, text: str, head: str = HEAD) -> ExproxyService:
        """The service that this describes, with two workers and two servers."""
        first = Named(b"a", "127.0.0.1")
        self.servers = [first, Named(b"b", "127.0.0.2", first.port)]
        for server in self.servers:
            self.addCleanup(server.close)
        self.folder = folder(self)
        file = self.folder / "exproxy.yaml"
        file.write_text(f"{head}{text.replace('PORT', str(first.port))}", encoding="utf-8")
        return ExproxyService(load(file), reactor)

    async def started(self, text: str, head: str = HEAD) -> tuple[ExproxyService, Supervisor]:
        """It serves; stopped at the end, without any process left."""
        service = self.configured(text, head)
        service.bind()
        service.startService()
        crew = service.crew
        assert crew is not None
        self.addCleanup(service.stopService)
        await crew.ready
        return service, crew

    async def until(self, condition: Any) -> None:
        """Wait for it; the test's timeout is the end of patience."""
        while not condition():
            await deferLater(reactor, 0.02)

    async def ask(self, service: ExproxyService) -> tuple[bytes, socket.socket]:
        """A client, and whom it met."""
        [where] = service.built[0].service.listenings()
        client = socket.socket()
        self.addCleanup(client.close)
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", where.port))
        found: list[bytes] = []

        def answered() -> bool:
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                found.append(client.recv(100))
            return bool(found)

        await self.until(answered)
        return found[0], client

    RELAY = """
services:
  relay:
    protocol: tcp
    listen: {address: 127.0.0.1, port: 0}
    backend: {port: PORT}
    timeouts: {grace: 100ms}
"""

    async def test_operator(self) -> None:
        """What the operator wants of a server all workers obey, and links can be ended in all of them."""
        service, crew = await self.started(self.RELAY)
        met = [await self.ask(service) for _ in range(8)]
        self.assertEqual({name for name, _ in met}, {b"a", b"b"})
        [(pool, _)] = service.built[0].pools
        pool.operate("a", "drain")
        await deferLater(reactor, 0.2)
        self.assertEqual({(await self.ask(service))[0] for _ in range(6)}, {b"b"})
        crew.sever("relay", "a", "taken out")
        for name, client in met:
            if name == b"a":
                await self.until(lambda client=client: _ended(client))
        await self.until(lambda: crew.shares.load("relay/a") == 0)

    async def test_reports(self) -> None:
        """The supervisor knows what its workers carry, all together."""
        service, crew = await self.started(self.RELAY)
        for _ in range(6):
            await self.ask(service)
        await self.until(lambda: _sessions(crew) == 6)
        servers = crew.reports.whole()["services"]["relay"]["pools"]["relay"]["servers"]
        self.assertEqual(sum(each["links"] for each in servers.values()), 6)
        [(pool, _)] = service.built[0].pools
        await self.until(lambda: sum(backend.elsewhere for backend in pool.backends) == 6)

    async def test_spare(self) -> None:
        """A worker that dies is replaced by the process that was prepared for it, and by then there is
        another one."""
        _, crew = await self.started(self.RELAY)
        await self.until(lambda: crew.spare is not None)
        spare, first = crew.spare, crew.workers[1]
        first.kill()
        await self.until(lambda: first.over and 1 in crew.serving)
        self.assertIs(crew.workers[1], spare)
        await self.until(lambda: crew.spare is not None)

    async def test_example(self) -> None:
        """etc/workers.yaml starts as it is, but for addresses and ports."""
        text = (ROOT / "etc" / "workers.yaml").read_text("utf-8")
        text = text.replace("192.168.2.11", "127.0.0.1").replace("192.168.2.12", "127.0.0.2")
        text = re.sub(
            r"listen: \d+", "listen: {address: 127.0.0.1, port: 0}\n    backend: {port: PORT}", text
        )
        text = text.replace("servers:", "state-dir: state\naccess-log: access.log\nservers:")
        service, crew = await self.started(text.replace("limits:", "timeouts: {grace: 100ms}\n  limits:"), "")
        self.assertEqual((crew.count, len(crew.serving)), (2, 2))
        self.assertEqual([built.config.protocol.name for built in service.built], ["imap", "pop"])

    async def test_found_wanting(self) -> None:
        """A worker that cannot serve what the supervisor has read says why, and all of it ends."""
        key = folder(self) / "key.pem"
        key.write_bytes(pem("mail.example.org").read_bytes())
        service = self.configured(
            f"services: {{web: {{protocol: https, listen: {{address: 127.0.0.1, port: 0, tls: implicit}}, "
            f"certificate: {key}, backend: {{port: PORT, tls: false}}, check: connect}}}}\n"
        )
        crew = service.crew
        assert crew is not None
        refused: defer.Deferred[str] = defer.Deferred()
        crew.refused = refused.callback
        service.bind()
        key.unlink()
        service.startService()
        self.addCleanup(service.stopService)
        reason = await refused
        self.assertIn("the configuration cannot be served", reason)
        self.assertIn("key.pem", reason)
        self.assertIn("must be able to read them", reason)


def _ended(client: socket.socket) -> bool:
    try:
        return client.recv(100) == b""
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False


def _sessions(crew: Supervisor) -> int:
    services: dict[str, Any] = crew.reports.whole().get("services", {})
    return int(services.get("relay", {}).get("sessions", 0))
