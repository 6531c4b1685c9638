"""The kept secret: made once, private, and never guessed at."""

from __future__ import annotations

import stat

from twisted.trial.unittest import SynchronousTestCase

from exproxy.errors import ConfigurationError
from exproxy.secret import LENGTH, kept_secret
from tests.folders import folder


class SecretTests(SynchronousTestCase):
    """A state folder."""

    def setUp(self) -> None:
        self.folder = folder(self) / "parent" / "state"
        self.file = self.folder / "secret"

    def refused(self) -> str:
        return str(self.assertRaises(ConfigurationError, kept_secret, self.folder))

    def test_made(self) -> None:
        """It is made with its folders, long enough, and readable by nobody else."""
        secret = kept_secret(self.folder)
        self.assertGreaterEqual(len(secret), LENGTH)
        self.assertEqual(self.file.read_bytes(), secret)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode) & 0o027, 0)

    def test_used_again(self) -> None:
        """The second start has the same one; another folder has another."""
        self.assertEqual(kept_secret(self.folder), kept_secret(self.folder))
        self.assertNotEqual(kept_secret(self.folder), kept_secret(folder(self) / "another"))

    def test_too_short(self) -> None:
        """A file that was emptied or cut is refused and not made longer."""
        self.folder.mkdir(parents=True)
        for text in (b"", b"short"):
            self.file.write_bytes(text)
            self.assertIn("too short", self.refused())
            self.assertIn(str(self.file), self.refused())
            self.assertEqual(self.file.read_bytes(), text)

    def test_cannot_be_kept(self) -> None:
        """A folder that cannot be made is told with the settings that help."""
        self.folder.parent.parent.mkdir(exist_ok=True)
        self.folder.parent.write_text("a file where a folder should be")
        text = self.refused()
        self.assertIn("cannot keep a secret in", text)
        self.assertIn("`state-dir:`", text)

    def test_cannot_be_read(self) -> None:
        """What is there and cannot be read is told too."""
        self.file.mkdir(parents=True)
        self.assertIn("Is a directory", self.refused())
