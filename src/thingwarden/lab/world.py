"""What a behaviour may do, whichever world it lives in: real sockets in a namespace, or simulated time.

In: nothing. Out: the ports ``World``, ``Stream`` and ``Datagrams``, and what a host knows about itself.
Must never: let a behaviour see which world it lives in; what both worlds cannot do is not offered here.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from thingwarden.lab.tool import Tool
from thingwarden.lab.traits import Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a host knows about itself and its surroundings.

    Attributes:
        name: of the host.
        kind: of device, a key of ``behaviour.DEVICES``; ``internet`` and ``gateway`` are kinds as well.
        mac: colon-separated.
        address: IPv4, text; ``address6`` is IPv6, empty where the network has none.
        pace: how busy it is; pauses are divided by it, 1 is usual.
        traits: what distinguishes it from others of its kind.
        peers: address by name of the other hosts of its LAN; ``kinds`` their kinds, ``peer_traits`` their traits: what
            devices that were set up for each other know, such as the port that the other one listens on.
        is_booting: whether it has just got its power (back): it asks for an address before anything else.
        expects: of a host of the internet: where attacks want an answer, as ``tcp/4444``, ``tls/9443`` or ``udp/53``.
    """

    name: str
    kind: str
    mac: str
    address: str
    address6: str
    pace: float
    traits: Traits
    peers: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    peer_traits: Mapping[str, Traits] = field(default_factory=dict)
    is_booting: bool = False
    expects: tuple[str, ...] = ()


class Stream(Protocol):
    """One side of a TCP connection, or of TLS over it."""

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other side."""

    async def send(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            OSError: the connection is gone.
        """

    async def receive(self, timeout_s: float | None = None) -> bytes:
        """Whatever has come, at least one byte; empty once the other side has finished.

        Raises:
            TimeoutError: nothing came within ``timeout_s``; None waits as long as the connection lives.
            OSError: the connection was reset.
        """

    async def finish(self) -> None:
        """Send no more (FIN); receiving goes on."""

    async def close(self) -> None:
        """Finish in an orderly way, over TLS with a close_notify; what still comes is not read. Never raises."""

    def abort(self) -> None:
        """Reset the connection. Never raises."""


class Datagrams(Protocol):
    """A UDP socket."""

    @property
    def port(self) -> int:
        """The local port."""

    async def send(self, address: str, port: int, data: bytes) -> None:
        """Send one datagram, also to a multicast group or the limited broadcast.

        Raises:
            OSError: the network is unreachable, or an earlier datagram's port was found closed.
        """

    async def receive(self, timeout_s: float | None = None) -> tuple[str, int, bytes]:
        """Address, port and content of the next datagram.

        Raises:
            TimeoutError: none came within ``timeout_s``.
            OSError: the peer's port is closed.
        """

    def close(self) -> None:
        """Close the socket. Never raises."""


Handler = Callable[["World", Stream], Awaitable[None]]
"""Serves one connection; the stream is closed when it returns or raises OSError."""

Behaviour = Callable[["World"], Coroutine[Any, Any, None]]
"""What a host does until it is switched off."""


class World(Protocol):
    """A host's view of its network and clock. Coroutines await nothing but what is offered here."""

    @property
    def me(self) -> Identity:
        """Who this host is."""

    @property
    def rng(self) -> random.Random:
        """The random stream of the current task; tasks started by ``spawn`` have their own."""

    def now_s(self) -> float:
        """Seconds since the scenario began."""

    def hour_of_day(self) -> float:
        """Local time as hours since midnight, 0 to 24."""

    async def sleep(self, span_s: float) -> None:
        """Let ``span_s`` seconds pass."""

    def spawn(self, behaviour: Behaviour, name: str) -> None:
        """Run ``behaviour`` beside this task until the host stops; an OSError ends it silently.

        Args:
            behaviour: given this host's world, with a random stream drawn from the task's name.
            name: unique on this host.
        """

    async def connect(
        self, address: str, port: int, *, tls_name: str = "", source_port: int = 0, timeout_s: float = 4.0
    ) -> Stream:
        """Open a TCP connection; over TLS to the server ``tls_name`` where that is given.

        Raises:
            RequestError: the address is outside the lab.
            OSError: refused, unreachable, timed out, or TLS failed.
        """

    async def listen(self, port: int, handler: Handler, *, is_tls: bool = False) -> None:
        """Serve connections to ``port`` on every address of this host until it stops.

        Raises:
            OSError: the port is taken.
        """

    async def open_datagrams(self, port: int = 0, groups: tuple[str, ...] = (), *, is_v6: bool = False) -> Datagrams:
        """Open a UDP socket on ``port`` (0: any), a member of the multicast ``groups``.

        Raises:
            OSError: the port is taken.
        """

    async def use(self, tool: Tool) -> None:
        """Run an attacker's or administrator's program to its end, or to its bound in time.

        Raises:
            RequestError: a target is outside the lab, or a count or rate beyond its bound.
        """
