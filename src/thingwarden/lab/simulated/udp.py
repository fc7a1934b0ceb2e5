"""UDP, and the ICMP that tells of closed ports.

In: datagrams that programs send. Out: packets at the capture point, and datagrams in the sockets they were meant for.
Must never: answer for a host that has no power.
Source: RFC 768, 792, 4443; the limit on ICMP errors is that of Linux (icmp_ratelimit, a burst of six, then 1/s).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6, PROTO_UDP
from thingwarden.lab.simulated.capture import pack_rest
from thingwarden.lab.simulated.clock import FOREVER, Waiter
from thingwarden.lab.simulated.link import LOST
from thingwarden.lab.simulated.network import (
    GATEWAY_UPLINK,
    Host,
    Network,
    Place,
    address_version,
    is_group,
)

HEADER_BYTES: Final = {4: 28, 6: 48}
"""IP and UDP."""
_ICMP_BYTES: Final = {4: 28, 6: 48}
_ICMP_ROOM_BYTES: Final = {4: 576, 6: 1280}
_ICMP_PROTO: Final = {4: PROTO_ICMP, 6: PROTO_ICMP6}
UNREACHABLE_PORT: Final = {4: (3, 3), 6: (1, 4)}
UNREACHABLE_HOST: Final = {4: (3, 1), 6: (1, 3)}
"""Type and code."""
_ICMP_BURST: Final = 6.0
_KERNEL_S: Final = 5e-6
_ARP_GIVES_UP_S: Final = 3.07
_UNREAD_COUNT: Final = 1024
_TRANSLATED_S: Final = 120.0
_LINK_LOCAL_GROUP: Final = "ff02:"

Datagram: TypeAlias = tuple[str, int, bytes]
Endpoint: TypeAlias = tuple[str, int]
LabelTo: TypeAlias = Callable[[str, int, int], int]
"""The label of what is sent to an address, protocol and port."""


class SimulatedDatagrams:
    """A UDP socket.

    Args:
        plane: that carries its datagrams.
        host: whose socket it is.
        port: its own.
        version: of IP.
        groups: of which it is a member.
        label_to: what its packets are labelled with.
    """

    __slots__ = ("_plane", "_port", "_unread", "_waiter", "groups", "host", "is_closed", "label_to", "version")

    def __init__(
        self, plane: DatagramPlane, host: Host, port: int, version: int, groups: tuple[str, ...], label_to: LabelTo
    ) -> None:
        self._plane = plane
        self._port = port
        self._unread: deque[Datagram | OSError] = deque(maxlen=_UNREAD_COUNT)
        self._waiter: Waiter | None = None
        self.host = host
        self.version = version
        self.groups = groups
        self.label_to = label_to
        self.is_closed = False

    @property
    def port(self) -> int:
        """The local port."""
        return self._port

    async def send(self, address: str, port: int, data: bytes) -> None:
        """Send one datagram.

        Raises:
            RequestError: the address is outside the lab.
            OSError: the socket is closed, or of the other version of IP.
        """
        if self.is_closed:
            raise OSError("the socket is closed")
        if address_version(address) != self.version:
            raise OSError(f"an IPv{self.version} socket cannot reach {address}")
        self._plane.send(self, (address, port), data, self.label_to(address, PROTO_UDP, port))

    async def receive(self, timeout_s: float | None = None) -> Datagram:
        """Address, port and content of the next datagram.

        Raises:
            TimeoutError: none came within ``timeout_s``.
            OSError: the peer's port is closed, or this socket.
        """
        if not self._unread:
            clock = self._plane.network.clock
            self._waiter = clock.waiter()
            await clock.wait_until(FOREVER if timeout_s is None else clock.now_s + timeout_s)
            self._waiter = None
        if not self._unread:
            raise TimeoutError("no datagram came in time")
        item = self._unread.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def close(self) -> None:
        """Close the socket."""
        if not self.is_closed:
            self.is_closed = True
            self._plane.forget(self)
            self.take(OSError("the socket is closed"))

    def take(self, item: Datagram | OSError) -> None:
        """A datagram, or the news of an error, has come."""
        self._unread.append(item)
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.wake()


class DatagramPlane:
    """Carries datagrams between sockets.

    Args:
        network: that they cross.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._translated: dict[tuple[int, Endpoint], tuple[Host, Endpoint, float]] = {}
        self._icmp_tokens: dict[tuple[str, str], tuple[float, float]] = {}

    def open(
        self, host: Host, port: int, version: int, groups: tuple[str, ...], label_to: LabelTo
    ) -> SimulatedDatagrams:
        """A socket of ``host``; port 0 is any.

        Raises:
            OSError: the port is taken.
        """
        host.own_address(version)
        port = port or host.free_udp_port(version)
        holder = host.sockets.get((port, version))
        if holder is not None and not (groups and holder.groups):
            raise OSError(f"port {port} is taken")
        socket = SimulatedDatagrams(self, host, port, version, groups, label_to)
        host.sockets.setdefault((port, version), socket)
        for group in groups:
            self.network.groups.setdefault((group, port), {})[socket] = None
        return socket

    def forget(self, socket: SimulatedDatagrams) -> None:
        """The socket is closed."""
        key = (socket.port, socket.version)
        if socket.host.sockets.get(key) is socket:
            del socket.host.sockets[key]
        for group in socket.groups:
            self.network.groups.get((group, socket.port), {}).pop(socket, None)

    def send(self, socket: SimulatedDatagrams, target: Endpoint, data: bytes, label: int) -> None:
        """Carry one datagram from ``socket`` to ``target``."""
        at_s = self.network.clock.now_s + _KERNEL_S
        if is_group(target[0]):
            self._send_to_group(socket, target, data, label, at_s)
            return
        source = (socket.host.own_address(socket.version), socket.port)
        receiver, real_target = self._untranslate(socket, target)
        if not self.network.is_neighbour_known(socket.host, receiver):
            self.network.clock.call_at(at_s + _ARP_GIVES_UP_S, socket.take, OSError("no such neighbour"))
            return
        lane = self.network.lane(socket.host, source, receiver, real_target, PROTO_UDP, label)
        size_bytes = HEADER_BYTES[socket.version] + len(data)
        seen_s = socket.host.outward.cross(at_s, size_bytes)
        if seen_s == LOST:
            return
        if lane:
            self.network.capture.rows.append(lane + pack_rest(seen_s, size_bytes, len(data), 0, 0, 0, 1, data))
        seen_source = self._translate(socket, source, receiver, target)
        arrives_s = receiver.inward.cross(seen_s, size_bytes)
        if arrives_s != LOST and receiver.is_up:
            self.network.clock.call_at(
                arrives_s + self.network.lag_s(),
                self._arrive,
                (socket, seen_source, receiver, real_target, data, label),
            )

    def _arrive(self, packet: tuple[SimulatedDatagrams, Endpoint, Host, Endpoint, bytes, int]) -> None:
        sender, source, receiver, target, data, label = packet
        if not receiver.is_up or target[1] in receiver.silent_ports:
            return
        socket = receiver.sockets.get((target[1], sender.version))
        if socket is None or receiver.refuses or target[1] in receiver.closed_ports:
            self._refuse(sender, receiver, target, len(data), label)
        else:
            socket.take((source[0], source[1], data))

    def _refuse(
        self, sender: SimulatedDatagrams, receiver: Host, target: Endpoint, data_bytes: int, label: int
    ) -> None:
        """The port is closed: say so, unless too much has been said already."""
        now_s = self.network.clock.now_s
        version = sender.version
        own = sender.host.own_address(version)
        if not self.may_complain(receiver.name, own, now_s):
            return
        quoted_bytes = HEADER_BYTES[version] + data_bytes
        size_bytes = min(_ICMP_BYTES[version] + quoted_bytes, _ICMP_ROOM_BYTES[version])
        kind = UNREACHABLE_HOST[version] if receiver.refuses else UNREACHABLE_PORT[version]
        seen_s = receiver.outward.cross(now_s, size_bytes)
        if seen_s == LOST:
            return
        lane = self.network.lane(
            receiver, (target[0], kind[0]), sender.host, (own, kind[1]), _ICMP_PROTO[version], label
        )
        if lane:
            payload_bytes = size_bytes - _ICMP_BYTES[version]
            self.network.capture.rows.append(lane + pack_rest(seen_s, size_bytes, payload_bytes, 0, 0, 0, 1, b""))
        arrives_s = sender.host.inward.cross(seen_s, size_bytes)
        if arrives_s != LOST:
            error = ConnectionRefusedError("the port is closed")
            self.network.clock.call_at(arrives_s + self.network.lag_s(), sender.take, error)

    def may_complain(self, host: str, about: str, now_s: float) -> bool:
        """Whether the kernel of ``host`` still sends ICMP errors to ``about``: six at once, then one a second."""
        tokens, last_s = self._icmp_tokens.get((host, about), (_ICMP_BURST, now_s))
        tokens = min(_ICMP_BURST, tokens + now_s - last_s)
        is_allowed = tokens >= 1.0
        self._icmp_tokens[host, about] = (tokens - is_allowed, now_s)
        return is_allowed

    def _send_to_group(
        self, socket: SimulatedDatagrams, target: Endpoint, data: bytes, label: int, at_s: float
    ) -> None:
        if socket.host.place is Place.INTERNET:
            return
        is_link_local = target[0].startswith(_LINK_LOCAL_GROUP)
        own = socket.host.link_local if is_link_local else socket.host.own_address(socket.version)
        source = (own, socket.port)
        size_bytes = HEADER_BYTES[socket.version] + len(data)
        seen_s = socket.host.outward.cross(at_s, size_bytes)
        if seen_s == LOST:
            return
        lane = self.network.group_lane(socket.host, source, target, PROTO_UDP, label)
        self.network.capture.rows.append(lane + pack_rest(seen_s, size_bytes, len(data), 0, 0, 0, 1, data))
        for member in self._members(target):
            arrives_s = member.host.inward.cross(seen_s, size_bytes)
            if arrives_s != LOST and member.host is not socket.host and member.host.is_up:
                item = (source[0], source[1], data)
                self.network.clock.call_at(arrives_s + self.network.lag_s(), member.take, item)

    def _members(self, target: Endpoint) -> list[SimulatedDatagrams]:
        if target[0] != "255.255.255.255":
            return list(self.network.groups.get(target, {}))
        hosts = dict.fromkeys(host for host in self.network.hosts.values() if host.place is not Place.INTERNET)
        return [host.sockets[target[1], 4] for host in hosts if (target[1], 4) in host.sockets]

    def _translate(self, socket: SimulatedDatagrams, source: Endpoint, receiver: Host, target: Endpoint) -> Endpoint:
        """The source as the receiver sees it: beyond the gateway, IPv4 comes from the gateway's own address."""
        is_leaving = socket.version == 4 and socket.host.place is Place.LAN and receiver.place is Place.INTERNET
        if not is_leaving:
            return source
        now_s = self.network.clock.now_s
        port = source[1]
        while True:
            holder = self._translated.get((port, target))
            if holder is None or holder[1] == source or holder[2] < now_s:
                break
            port = self.network.rng.randrange(1024, 65536)
        self._translated[port, target] = (socket.host, source, now_s + _TRANSLATED_S)
        return (GATEWAY_UPLINK, port)

    def _untranslate(self, socket: SimulatedDatagrams, target: Endpoint) -> tuple[Host, Endpoint]:
        """Who is meant: behind the gateway's own address it may be a host of the LAN."""
        if target[0] != GATEWAY_UPLINK or socket.host.place is not Place.INTERNET:
            return self.network.find(target[0]), target
        remote = (socket.host.own_address(socket.version), socket.port)
        holder = self._translated.get((target[1], remote))
        if holder is None or holder[2] < self.network.clock.now_s:
            return self.network.gateway, target
        self._translated[target[1], remote] = (*holder[:2], self.network.clock.now_s + _TRANSLATED_S)
        return holder[0], holder[1]
