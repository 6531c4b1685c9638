from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab.options import LabOptions


class OptionsTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Two servers, unprivileged ports below 10000, each once."""
        options = LabOptions()
        self.assertEqual(list(options.servers.values()), ["127.0.0.11", "127.0.0.12"])
        ports = options.all_ports().values()
        self.assertTrue(all(1024 < port < 10000 for port in ports))
        self.assertEqual(len(set(ports)), 11)

    def test_given(self) -> None:
        """Ports given replace the usual ones; the control can be left out."""
        options = LabOptions.model_validate({"ports": {"https": 9443}, "control": None, "certificates": "x"})
        self.assertEqual((options.all_ports()["https"], options.all_ports()["imap"]), (9443, 1143))
        self.assertIsNone(options.control)

    def test_refused(self) -> None:
        """Mistakes are refused, and nothing may listen beyond loopback."""
        for wrong in (
            {"server": {}},
            {"servers": {}},
            {"servers": {"a": "192.0.2.1"}},
            {"servers": {"A b": "127.0.0.2"}},
            {"servers": {"a": "127.0.0.2", "b": "127.0.0.2"}},
            {"password": ""},
            {"control": "8405"},
            {"control": "0.0.0.0:8405"},
            {"control": "127.0.0.1:99999"},
            {"ports": {"nntp": 119}},
            {"ports": {"imap": 70000}},
            {"ports": {"imap": 1110}},
        ):
            self.assertRaises(ValidationError, LabOptions.model_validate, wrong)
