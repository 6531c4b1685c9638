"""protocols.msrpc.names: interfaces as people write them."""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.names import EPM, KNOWN, WAITING, Interface, interface, named, title

SOMETHING = UUID("01234567-89ab-cdef-0123-456789abcdef")


class NamesTests(SynchronousTestCase):
    def test_exchange(self) -> None:
        """Exchange's interfaces have the versions of their documents, and Outlook asks for these."""
        found = {name: (str(each.uuid), each.major, each.minor) for name, each in list(KNOWN.items())[:4]}
        self.assertEqual(
            found,
            {
                "emsmdb": ("a4f1db00-ca47-1067-b31f-00dd010662da", 0, 81),
                "async-emsmdb": ("5261574a-4572-206e-b268-6b199213b4e4", 0, 1),
                "nspi": ("f5cc5a18-4264-101a-8c59-08002b2f8426", 56, 0),
                "rfri": ("1544f5e0-613c-11d1-93df-00c04fd7bd09", 1, 0),
            },
        )
        self.assertEqual((EPM.name, WAITING.name), ("epmapper", "async-emsmdb"))

    def test_names(self) -> None:
        """A name in any case is an interface, and each interface has its name and a title."""
        for name, known in KNOWN.items():
            self.assertEqual(interface(name.upper()), known)
            self.assertEqual((named(known.uuid), title(known.uuid)), (name, known.title))
            self.assertTrue(known.title.isascii())

    def test_unknown(self) -> None:
        """Others are called by their UUID, and have no title."""
        self.assertEqual((named(SOMETHING), title(SOMETHING)), (str(SOMETHING), ""))

    def test_uuids(self) -> None:
        """A UUID means the known interface, or version 1.0; behind @ a version is written."""
        self.assertEqual(interface(str(EPM.uuid)), EPM)
        self.assertEqual(interface(str(SOMETHING)), Interface(str(SOMETHING), SOMETHING, 1, 0))
        for version, major, minor in (("2", 2, 0), ("2.5", 2, 5), ("0.65535", 0, 65535), ("7.", 7, 0)):
            found = interface(f"{str(SOMETHING).upper()}@{version}")
            self.assertEqual((found.major, found.minor), (major, minor))

    def test_another_version_of_a_known_one(self) -> None:
        """A known interface may be asked for in another version."""
        self.assertEqual(interface(f"{EPM.uuid}@4.1"), Interface("epmapper", EPM.uuid, 4, 1))

    def test_wrong_versions(self) -> None:
        """A version is two numbers of 16 bits; the error says how it is written."""
        for version in ("x", "1.x", "1.2.3", "-1", "65536", "1.65536", "1,0", " 1", "\N{SUPERSCRIPT TWO}"):
            with self.assertRaisesRegex(ValueError, "^'.*': the version behind @ must be MAJOR or"):
                interface(f"{SOMETHING}@{version}")

    def test_misspelt(self) -> None:
        """A name that is nearly one is corrected; else the first four are told."""
        for text, advice in (
            ("emsdmb", "did you mean 'emsmdb'"),
            ("NSPI2", "did you mean 'nspi'"),
            ("what", "there are emsmdb, async-emsmdb, nspi, rfri and others"),
            ("01234567-89ab", "there are emsmdb"),
        ):
            with self.assertRaisesRegex(ValueError, f"^unknown RPC interface '{text}'; {advice}"):
                interface(text)
