from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab.store import FOLDER_LIMIT, PEOPLE_LIMIT, Folder, Full, MailStore, person


class Watching:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def arrived(self, count: int) -> None:
        self.seen.append(f"+{count}")

    def gone(self, sequence: int) -> None:
        self.seen.append(f"-{sequence}")


class StoreTests(SynchronousTestCase):
    def test_person(self) -> None:
        """One person in all spellings."""
        for name in ("anna", "ANNA@litware.test", "LITWARE\\Anna"):
            self.assertEqual(person(name), "anna")
        self.assertEqual(person(""), "postmaster")

    def test_welcome(self) -> None:
        """A new person finds mail, whatever the name; the same person finds the same mailbox."""
        store = MailStore("secret", now=lambda: 0.0)
        self.assertIn(b"Thu, 01 Jan 1970", store.mailbox("anna").inbox.messages[0].raw)
        self.assertIs(store.mailbox("anna"), store.mailbox("Anna@litware.test"))
        self.assertNotIn(b"\r\nEvil", store.mailbox("x\r\nEvil: yes").inbox.messages[0].raw)

    def test_full_folder(self) -> None:
        """A full folder loses its oldest message, and who watches is told in order."""
        folder = Folder(lambda: 0.0)
        for _ in range(FOLDER_LIMIT):
            folder.add(b"x")
        watcher = Watching()
        folder.watchers.append(watcher)
        folder.add(b"new")
        self.assertEqual(watcher.seen, ["-1", f"+{FOLDER_LIMIT}"])
        self.assertEqual(folder.messages[0].uid, 2)

    def test_remove(self) -> None:
        """Removed messages are announced one by one, as numbered then, but not to who did it."""
        folder = Folder(lambda: 0.0)
        for _ in range(4):
            folder.add(b"x")
        mine, other = Watching(), Watching()
        folder.watchers += [mine, other]
        self.assertEqual(folder.remove({1, 2, 4}, by=mine), [1, 1, 2])
        self.assertEqual((mine.seen, other.seen), ([], ["-1", "-1", "-2"]))

    def test_full_store(self) -> None:
        """The number of people is limited; those who are known stay welcome."""
        store = MailStore("secret")
        for number in range(PEOPLE_LIMIT):
            store._people[str(number)] = store._people.get("0") or store.mailbox("0")
        self.assertRaises(Full, store.mailbox, "one-more")
        store.mailbox("0")
