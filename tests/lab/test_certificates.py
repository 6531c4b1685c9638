import datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab.certificates import lab_certificates


class CertificatesTests(SynchronousTestCase):
    def test_made_once(self) -> None:
        """A second call leaves good files as they are."""
        folder = Path(self.mktemp())
        made = lab_certificates(folder)
        before = made.server.read_bytes(), made.ca.read_bytes()
        self.assertEqual(lab_certificates(folder), made)
        self.assertEqual((made.server.read_bytes(), made.ca.read_bytes()), before)

    def test_private(self) -> None:
        """The file with the key is its owner's alone, and the authority's key is nowhere."""
        made = lab_certificates(Path(self.mktemp()))
        self.assertEqual(made.server.stat().st_mode & 0o777, 0o600)
        self.assertIn(b"PRIVATE KEY", made.server.read_bytes())
        self.assertNotIn(b"PRIVATE KEY", made.ca.read_bytes())

    def test_renewed(self) -> None:
        """Files that are about to expire, or are spoilt, are replaced."""
        folder = Path(self.mktemp())
        first = lab_certificates(folder).server.read_bytes()
        later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=799)
        second = lab_certificates(folder, later).server.read_bytes()
        self.assertNotEqual(first, second)
        (folder / "ca.pem").write_bytes(b"spoilt")
        self.assertNotEqual(lab_certificates(folder, later).server.read_bytes(), second)
