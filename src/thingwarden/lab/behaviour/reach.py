"""How a device reaches a service of the internet or a neighbour, and how it leaves: a maker's choices, drawn once.

In: an identity and a ``Site`` or a neighbour's name. Out: open streams, addresses, ports.
Must never: ask traits anew for each connection.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import Site
from thingwarden.lab.behaviour.protocol.dns import resolve
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity, Stream, World

Ending: TypeAlias = Literal["close", "abort", "finish", "wait", "linger"]
ENDINGS: Final[tuple[Ending, ...]] = ("close", "abort", "finish", "wait", "linger")
_GOODBYE_S: Final = 5.0


class Place(Protocol):
    """Something to connect to: a service of the internet, or a neighbour."""

    name: str

    async def open(self, world: World) -> Stream:
        """Connect.

        Raises:
            OSError: not found, refused, timed out, or TLS failed.
        """

    async def leave(self, world: World, stream: Stream) -> None:
        """End a connection in this maker's way."""


def _fixed_address(name: str, is_v6: bool) -> str:
    service = SERVICES[name]
    return service.address6 if is_v6 else service.address


class Reach:
    """One service as this device reaches it.

    Attributes:
        endpoint: service, port, TLS or not.
        name: of the service, as DNS knows it.
        ending: how connections to it are left.
    """

    def __init__(self, me: Identity, role: str, site: Site) -> None:
        traits = me.traits
        self.endpoint = site.drawn(role, traits)
        self.name = self.endpoint.service
        self.is_v6 = bool(me.address6) and traits.chance("prefers_ipv6", 0.4)
        self.ending: Ending = traits.choice(f"{role}_ending", "close", ENDINGS)
        self._asks_both = traits.chance("asks_both_families", 0.4)
        self._is_by_address = traits.chance(f"{role}_is_by_address", 0.06)
        self._keeps_s = traits.number(f"{role}_keeps_name_s", 60.0, 1.0, 86_400.0) / min(1.0, me.pace)
        self._tries = traits.count("dns_tries", 3, 1, 6)
        self._linger_s = traits.number(f"{role}_linger_s", 20.0, 2.0, 300.0)
        self._timeout_s = traits.number(f"{role}_connect_s", 4.0, 2.0, 20.0)
        knows = not me.is_booting and traits.chance(f"{role}_is_known", 0.45)  # asked for before the run began
        known_share = traits.number(f"{role}_known_share", 0.5, 0.01, 1.0)
        self._address = _fixed_address(self.name, self.is_v6) if knows else ""
        self._expires_at_s = known_share * self._keeps_s if knows else 0.0

    async def locate(self, world: World) -> str:
        """The service's address: from firmware, from memory, or from the resolver.

        Raises:
            OSError: nobody knows it.
        """
        if self._is_by_address:
            return _fixed_address(self.name, self.is_v6)
        if world.now_s() >= self._expires_at_s:
            if self._asks_both:
                await resolve(world, self.name, wants_v6=not self.is_v6, tries=self._tries)
            self._address = await resolve(world, self.name, wants_v6=self.is_v6, tries=self._tries)
            self._expires_at_s = world.now_s() + self._keeps_s
        return self._address

    async def open(self, world: World) -> Stream:
        """Connect.

        Raises:
            OSError: not found, refused, timed out, or TLS failed.
        """
        address = await self.locate(world)
        tls_name = self.name if self.endpoint.is_tls else ""
        try:
            return await world.connect(address, self.endpoint.port, tls_name=tls_name, timeout_s=self._timeout_s)
        except OSError:
            self._expires_at_s = 0.0
            raise

    async def leave(self, world: World, stream: Stream) -> None:
        """End a connection in this maker's way."""
        await leave(world, stream, self.ending, self._linger_s)


class Visit:
    """One neighbour's open port as this device reaches it.

    Attributes:
        name: of the neighbour, as the gateway's resolver knows it.
        ending: how connections to it are left.
    """

    def __init__(self, me: Identity, peer: str, port: int, role: str) -> None:
        traits = me.traits
        self.name = f"{peer}.lan"
        self.port = port
        self.ending: Ending = traits.choice(f"{role}_ending", "close", ENDINGS[:-1])
        self._is_by_name = traits.chance(f"{role}_is_by_name", 0.3)
        self._timeout_s = traits.number(f"{role}_connect_s", 4.0, 1.0, 15.0)

    async def locate(self, world: World) -> str:
        """The neighbour's IPv4 address, asked for or known from when the two were set up.

        Raises:
            OSError: nobody knows it.
        """
        if self._is_by_name:
            return await resolve(world, self.name)
        return world.me.peers[self.name.removesuffix(".lan")]

    async def open(self, world: World) -> Stream:
        """Connect.

        Raises:
            OSError: not found, refused, or timed out.
        """
        return await world.connect(await self.locate(world), self.port, timeout_s=self._timeout_s)

    async def leave(self, world: World, stream: Stream) -> None:
        """End a connection in this maker's way."""
        await leave(world, stream, self.ending)


async def leave(world: World, stream: Stream, ending: Ending, linger_s: float = 20.0) -> None:
    """End a connection: orderly, by a reset, by FIN and waiting, by waiting for the other side, or after idling."""
    try:
        if ending == "finish":
            await stream.finish()
        if ending in ("finish", "wait"):
            while await stream.receive(_GOODBYE_S):
                pass
        if ending == "linger":
            await world.sleep(linger_s)
    except OSError:
        pass
    if ending == "abort":
        stream.abort()
    else:
        await stream.close()


def neighbours(me: Identity, *kinds: str) -> list[str]:
    """Names of the hosts of these kinds on the LAN, in order."""
    return sorted(name for name, kind in me.kinds.items() if kind in kinds and name in me.peers)


def door_of(me: Identity, peer: str, role: str) -> int:
    """The port that a neighbour listens on for ``role``; 0 if it does not."""
    door = DOORS.get(me.kinds[peer], {}).get(role)
    return door.drawn(role, me.peer_traits.get(peer, Traits(seed=peer))) if door else 0


def visits(me: Identity, role: str, *kinds: str) -> list[Visit]:
    """The neighbours that open a door for ``role``; of all kinds where none is given."""
    asked = kinds or tuple(kind for kind, doors in DOORS.items() if role in doors)
    found = ((name, door_of(me, name, role)) for name in neighbours(me, *asked))
    return [Visit(me, name, port, role) for name, port in found if port]
