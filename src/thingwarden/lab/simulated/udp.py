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
    LIMITED_BROADCAST,
    Host,
    Network,
    Place,
    address_version,
    is_group,
)

HEADER_BYTES: Final = {4: 28, 6: 48}
"""IP and UDP."""
_ICMP_BYTES: Final = {4: 28, 6: 48}
ICMP_ROOM_BYTES: Final = {4: 576, 6: 1280}
ICMP_PROTO: Final = {4: PROTO_ICMP, 6: PROTO_ICMP6}
UNREACHABLE_PORT: Final = {4: (3, 3), 6: (1, 4)}
UNREACHABLE_HOST: Final = {4: (3, 1), 6: (1, 3)}
"""Type and code."""
_ICMP_BURST: Final = 6.0
_KERNEL_S: Final = 5e-6
_ARP_GIVES_UP_S: Final = 3.07
_UNREAD_COUNT: Final = 1024
_FACE_COUNT: Final = 4096
_TRANSLATED_S: Final = 120.0
_TRANSLATED_COUNT: Final = 4096
_LEASE_PORTS: Final = (68, 67)
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

    __slots__ = (
        "_plane", "_port", "_unread", "_waiter", "faces", "groups", "host", "is_closed", "label_to", "on_close",
        "version",
    )  # fmt: skip

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
        self.on_close: Callable[[SimulatedDatagrams, None], object] = _do_nothing
        self.faces: dict[Endpoint, Host] = {}
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
        if self._unread and isinstance(self._unread[0], OSError):
            raise self._unread.popleft()  # type: ignore[misc]
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
            self.on_close(self, None)
            self.take(OSError("the socket is closed"))

    def remember(self, asker: Endpoint, face: Host) -> None:
        """Answers to ``asker`` are to come from ``face``, one of the host's addresses."""
        if len(self.faces) >= _FACE_COUNT:
            self.faces.clear()
        self.faces[asker] = face

    def take(self, item: Datagram | OSError) -> None:
        """A datagram, or the news of an error, has come."""
        self._unread.append(item)
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.wake()


def _do_nothing(*_: object) -> None:
    return None


class DatagramPlane:
    """Carries datagrams between sockets.

    Args:
        network: that they cross.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._translated: dict[tuple[int, Endpoint], tuple[Host, Endpoint, float]] = {}
        self._most_translated = _TRANSLATED_COUNT
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
            self.network.chatter.join(host, group)
        return socket

    def forget(self, socket: SimulatedDatagrams) -> None:
        """The socket is closed."""
        key = (socket.port, socket.version)
        if socket.host.sockets.get(key) is socket:
            del socket.host.sockets[key]
        for group in socket.groups:
            self.network.groups.get((group, socket.port), {}).pop(socket, None)
            self.network.chatter.leave(socket.host, group)

    def send(self, socket: SimulatedDatagrams, target: Endpoint, data: bytes, label: int) -> None:
        """Carry one datagram from ``socket`` to ``target``."""
        network = self.network
        at_s = network.clock.now_s + _KERNEL_S
        if is_group(target[0]):
            self._send_to_group(socket, target, data, label, at_s)
            return
        # A host of many addresses answers from the one that it was asked at.
        sender = socket.faces.get(target, socket.host)
        source = (sender.own_address(socket.version), socket.port)
        receiver, real_target = self._untranslate(sender, source, target)
        if not network.is_neighbour_known(sender, receiver):
            network.clock.call_at(at_s + _ARP_GIVES_UP_S, socket.take, OSError("no such neighbour"))
            return
        seen_source = self._translate(sender, source, receiver, target)
        if socket.version == 6:
            network.meet(sender, receiver, target[0])
        lane = network.lane(sender, source, receiver, real_target, PROTO_UDP, label)
        size_bytes = HEADER_BYTES[socket.version] + len(data)
        seen_s = sender.outward.cross(at_s, size_bytes)
        if seen_s == LOST:
            return
        if lane:
            network.capture.rows.append(lane + pack_rest(seen_s, size_bytes, len(data), 0, 0, 0, 1, data))
        arrives_s = receiver.inward.cross(seen_s, size_bytes)
        if arrives_s != LOST and receiver.is_up:
            packet = (socket, sender, seen_source, receiver, real_target, data)
            network.clock.call_at(arrives_s + network.lag_s() + receiver.more_lag_s, self._arrive, packet)

    def _arrive(self, packet: tuple[SimulatedDatagrams, Host, Endpoint, Host, Endpoint, bytes]) -> None:
        asker, sender, source, receiver, target, data = packet
        if not receiver.is_up or target[1] in receiver.silent_ports:
            return
        socket = receiver.sockets.get((target[1], asker.version))
        if socket is None or receiver.refuses or target[1] in receiver.closed_ports:
            self._refuse(asker, sender, receiver, target, len(data))
            return
        if receiver is not socket.host:
            socket.remember(source, receiver)
        socket.take((source[0], source[1], data))

    def _refuse(
        self, asker: SimulatedDatagrams, sender: Host, receiver: Host, target: Endpoint, data_bytes: int
    ) -> None:
        """The port is closed: say so, unless too much has been said already."""
        network = self.network
        now_s = network.clock.now_s
        version = asker.version
        own = sender.own_address(version)
        if not self.may_complain(receiver.name, own, now_s):
            return
        size_bytes = min(_ICMP_BYTES[version] + HEADER_BYTES[version] + data_bytes, ICMP_ROOM_BYTES[version])
        kind = UNREACHABLE_HOST[version] if receiver.refuses else UNREACHABLE_PORT[version]
        seen_s = receiver.outward.cross(now_s, size_bytes)
        if seen_s == LOST:
            return
        proto = ICMP_PROTO[version]
        label = asker.label_to(target[0], proto, 0)
        lane = network.lane(receiver, (target[0], kind[0]), sender, (own, kind[1]), proto, label)
        if lane:
            payload_bytes = size_bytes - _ICMP_BYTES[version]
            network.capture.rows.append(lane + pack_rest(seen_s, size_bytes, payload_bytes, 0, 0, 0, 1, b""))
        arrives_s = sender.inward.cross(seen_s, size_bytes)
        if arrives_s != LOST:
            error = ConnectionRefusedError("the port is closed")
            network.clock.call_at(arrives_s + network.lag_s(), asker.take, error)

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
        network = self.network
        sender = socket.host
        if sender.place is Place.INTERNET:
            return
        is_link_local = target[0].startswith(_LINK_LOCAL_GROUP)
        own = sender.link_local if is_link_local else sender.own_address(socket.version)
        if (socket.port, target[1]) == _LEASE_PORTS:
            own = "0.0.0.0"  # noqa: S104  who asks for an address has none yet
        source = (own, socket.port)
        size_bytes = HEADER_BYTES[socket.version] + len(data)
        seen_s = sender.outward.cross(at_s, size_bytes)
        if seen_s == LOST:
            return
        lane = network.group_lane(sender, source, target, PROTO_UDP, label)
        network.capture.rows.append(lane + pack_rest(seen_s, size_bytes, len(data), 0, 0, 0, 1, data))
        for member in self._members(target):
            arrives_s = member.host.inward.cross(seen_s, size_bytes)
            if arrives_s != LOST and member.host is not sender and member.host.is_up:
                network.clock.call_at(arrives_s + network.lag_s(), member.take, (source[0], source[1], data))

    def _members(self, target: Endpoint) -> list[SimulatedDatagrams]:
        if target[0] != LIMITED_BROADCAST:
            return list(self.network.groups.get(target, {}))
        hosts = dict.fromkeys(host for host in self.network.hosts.values() if host.place is not Place.INTERNET)
        return [host.sockets[target[1], 4] for host in hosts if (target[1], 4) in host.sockets]

    def _translate(self, sender: Host, source: Endpoint, receiver: Host, target: Endpoint) -> Endpoint:
        """The source as the receiver sees it: beyond the gateway, IPv4 comes from the gateway's own address."""
        is_leaving = sender.place is Place.LAN and receiver.place is Place.INTERNET
        if not is_leaving or address_version(target[0]) == 6:
            return source
        now_s = self.network.clock.now_s
        port = source[1]
        while True:
            holder = self._translated.get((port, target))
            if holder is None or holder[1] == source or holder[2] < now_s:
                break
            port = self.network.rng.randrange(1024, 65536)
        if len(self._translated) >= self._most_translated:
            self._translated = {key: value for key, value in self._translated.items() if value[2] >= now_s}
            self._most_translated = 2 * max(_TRANSLATED_COUNT, len(self._translated))
        self._translated[port, target] = (sender, source, now_s + _TRANSLATED_S)
        return (GATEWAY_UPLINK, port)

    def _untranslate(self, sender: Host, source: Endpoint, target: Endpoint) -> tuple[Host, Endpoint]:
        """Who is meant: behind the gateway's own address it may be a host of the LAN."""
        if target[0] != GATEWAY_UPLINK or sender.place is not Place.INTERNET:
            return self.network.find(target[0]), target
        holder = self._translated.get((target[1], source))
        if holder is None or holder[2] < self.network.clock.now_s:
            return self.network.gateway, target
        self._translated[target[1], source] = (*holder[:2], self.network.clock.now_s + _TRANSLATED_S)
        return holder[0], holder[1]
