"""Hosts, their addresses, and the way between any two of them.

In: hosts and the network's condition. Out: for a pair of addresses who is meant, how packets get there, and whether the
capture sees them.
Must never: deliver to a host that has no power.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import ipaddress
import math
import random
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from thingwarden.domain.address import mac_number
from thingwarden.domain.flow import words_from_address
from thingwarden.lab.condition import Condition, Link
from thingwarden.lab.prefix import GATEWAY, GATEWAY6, GATEWAY_MAC, LAN, LAN6, UPLINK, UPLINK6
from thingwarden.lab.simulated.capture import Capture, pack_lane
from thingwarden.lab.simulated.chatter import Chatter
from thingwarden.lab.simulated.clock import Clock
from thingwarden.lab.simulated.link import ROUTING_S, Channel, Noise

if TYPE_CHECKING:
    from thingwarden.lab.simulated.process import Process
    from thingwarden.lab.simulated.tcp import OnAccept, Side
    from thingwarden.lab.simulated.udp import SimulatedDatagrams

LIMITED_BROADCAST: Final = "255.255.255.255"
GATEWAY_UPLINK: Final = str(UPLINK[2])
GATEWAY_UPLINK6: Final = str(UPLINK6[2])

_NEIGHBOUR_KNOWN_S: Final = 30.0
"""How long a neighbour's link-layer address is used after it was last heard of."""
_FIRST_PORT, _LAST_PORT = 32768, 60999
_LAG_LEAST_S: Final = 40e-6
_LAG_MEAN_MORE_S: Final = 50e-6
"""From a packet's arrival to the program that waits for it."""
_DATAGRAM_LAG_S: Final = 1.2e-4
"""What a program takes more to notice a datagram; the gateway's daemons are quicker."""
_BUSY_SHARE: Final = 0.03
_BUSY_MEAN_S: Final = 1e-3
"""How often a program finds its processor taken, and for how long."""
_EFFORT_LEAST_S: Final = 40e-6
_EFFORT_MEAN_MORE_S: Final = 40e-6
"""From one thing that a program sends to the next."""
_MULTICAST_MACS: Final = {4: 0x0100_5E00_0000, 6: 0x3333_0000_0000}
_BROADCAST_MAC: Final = 0xFFFF_FFFF_FFFF


class Place(Enum):
    """Where a host is, seen from the capture."""

    LAN = "lan"
    GATEWAY = "gateway"
    INTERNET = "internet"


class Host:
    """A machine with its sockets.

    Attributes:
        outward, inward: the two directions of its link, from and to the gateway.
        more_lag_s: until a program notices a datagram, beyond ``Network.lag_s``.
        is_up: has power.
        down_since_s: when it lost it; minus infinity if it never had any.
        refuses: every packet to it is answered by a reset or by unreachable.
        closed_ports, silent_ports: as if nothing listened there, or nothing came there.
        listeners: by TCP port; ``sockets`` by UDP port and version of IP.
        sides: open TCP connections, ``processes`` what runs, both in the order of their beginning.
    """

    def __init__(
        self,
        name: str,
        place: Place,
        mac: str,
        addresses: tuple[str, ...],
        link: Link | None,
        rng: random.Random,
        noise: Noise,
    ) -> None:
        self.name = name
        self.place = place
        self.mac = mac_number(mac)
        self.addresses = addresses
        self.link_local = _link_local(self.mac)
        more_s = ROUTING_S if place is Place.INTERNET else 0.0
        self.outward = Channel(link, noise, more_s)
        self.inward = Channel(link, noise, more_s)
        self.more_lag_s = 0.0 if place is Place.GATEWAY else _DATAGRAM_LAG_S
        self.is_up = True
        self.down_since_s = -np.inf
        self.refuses = False
        self.closed_ports: dict[int, None] = {}
        self.silent_ports: dict[int, None] = {}
        self.listeners: dict[int, OnAccept] = {}
        self.sockets: dict[tuple[int, int], SimulatedDatagrams] = {}
        self.sides: dict[Side, None] = {}
        self.processes: dict[Process, None] = {}
        self._rng = rng

    def own_address(self, version: int) -> str:
        """Its address of that version of IP.

        Raises:
            OSError: it has none.
        """
        for address in self.addresses:
            if address_version(address) == version:
                return address
        raise OSError(f"{self.name} has no IPv{version} address")

    def free_tcp_port(self) -> int:
        """A port for a client: the kernel gives even ones to those that connect."""
        return self._rng.randrange(_FIRST_PORT, _LAST_PORT, 2)

    def free_udp_port(self, version: int) -> int:
        """A port for a client that no socket of this host has."""
        while True:
            port = self._rng.randrange(_FIRST_PORT, _LAST_PORT + 1)
            if (port, version) not in self.sockets:
                return port


def _link_local(mac: int) -> str:
    """The IPv6 address that a kernel makes of a link-layer address (RFC 4291, modified EUI-64)."""
    identifier = (mac >> 24 ^ 0x02_0000) << 40 | 0xFF_FE << 24 | mac & 0xFF_FFFF
    return str(ipaddress.IPv6Address(0xFE80 << 112 | identifier))


class Network:
    """All hosts and what lies between them.

    Args:
        clock: of the simulation.
        condition: of uplink and wireless links.
        seed: of delays, losses and numbers that kernels draw.

    Attributes:
        nobody, nowhere: whoever has an address of the LAN or beyond it that no host has; without power.
        tls_flight_bytes: of a TLS server's answer to a greeting, which goes by the names in the lab's certificate.
        groups: sockets by multicast group and port, and version of IP; in the order in which they joined.
    """

    def __init__(self, clock: Clock, condition: Condition, seed: str) -> None:
        self.clock = clock
        self.condition = condition
        self.rng = random.Random(f"{seed}:network")
        self.bulk_rng = np.random.default_rng(self.rng.getrandbits(64))
        self.noise = Noise(np.random.default_rng(self.rng.getrandbits(64)))
        self.capture = Capture(self.bulk_rng)
        self.chatter = Chatter(self)
        self.hosts: dict[str, Host] = {}
        self.tls_flight_bytes = 0
        self.groups: dict[tuple[str, int], dict[SimulatedDatagrams, None]] = {}
        self.gateway = self.add_host(
            "gateway", Place.GATEWAY, GATEWAY_MAC, (str(GATEWAY), str(GATEWAY6), GATEWAY_UPLINK, GATEWAY_UPLINK6)
        )
        self.nobody = Host("", Place.LAN, GATEWAY_MAC, (), condition.wireless, self.rng, self.noise)
        self.nowhere = Host("", Place.INTERNET, GATEWAY_MAC, (), condition.uplink, self.rng, self.noise)
        self.nobody.is_up = self.nowhere.is_up = False

    def add_host(self, name: str, place: Place, mac: str, addresses: tuple[str, ...]) -> Host:
        """Put a machine on the network; an address that another one had becomes its own."""
        links = {Place.LAN: self.condition.wireless, Place.INTERNET: self.condition.uplink, Place.GATEWAY: None}
        host = Host(name, place, mac, addresses, links[place], self.rng, self.noise)
        for address in addresses:
            self.hosts[address] = host
        return host

    def add_face(self, host: Host, name: str, addresses: tuple[str, ...]) -> Host:
        """Further addresses of ``host``, which fail on their own but share its sockets."""
        face = self.add_host(name, host.place, f"{host.mac:012x}", addresses)
        face.listeners, face.sockets = host.listeners, host.sockets
        return face

    def move(self, host: Host, addresses: tuple[str, ...]) -> None:
        """Give a host other addresses."""
        for address in host.addresses:
            if self.hosts.get(address) is host:
                del self.hosts[address]
        host.addresses = addresses
        for address in addresses:
            self.hosts[address] = host

    def find(self, address: str) -> Host:
        """The host that has ``address``; one without power, on the right side of the gateway, if none has."""
        found = self.hosts.get(address)
        if found is not None:
            return found
        return self.nobody if is_on_lan(address) else self.nowhere

    def meet(self, sender: Host, receiver: Host, target: str) -> None:
        """Let kernels find each other before a conversation by IPv6 begins; routed ones find the gateway."""
        inside = sender if sender.place is Place.LAN else receiver
        if inside.place is not Place.LAN or sender is receiver:
            return
        if Place.INTERNET in (sender.place, receiver.place):
            ends = (inside, self.gateway, str(GATEWAY6)) if inside is sender else (self.gateway, inside, target)
            self.chatter.meet(*ends)
        elif receiver.is_up:
            self.chatter.meet(sender, receiver, target)

    def is_neighbour_known(self, sender: Host, receiver: Host) -> bool:
        """Whether packets are sent at all: to a neighbour that does not answer ARP none are."""
        if receiver.is_up or Place.INTERNET in (sender.place, receiver.place):
            return receiver.is_up or receiver.place is Place.INTERNET
        return self.clock.now_s - receiver.down_since_s < _NEIGHBOUR_KNOWN_S

    def can_pass(self, sender: Host, receiver: Host) -> bool:
        """Whether a packet could get through now, leaving chance aside."""
        return receiver.is_up and sender.is_up and not (sender.outward.is_cut or receiver.inward.is_cut)

    def lane(
        self,
        sender: Host,
        source: tuple[str, int],
        receiver: Host,
        destination: tuple[str, int],
        proto: int,
        label: int,
    ) -> bytes:
        """What all packets from ``source`` to ``destination`` begin with in the capture; empty if it sees none."""
        if sender is receiver or Place.LAN not in (sender.place, receiver.place):
            return b""
        gateway_mac = self.gateway.mac
        return pack_lane(
            *address_words(source[0]),
            *address_words(destination[0]),
            sender.mac if sender.place is Place.LAN else gateway_mac,
            receiver.mac if receiver.place is Place.LAN else gateway_mac,
            source[1],
            destination[1],
            proto,
            label,
        )

    def group_lane(
        self, sender: Host, source: tuple[str, int], group: tuple[str, int], proto: int, label: int
    ) -> bytes:
        """As ``lane`` for a multicast group or the limited broadcast."""
        return pack_lane(
            *address_words(source[0]), *address_words(group[0]), sender.mac, group_mac(group[0]), source[1], group[1],
            proto, label,
        )  # fmt: skip

    def lag_s(self) -> float:
        """Draw the time that a program takes to notice what has come."""
        share = self.noise.share()
        lag_s = _LAG_LEAST_S - math.log(1.0 - share) * _LAG_MEAN_MORE_S
        return lag_s if share < 1.0 - _BUSY_SHARE else lag_s + self.rng.expovariate(1.0) * _BUSY_MEAN_S

    def effort_s(self) -> float:
        """Draw the time that a program takes for sending something."""
        return _EFFORT_LEAST_S - math.log(1.0 - self.noise.share()) * _EFFORT_MEAN_MORE_S


@lru_cache(maxsize=65536)
def address_words(address: str) -> tuple[int, int]:
    """The two halves of an address given as text."""
    return words_from_address(ipaddress.ip_address(address))


@lru_cache(maxsize=65536)
def address_version(address: str) -> int:
    """4 or 6."""
    return ipaddress.ip_address(address).version


@lru_cache(maxsize=65536)
def is_on_lan(address: str) -> bool:
    """Whether an address is one of the LAN's."""
    parsed = ipaddress.ip_address(address)
    return parsed in LAN or parsed in LAN6 or parsed.is_link_local


@lru_cache(maxsize=65536)
def is_group(address: str) -> bool:
    """Whether an address is a multicast group or the limited broadcast."""
    return ipaddress.ip_address(address).is_multicast or address == LIMITED_BROADCAST


@lru_cache(maxsize=256)
def group_mac(group: str) -> int:
    """The link-layer address that a group's packets go to."""
    if group == LIMITED_BROADCAST:
        return _BROADCAST_MAC
    parsed = ipaddress.ip_address(group)
    mask = 0x7F_FFFF if parsed.version == 4 else 0xFFFF_FFFF
    return _MULTICAST_MACS[parsed.version] | (int(parsed) & mask)
