"""The interfaces of exproxy: what a plugin provides, and what it may count on.

Where to begin:

* a protocol: :class:`IProtocolPlugin` and :class:`IConversation` (docs/write-a-protocol.md builds one),
* where a client goes again: :class:`IPersistencePlugin` and :class:`IPersistence`,
* who is next: :class:`ISchedulingPlugin` and :class:`IScheduling`,
* whether a server is well: :class:`ICheckPlugin` and :class:`ICheck`.

The life of a connection, in the order in which a plugin meets it:

1. A listener accepts, and calls ``IProtocolFactory.buildProtocol``; ``SessionFactory`` makes a
   session around a new conversation.
2. The conversation gets ``Began(facts)``. A server-first protocol answers ``[Pick(facts)]``, a
   client-first one waits for ``Data(CLIENT, …)`` until it knows enough to Pick.
3. The pool asks the persistence strategy for candidates, then the scheduling for an order among
   the usable backends; the session connects, going on to the next one when that fails.
4. ``Connected(link)``: the conversation forwards, edits, or ends with ``Relay()``.
   ``Unavailable(reason)``: it refuses in its protocol's words and hangs up.
5. At any end of either side the session closes the rest, gives the lease back and writes one
   access-log record.

A plugin is made known by one line in ``twisted/plugins/NAME_plugin.py``::

    managesieve = Lazy(IProtocolPlugin, "managesieve", "my_package.sieve:plugin")

Optional abilities (ILearner, IMarker, IDefaulting, ILocating, IAsking) are interfaces of their own, asked for
with ``providedBy``. Whatever you provide, hold it to its interface in a test: ``verifyObject(IConversation,
mine)``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from exproxy.actions import Action
from exproxy.events import Event
from exproxy.model import Candidate, Choice, Claim, Facts, Key, Known, Link, Listening, TLSOptions
from exproxy.question import IAsking as IAsking
from exproxy.transports import IWire as IWire
from exproxy.transports import IWireUser as IWireUser

# ---------------------------------------------------------------------------------- plugins


class INamed(Interface):
    """What every plugin record has."""

    name = Attribute("str: the word used in a configuration, kebab-case, unique among its kind")
    summary = Attribute("str: one line for `exproxyctl` and the documentation")
    options = Attribute(
        "the class of the plugin's own options, a pydantic model derived from `exproxy.plugins.Options`: unknown "
        "keys are errors, its field `mask_v4` is `mask-v4` in the file, and what is wrong is shown with file, line "
        "and column like all else. `exproxy.plugins.NoOptions` for none"
    )


class IProtocolPlugin(INamed):
    """A protocol: what a client says before a backend is chosen, and how it is refused."""

    default_ports = Attribute(
        "dict[int, str]: the registered ports, and the TLS that clients expect on them: 'none', 'implicit'"
    )
    tls_modes = Attribute(
        "tuple[str, ...]: what `listen: tls:` may say: 'none', 'implicit' (exproxy ends TLS), 'starttls' "
        "(it does where the client asks for it), 'passthrough'; the first is the default on ports that default_ports does not name"
    )
    gives = Attribute(
        "tuple[type, ...]: the fact types that a Pick of this protocol carries (besides Source and Destination, "
        "which all have). A persistence that needs others is refused when the configuration is read"
    )
    defaults = Attribute(
        "dict[str, object]: a service's settings where the configuration is silent, as they would stand in the "
        "file, e.g. {'check': 'imap', 'timeouts': {'idle': '31m'}}. What depends on the options is IDefaulting's"
    )

    def factory(service: IService) -> IProtocolFactory:
        """Make the Twisted factory of one virtual service.

        ``service`` provides :class:`IService`. Returns an :class:`IProtocolFactory`: nearly always
        ``SessionFactory(service, MyConversation)`` from :mod:`exproxy.session`.
        """


class IDefaulting(Interface):
    """Optional for an IProtocolPlugin: defaults that depend on its options."""

    def defaults_of(options: Any) -> Mapping[str, object]:
        """What is merged over ``defaults``, key by key at the top level; {} changes nothing. ``options``
        is an instance of the plugin's model."""


class ILocating(Interface):
    """Optional for an IProtocolPlugin: the servers themselves are asked for the port of a service."""

    def locator(options: Any) -> ILocator | None:
        """What to ask a server where no ``backend: {port: …}`` is written; None: nothing, its port is the
        listening one. ``options`` is an instance of the plugin's model."""


class IPersistencePlugin(INamed):
    """A way to send a client to the server it had before."""

    needs = Attribute("tuple[type, ...]: fact types without which this strategy has nothing to say at all")
    uses = Attribute("tuple[type, ...]: fact types that it profits from")

    def strategy(options: Any, keys: IKeys) -> IPersistence:
        """Make the :class:`IPersistence` of one service or group.

        ``options`` is an instance of the plugin's model, ``keys`` provides :class:`IKeys`.
        """


class ISchedulingPlugin(INamed):
    """A way to spread clients over the servers that may be chosen."""

    def scheduling(options: Any) -> IScheduling:
        """Make the :class:`IScheduling` of one pool."""


class ICheckPlugin(INamed):
    """A question to a backend."""

    def check(options: Any) -> ICheck:
        """Make the :class:`ICheck` of one pool."""


class ICommandPlugin(Interface):
    """A command of ``exproxyctl``. exproxy.asking.ask_once puts a check's question to a server from it."""

    name = Attribute(
        "str: the word after `exproxyctl`, kebab-case; the commands of exproxyctl itself come first"
    )
    summary = Attribute("str: one line for `exproxyctl --help`")
    command = Attribute("click.Command: what it does, with arguments and help of its own")


# ---------------------------------------------------------------------------------- protocols


class IConversation(Interface):
    """A protocol's own logic: pure, one for each client connection (checks are conversations too).

    Bytes may be cut anywhere. Keep what you have not understood yet, and keep it bounded.
    """

    def handle(event: Event) -> Iterable[Action]:
        """Take one value of :mod:`exproxy.events`; return an iterable of :mod:`exproxy.actions`.

        An event that does not concern the conversation is answered ``()``. An exception closes
        the connection and is logged; it never reaches a client.
        """


class IPassing(IConversation):
    """A conversation that needs no bytes: it says ``Pick(facts)`` at Began with the facts as they are,
    ``Relay()`` at Connected, ``Hangup()`` at Unavailable, and nothing else ever. Where both sides are plain
    TCP exproxy does so without it."""


class IProtocolFactory(Interface):
    """A ``twisted.internet.interfaces.IProtocolFactory`` whose protocols are sessions."""

    def buildProtocol(addr: Any) -> Any:
        """Called for every accepted connection; None refuses it. ``addr`` has ``host`` (text) and ``port``:
        exproxy.model.Source, or an address of Twisted's."""

    def doStart() -> None:
        """Twisted calls this when a port begins to listen."""

    def doStop() -> None:
        """Twisted calls this when a port stops listening."""


class IService(Interface):
    """What a protocol sees of the virtual service that it serves."""

    name = Attribute("str")
    protocol = Attribute("str: the name of the protocol plugin")
    siblings = Attribute(
        "Mapping[str, IService]: every service of this process by its name, this one too. It is live: while "
        "a service is made some are missing, so look at it when a client is there"
    )
    options = Attribute("the protocol plugin's options, an instance of its model")
    timeouts = Attribute("exproxy.settings.Timeouts: seconds, by name (request_head, greeting, idle …)")
    limits = Attribute("exproxy.settings.Limits: bytes and counts, by name (head, line, max_held …)")
    trusted_proxies = Attribute("exproxy.settings.Networks: `address in trusted_proxies`")
    host_name = Attribute("str: the name to greet and refuse with")
    routes = Attribute(
        "tuple[exproxy.routes.Route, ...]: what the service does with parts of its requests, the first that "
        "fits wins; empty for protocols that do not say `routed = True` of themselves"
    )
    answer = Attribute("exproxy.routes.Answer or None: what exproxy says itself where no route fits")
    records = Attribute("bool: whether a Record's fields go anywhere; else they need not be gathered")
    hsts = Attribute("bytes or None: the Strict-Transport-Security of answers over TLS (RFC 6797)")

    def marker(target: str | None = None) -> IMarker | None:
        """The :class:`IMarker` of that target's persistence, or None where it sets no cookie."""

    def port_tls(port: int) -> str:
        """The TLS mode of the listening port, ``facts[Destination].listening``: 'none', 'implicit',
        'starttls' or 'passthrough'."""

    def backend_starttls(port: int) -> TLSOptions | None:
        """How to speak TLS with the servers behind that port after STARTTLS; None: not asked for."""

    def listenings() -> tuple[Listening, ...]:
        """Where the service listens now, in the file's order; () before it does."""


# ---------------------------------------------------------------------------------- persistence


class IKeys(Interface):
    """Secrets derived from the configuration's ``secret:``, for one group or service."""

    group = Attribute("str: the persistence group's name, or the service's own")
    servers = Attribute("tuple[str, ...]: the names of the real servers that may be named")

    def digest(kind: str, *parts: bytes) -> Key:
        """``Key(kind, 16 bytes)``: a keyed BLAKE2b over ``parts`` (bytes), equal in all processes and
        nodes that have the same secret."""

    def tokens(purpose: str) -> Mapping[bytes, str]:
        """``dict[bytes, str]``: an opaque signed URL-safe token for each server, current and older
        secrets all in it: what comes back from a client is looked up here."""

    def token(purpose: str, server: str) -> bytes:
        """The token to give out for that server, made with the first secret."""


class IPersistence(Interface):
    """Pure: from facts to keys. Knows nothing of backends, time or health."""

    def candidates(facts: Facts) -> tuple[Known, ...]:
        """Where this client may be known: a tuple of Named(server) | Key(kind, digest) | AnyOf(keys),
        best first; () where the facts say nothing. The first that leads to a usable server wins. A Key
        that leads to another one moves with its client; those of an AnyOf stay as they are."""

    def remember(facts: Facts) -> tuple[Key, ...]:
        """The tuple of Keys to claim together with a choice; () keeps nothing."""


class ILearner(Interface):
    """Optional for an IPersistence: keys that are seen only after the choice."""

    lifetime = Attribute(
        "float or None: seconds that a learnt key lives after the last link that holds it; None: like all "
        "others of the strategy"
    )

    def observe(facts: Facts, observation: object) -> tuple[Key, ...]:
        """The tuple of Keys to bind to the present server; a held key lives while a link holds it.

        ``facts`` are those of the choice, and Served(server): the present server is known, so a key
        may be made of it too."""


class IMarker(Interface):
    """Optional for an IPersistence: a cookie of ours on the client."""

    def mark(facts: Facts, server: str) -> bytes | None:
        """The value of a Set-Cookie field (bytes) for a client that is now with ``server``; None where
        none is needed (it has it) or none may be given (it is no browser)."""

    cookie = Attribute("bytes: the cookie's name; the protocol removes it before a backend could see it")


class IStore(Interface):
    """The tables. A value where it is known here, else a Deferred; never blocks.

    Keys are (group, kind, digest), values names of real servers. A claim is decided once: of two
    simultaneous ones for one key one wins and both use it.
    """

    def find(group: str, keys: Sequence[Key]) -> Claim | Deferred[Claim | None] | None:
        """Claim(server, version, won=False) of the first of ``keys`` that is held, or None."""

    def claim(group: str, keys: Sequence[Key], wanted: str, ttl: float) -> Claim | Deferred[Claim]:
        """Hold ``keys`` for ``wanted`` during ``ttl`` seconds from now. Where one of them is held for
        another server that one stays: Claim(that server, version, False), and the free ones join it.
        A key held already for the same server is refreshed: its own time begins anew."""

    def hold(group: str, keys: Sequence[Key]) -> Callable[[], None]:
        """Keep ``keys`` alive past their time until the returned callable is called (idempotent)."""

    def move(group: str, keys: Sequence[Key], server: str, ttl: float) -> Claim | Deferred[Claim]:
        """Rebind ``keys`` to ``server``: Claim(server, version, True)."""

    def delete(
        group: str, keys: Sequence[Key] | None = None, server: str | None = None
    ) -> int | Deferred[int]:
        """Forget keys, or all those of a server; returns how many there were."""

    def watch(group: str, changed: Callable[[Key, str | None], None]) -> Callable[[], None]:
        """Call ``changed(key, server or None)`` at every move and delete; returns a callable to stop."""


# ---------------------------------------------------------------------------------- scheduling, pools


class IScheduling(Interface):
    """Orders the candidates of a choice. Filtering was done before: every candidate may be taken."""

    def order(candidates: Sequence[Candidate], facts: Facts) -> Iterable[Candidate]:
        """Iterable over each of ``candidates`` (a sequence of Candidate) exactly once, best first.
        Changes no state: asking twice gives the same answer (random ones excepted)."""

    def taken(candidate: Candidate) -> None:
        """This Candidate was chosen: advance whatever there is to advance."""


class IBackend(Interface):
    """One real server as one pool sees it."""

    name = Attribute("str: service[/route][:port]/server")
    server = Attribute("str: the real server's name")
    host = Attribute("str: the IP address to connect to, as last resolved; None before the first answer")
    port = Attribute("int: the port to connect to; 0 while it is to be learnt (see ILocating)")
    usable = Attribute("bool: a client that is bound to it could come now; what a new one needs is more")
    client_address = Attribute("exproxy.model.ClientAddress: how it learns the client's address")


class ILease(Interface):
    """The count of one link at its pool."""

    backend = Attribute("IBackend")
    cut = Attribute("a callable(reason), set by the link's owner: end the link now; or None")
    drain = Attribute("a callable(seconds), set by the link's owner: the server is being emptied; or None")
    condemned = Attribute("str or None: why the link must end, where that was decided before `cut` was set")

    def take_over(cut: Callable[[str], None], drain: Callable[[float], None]) -> None:
        """The link is there: set ``cut`` and ``drain``."""

    def overdue() -> None:
        """Do what was wished of the link before it was there: cut it, or ask it to leave."""

    def busy() -> Callable[[], None]:
        """Count one request in flight; returns a callable that ends it (idempotent)."""

    def release() -> None:
        """The link is gone; idempotent."""


class IPool(Interface):
    """The backends of one target, and the choice among them."""

    def pick(
        facts: Facts,
        avoiding: Collection[str] = (),
        links: Sequence[Link] = (),
        pinned: Link | None = None,
    ) -> Choice | Deferred[Choice]:
        """A Choice with a lease taken, or a Deferred of one (``when-full: wait``); raises NoBackend.

        ``avoiding``: server names that this session has just failed on. ``links``: the session's present
        Links; a choice whose server has one comes back with ``reused`` set and that link's lease is to be
        used (no new one is counted: its lease is None). ``pinned``: the Link that it must be."""

    def forget(key: Key) -> int | Deferred[int]:
        """Delete one persistence entry: 1, or 0 where there was none. A client with open links is not
        cut; its next connection is scheduled anew. In a group this is for all of its services."""

    def move(key: Key, server: str) -> Claim | Deferred[Claim]:
        """Bind one persistence entry to another server, UP or not; raises ValueError where the pool has
        no such server. A group with ``on-move: cut`` ends the client's links to the old one."""

    def explain(facts: Facts) -> Mapping[str, object]:
        """A mapping for people: the candidates, each backend with its state, weight, load and why it was
        or was not taken. Advances nothing and claims nothing."""


# ---------------------------------------------------------------------------------- checks


class ICheck(Interface):
    """One question, asked again and again; each time by a new conversation."""

    tls = Attribute(
        "str: 'backend' - over TLS where the backend speaks it (unverified on a pass-through port); "
        "'never' - plain TCP; 'always' - over TLS whatever the backend says; 'starttls' - it begins plain, and "
        "asks for TLS by StartTLS"
    )
    layer = Attribute("str: 'L4', 'L6' or 'L7', the prefix of its codes")

    def dialogue() -> IConversation:
        """A new :class:`IConversation`: it hears Connected(link), Data(BACKEND, …), Eof and Lost, says
        ToBackend and ends with Pass, Drain or Fail. The monitor connects, times out and closes."""


class ILocator(ICheck):
    """The question for the port of a service. It is asked in plain TCP whatever ``tls`` says, before the
    check while the port is not known, and when the check or a client finds nobody there. Its dialogue
    ends in Pass(learnt=PORT), an int of 1 to 65535, or in Fail."""

    port = Attribute("int: where the server is asked, for example 135")
