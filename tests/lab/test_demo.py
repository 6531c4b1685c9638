from io import StringIO

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from exproxy.lab.certificates import LAB_NAME
from exproxy.lab.clients import Outcome
from exproxy.lab.demo import Demo, demo_clients
from exproxy.lab.server import SERVICES
from tests.lab.support import PASSWORD, LabCase, certificates


class DemoTests(LabCase):
    services = SERVICES

    async def test_every_client(self) -> None:
        """Every client of the demonstration is served by the lab, and stopping leaves nothing behind."""
        addresses = {service: ("127.0.0.1", self.server.port(service)) for service in SERVICES}
        ca, output = certificates().ca.read_bytes(), StringIO()
        demo = Demo(
            reactor,
            addresses,
            output,
            servers=["l12ex1"],
            password=PASSWORD,
            notes="try",
            ca=ca,
            interval=0.01,
        )
        clients = demo_clients(addresses, PASSWORD, LAB_NAME, ca)
        wanted = {(client.name, client.service) for client in clients}
        self.assertEqual(len(wanted), 18)
        rows = demo.board.tally.rows
        add = demo.board.tally.add
        everybody: Deferred[None] = Deferred()

        def seen(outcome: Outcome) -> None:
            add(outcome)
            if set(rows) == wanted and not everybody.called:
                everybody.callback(None)

        for client in demo._clients:
            client._report = seen
        await demo.start()
        await everybody
        await demo.stop()
        self.assertEqual({row.error for row in rows.values()}, {""})
        self.assertTrue(all(row.counts["l12ex1"] for row in rows.values()))
        self.assertIn("all services are as usual", output.getvalue())
