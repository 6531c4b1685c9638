"""The client's address: PROXY protocol in and out, and connecting from the client's own address."""

from __future__ import annotations

from tests.config.reading import SERVERS, ReadingTestCase

NEEDS = (
    "needs `trusted-proxies`, of the service or of the file: the addresses of the proxies whose PROXY "
    "protocol header is believed; nobody else may connect"
)


class AcceptTests(ReadingTestCase):
    """`accept-proxy`."""

    def accepted(self, text: str) -> list[bool]:
        return [one.accept_proxy for one in self.service(f"{{protocol: tcp, {text}}}").listens]

    def test_silent(self) -> None:
        """Nobody's word is believed unless somebody says so."""
        self.assertEqual(self.accepted("listen: [5, 6]"), [False, False])
        self.assertEqual(self.accepted("listen: 5, trusted-proxies: 192.0.2.1"), [False])

    def test_by_address(self) -> None:
        """One listening address takes headers, another does not."""
        self.assertEqual(
            self.accepted("listen: [5, {port: 6, accept-proxy: true}], trusted-proxies: 192.0.2.1"),
            [False, True],
        )
        self.assertEqual(
            self.accepted("listen: {port: 6, accept-proxy: true}, trusted-proxies: 192.0.2.1"), [True]
        )

    def test_by_service(self) -> None:
        """A service says it for all of its addresses; one of them may still say no."""
        self.assertEqual(
            self.accepted(
                "accept-proxy: true, listen: [5, 192.0.2.9:6, {port: 7, accept-proxy: false}],"
                " trusted-proxies: 192.0.2.1"
            ),
            [True, True, False],
        )

    def test_by_defaults(self) -> None:
        """So may `defaults:` for all services, with the file's proxies."""
        config = self.config(
            f"{SERVERS}trusted-proxies: 192.0.2.1\ndefaults: {{accept-proxy: true}}\n"
            "services:\n  s: {protocol: tcp, listen: 5}\n"
            "  t: {protocol: tcp, listen: 6, accept-proxy: false}\n"
        )
        self.assertEqual([config.services[name].listens[0].accept_proxy for name in "st"], [True, False])

    def test_needs_proxies(self) -> None:
        """Without anybody to be believed it is an error, where it was said, and once."""
        self.assertEqual(
            self.wrong("{protocol: tcp, listen: {port: 6, accept-proxy: true}}"),
            [f"listen.accept-proxy: {NEEDS}"],
        )
        self.assertEqual(
            self.wrong("{protocol: tcp, listen: [6, 7], accept-proxy: true}"), [f"accept-proxy: {NEEDS}"]
        )
        self.assertEqual(
            self.wrong("{protocol: tcp, listen: 6, accept-proxy: true, trusted-proxies: []}"),
            [f"accept-proxy: {NEEDS}"],
        )

    def test_administration(self) -> None:
        """The administration's address takes none."""
        text = f"{SERVERS}services: {{s: {{protocol: tcp, listen: 5}}}}\n"
        found = self.messages(f"{text}admin: {{listen: {{port: 6, accept-proxy: true}}}}\n")
        self.assertIn(
            "admin.listen.accept-proxy: the administration's address takes no PROXY protocol", found
        )


class SendTests(ReadingTestCase):
    """`backend: {send-proxy: …}`."""

    def test_versions(self) -> None:
        """v1, v2 or neither."""
        for written, expected in (("v1", "v1"), ("v2", "v2"), ("false", None)):
            service = self.service(f"{{protocol: tcp, listen: 5, backend: {{send-proxy: {written}}}}}")
            self.assertEqual(service.backend.send_proxy, expected)
        self.assertIsNone(self.service("{protocol: tcp, listen: 5}").backend.send_proxy)

    def test_other_words(self) -> None:
        """Everything else is refused with what there is."""
        for written, shown in (("true", "true"), ("2", "2"), ("v3", "'v3'")):
            self.assertEqual(
                self.wrong(f"{{protocol: tcp, listen: 5, backend: {{send-proxy: {written}}}}}"),
                [f"backend.send-proxy: must be v1, v2 or false, not {shown}"],
            )

    def test_defaults(self) -> None:
        """A service may leave out what `defaults:` say for all, and keeps the rest of it."""
        config = self.config(
            f"{SERVERS}defaults: {{backend: {{send-proxy: v2, port: 9}}}}\nservices:\n"
            "  s: {protocol: tcp, listen: 5}\n"
            "  t: {protocol: tcp, listen: 6, backend: {send-proxy: false}}\n"
        )
        backends = [config.services[name].backend for name in "st"]
        self.assertEqual([(each.send_proxy, each.port) for each in backends], [("v2", 9), (None, 9)])


class TransparentTests(ReadingTestCase):
    """`transparent`."""

    def test_written(self) -> None:
        """It is off unless the service, or `defaults:`, say so."""
        self.assertFalse(self.service("{protocol: tcp, listen: 5}").transparent)
        self.assertTrue(self.service("{protocol: tcp, listen: 5, transparent: true}").transparent)
        config = self.config(
            f"{SERVERS}defaults: {{transparent: true}}\nservices:\n"
            "  s: {protocol: tcp, listen: 5}\n  t: {protocol: tcp, listen: 6, transparent: false}\n"
        )
        self.assertEqual([config.services[name].transparent for name in "st"], [True, False])
