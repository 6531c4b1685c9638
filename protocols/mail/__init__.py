"""SMTP, IMAP and POP: the server speaks first, so a server that cannot even greet is not given a client."""
