"""protocols.msrpc.options: what a configuration may say."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.names import KNOWN, interface
from protocols.msrpc.options import EpmCheckOptions, EpmOptions, RpcCheckOptions, RpcOptions, as_written

UUID = "01234567-89ab-cdef-0123-456789abcdef"


class OptionsTests(SynchronousTestCase):
    def wrong(self, model: type[BaseModel], options: dict[str, Any], text: str) -> None:
        """These options are refused with that text."""
        with self.assertRaises(ValidationError) as caught:
            model.model_validate(options)
        self.assertIn(text, str(caught.exception))

    def test_defaults(self) -> None:
        """Nothing has to be written."""
        rpc, epm = RpcOptions(), EpmOptions()
        self.assertEqual((rpc.interface, rpc.mapper_port, rpc.relay), ((), 135, "none"))
        self.assertEqual((epm.others, epm.answer, epm.advertise), ("pass", "backend", None))
        self.assertEqual((RpcCheckOptions().interface, EpmCheckOptions().interface), ((), ()))

    def test_interface(self) -> None:
        """One interface, or a list, by name or UUID; interfaces themselves stay what they are."""
        for model in (RpcOptions, RpcCheckOptions, EpmCheckOptions):
            for written, names in (
                ("emsmdb", ["emsmdb"]),
                (["emsmdb", "nspi"], ["emsmdb", "nspi"]),
                (UUID, [UUID]),
                ([], []),
                ((KNOWN["rfri"],), ["rfri"]),
            ):
                found = model.model_validate({"interface": written})
                self.assertEqual([each.name for each in found.interface], names)

    def test_wrong_interfaces(self) -> None:
        """What is no interface is refused in the words of an administrator, and so is one named twice."""
        for written, text in (
            ("emsdmb", "did you mean 'emsmdb'"),
            (["emsmdb", str(KNOWN["emsmdb"].uuid)], "names an interface twice"),
            (7, "must be the name of an RPC interface, a UUID, or a list of these"),
            ([["emsmdb"]], "must be the name of an RPC interface"),
            (None, "must be the name of an RPC interface"),
        ):
            self.wrong(RpcOptions, {"interface": written}, text)

    def test_kebab_case(self) -> None:
        """Names are written with hyphens, ports are numbers, and nothing else is known."""
        self.assertEqual(RpcOptions.model_validate({"mapper-port": 1135}).mapper_port, 1135)
        for port in (0, 65536, "135", 1.5):
            self.wrong(RpcOptions, {"mapper-port": port}, "mapper-port")
        self.wrong(RpcOptions, {"relay": "half"}, "relay")
        self.wrong(EpmOptions, {"answer": "client"}, "answer")
        self.wrong(EpmOptions, {"others": "drop"}, "others")
        self.wrong(EpmOptions, {"interface": "nspi"}, "interface")

    def test_advertise(self) -> None:
        """An IPv4 address; for others an answer has no room, and the error says so."""
        self.assertEqual(EpmOptions.model_validate({"advertise": "192.0.2.1"}).advertise, "192.0.2.1")
        for text in ("2001:db8::1", "lb.example.org", "192.0.2.0/24", ""):
            self.wrong(EpmOptions, {"advertise": text}, f"{text!r} is no IPv4 address")

    def test_as_written(self) -> None:
        """What is read can be written, and read again: names, UUIDs, and versions that are not the usual."""
        written = ["emsmdb", "nspi", f"{UUID}@2.5", f"{KNOWN['rfri'].uuid}@7.1"]
        found = tuple(interface(text) for text in written)
        self.assertEqual(as_written(found), written)
        self.assertEqual(RpcOptions.model_validate({"interface": as_written(found)}).interface, found)

    def test_schema(self) -> None:
        """The JSON Schema knows one interface and a list of them."""
        schema = RpcOptions.model_json_schema()["properties"]["interface"]
        self.assertEqual(len(schema["anyOf"]), 2)
        self.assertIn("emsmdb", schema["anyOf"][0]["examples"])
