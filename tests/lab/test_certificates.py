import datetime

from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab.certificates import lab_certificates
from tests.folders import folder


class CertificatesTests(SynchronousTestCase):
    def test_made_once(self) -> None:
        """A second call leaves good files as they are."""
        place = folder(self) / "lab"
        made = lab_certificates(place)
        before = made.server.read_bytes(), made.ca.read_bytes()
        self.assertEqual(lab_certificates(place), made)
        self.assertEqual((made.server.read_bytes(), made.ca.read_bytes()), before)

    def test_private(self) -> None:
        """The file with the key is its owner's alone, and the authority's key is nowhere."""
        made = lab_certificates(folder(self) / "lab")
        self.assertEqual(made.server.stat().st_mode & 0o777, 0o600)
        self.assertIn(b"PRIVATE KEY", made.server.read_bytes())
        self.assertNotIn(b"PRIVATE KEY", made.ca.read_bytes())

    def test_renewed(self) -> None:
        """Files that are about to expire, or are spoilt, are replaced."""
        place = folder(self) / "lab"
        first = lab_certificates(place).server.read_bytes()
        later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=364)
        second = lab_certificates(place, later).server.read_bytes()
        self.assertNotEqual(first, second)
        (place / "ca.pem").write_bytes(b"spoilt")
        self.assertNotEqual(lab_certificates(place, later).server.read_bytes(), second)
