"""Packets that a program makes itself, many at once, and what the kernels that they meet say to them.

In: a host, whom it sends to, and columns of instants and ports. Out: packets at the capture, and which were answered.
Must never: open a connection; what these packets ask for, no program hears of.
Source: RFC 9293 (resets), RFC 792, RFC 4443; Linux for what it answers to half-open connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6, PROTO_TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN
from thingwarden.lab.simulated.capture import ROW, pack_rest
from thingwarden.lab.simulated.link import LOST
from thingwarden.lab.simulated.network import Host, Network, address_version
from thingwarden.lab.simulated.tcp import IP_BYTES, KERNEL_S, PLAIN_TCP_BYTES
from thingwarden.lab.simulated.udp import ICMP_PROTO, ICMP_ROOM_BYTES, UNREACHABLE_PORT, DatagramPlane

ICMP_BYTES: Final = 8
_SEGMENT_SIZE_OPTION_BYTES: Final = 4
_ANSWER_WINDOW: Final = 64240
_HALF_OPEN_COUNT: Final = 128
"""Connections that a listening port remembers half open; beyond, the kernel answers with cookies and forgets."""
_AGAIN_S: Final = (1.0, 3.0, 7.0, 15.0, 31.0)
"""When Linux repeats an answer to which nobody said anything."""
_ECHO: Final = {PROTO_ICMP: (8, 0), PROTO_ICMP6: (128, 129)}
_MASK: Final = 0xFFFF_FFFF

Times: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volley:
    """Packets of one kind, as columns of equal length; whatever is one number is the same for all.

    Attributes:
        at_s: when each is sent, ascending.
        src_port, dst_port: for ICMP type and code.
        ip_bytes, payload_bytes: of each packet.
        seq, ack: of TCP.
        source: forged source address of each, uint64 (n, 2); None is the sender's own.
        destination: address of each, uint64 (n, 2), where they go to several; None is the one given.
        head: what payloads begin with.
    """

    at_s: Times
    src_port: Numbers
    dst_port: Numbers
    proto: int
    ip_bytes: int
    payload_bytes: int = 0
    flags: int = 0
    window_bytes: int = 0
    seq: Numbers | int = 0
    ack: Numbers | int = 0
    source: npt.NDArray[np.uint64] | None = None
    destination: npt.NDArray[np.uint64] | None = None
    head: bytes = b""

    def __len__(self) -> int:
        return len(self.at_s)

    def take(self, mask: Mask) -> Volley:
        """The packets where ``mask`` is true."""
        columns = {
            name: getattr(self, name)[mask]
            for name in ("at_s", "src_port", "dst_port", "seq", "ack", "source", "destination")
            if isinstance(getattr(self, name), np.ndarray)
        }
        return replace(self, **columns)

    def answered(self, arrives_s: Times, **changes: object) -> Volley:
        """What goes the other way on account of these packets, sent when the kernel has seen them."""
        turned = replace(self, at_s=arrives_s + KERNEL_S, src_port=self.dst_port, dst_port=self.src_port)
        turned = replace(turned, source=None, destination=self.source, payload_bytes=0, head=b"", window_bytes=0)
        return replace(turned, **changes)  # type: ignore[arg-type]


@dataclass(slots=True, kw_only=True)
class Shooter:
    """A host that makes packets of its own.

    Attributes:
        plane: of the network that it is on.
        label: of what it sends, and of what is said to it.
        half_open: per target and port, how many answers wait for an acknowledgement.
    """

    plane: DatagramPlane
    host: Host
    label: int
    half_open: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """That it is on."""
        return self.plane.network

    def fire(self, target: str, volley: Volley) -> Times:
        """Send a volley to ``target``; when each packet arrives, ``LOST`` if it does not."""
        receiver = self.network.find(target)
        if not self.network.is_neighbour_known(self.host, receiver):
            return np.full(len(volley), LOST)
        arrives_s = self._carry(self.host, receiver, target, volley)
        return arrives_s if receiver.is_up else np.full(len(volley), LOST)

    def fire_syns(self, target: str, volley: Volley) -> Mask:
        """Ask to open connections that nobody wants; whether each packet was answered.

        The sender's kernel resets what is accepted, except where the source is forged: then the answer goes astray.
        """
        receiver = self.network.find(target)
        arrives_s = self.fire(target, volley)
        has_come = (arrives_s != LOST) & ~np.isin(volley.dst_port, list(receiver.silent_ports))
        is_open = _listens(receiver, volley.dst_port)
        size_bytes = IP_BYTES[address_version(target)] + PLAIN_TCP_BYTES
        is_answered = np.zeros(len(volley), dtype=np.bool_)
        refused, accepted = has_come & ~is_open, has_come & is_open
        heard = np.broadcast_to(np.asarray(volley.seq) + 1, (len(volley),))
        reset = volley.take(refused).answered(
            arrives_s[refused], flags=TCP_RST | TCP_ACK, seq=0, ack=heard[refused], ip_bytes=size_bytes
        )
        is_answered[refused] = self._answer(receiver, target, reset) != LOST
        welcome = volley.take(accepted).answered(
            arrives_s[accepted],
            flags=TCP_SYN | TCP_ACK,
            seq=self._numbers(int(accepted.sum())),
            ack=heard[accepted],
            ip_bytes=size_bytes + _SEGMENT_SIZE_OPTION_BYTES,
            window_bytes=_ANSWER_WINDOW,
        )
        back_s = self._answer(receiver, target, welcome)
        is_answered[accepted] = back_s != LOST
        if volley.source is None:
            is_back = back_s != LOST
            farewell = welcome.take(is_back).answered(back_s[is_back], flags=TCP_RST, ip_bytes=size_bytes)
            farewell = replace(farewell, seq=farewell.ack, ack=0)
            self._carry(self.host, receiver, target, farewell)
        else:
            self._repeat_unheard(receiver, target, welcome)
        return is_answered

    def fire_strays(self, target: str, volley: Volley) -> Mask:
        """Send segments of no connection, ACK or FIN; whether each was answered by a reset."""
        receiver = self.network.find(target)
        arrives_s = self.fire(target, volley)
        is_answered: Mask = (arrives_s != LOST) & ~np.isin(volley.dst_port, list(receiver.silent_ports))
        if volley.flags & TCP_FIN:
            is_answered &= ~_listens(receiver, volley.dst_port)  # an open port passes over a FIN in silence
        has_ack = bool(volley.flags & TCP_ACK)
        reset = volley.take(is_answered).answered(
            arrives_s[is_answered],
            flags=TCP_RST if has_ack else TCP_RST | TCP_ACK,
            ip_bytes=IP_BYTES[address_version(target)] + PLAIN_TCP_BYTES,
        )
        reset = replace(reset, seq=reset.ack if has_ack else 0, ack=0 if has_ack else np.asarray(reset.seq) + 1)
        is_answered[is_answered] = self._answer(receiver, target, reset) != LOST
        return is_answered

    def fire_datagrams(self, target: str, volley: Volley) -> Mask:
        """Send datagrams that mean nothing to anybody; whether each was answered by ICMP."""
        receiver = self.network.find(target)
        arrives_s = self.fire(target, volley)
        version = address_version(target)
        taken = [port for port, each in receiver.sockets if each == version and port not in receiver.closed_ports]
        is_answered: Mask = (arrives_s != LOST) & (~np.isin(volley.dst_port, taken) | receiver.refuses)
        is_answered &= ~np.isin(volley.dst_port, list(receiver.silent_ports))
        asker = self.host.name if volley.source is None else "forged"
        for row in np.flatnonzero(is_answered):
            is_answered[row] = self.plane.may_complain(receiver.name, asker, float(arrives_s[row]))
        count = int(is_answered.sum())
        size_bytes = min(IP_BYTES[version] + ICMP_BYTES + volley.ip_bytes, ICMP_ROOM_BYTES[version])
        complaint = volley.take(is_answered).answered(
            arrives_s[is_answered],
            proto=ICMP_PROTO[version],
            ip_bytes=size_bytes,
            payload_bytes=size_bytes - IP_BYTES[version] - ICMP_BYTES,
            src_port=np.full(count, UNREACHABLE_PORT[version][0]),
            dst_port=np.full(count, UNREACHABLE_PORT[version][1]),
        )
        is_answered[is_answered] = self._answer(receiver, target, complaint) != LOST
        return is_answered

    def fire_echoes(self, target: str, volley: Volley) -> Mask:
        """Send echo requests; whether each was answered."""
        arrives_s = self.fire(target, volley)
        is_answered: Mask = arrives_s != LOST
        reply = volley.take(is_answered).answered(
            arrives_s[is_answered],
            payload_bytes=volley.payload_bytes,
            src_port=np.full(int(is_answered.sum()), _ECHO[volley.proto][1]),
            dst_port=volley.dst_port[is_answered],
        )
        is_answered[is_answered] = self._answer(self.network.find(target), target, reply) != LOST
        return is_answered

    def _answer(self, receiver: Host, target: str, volley: Volley) -> Times:
        """Send what ``receiver`` says; forged sources never hear of it."""
        home = self.host if volley.destination is None else self.network.nowhere
        return self._carry(receiver, home, target, volley)

    def _repeat_unheard(self, receiver: Host, target: str, welcome: Volley) -> None:
        """Answers that went astray are repeated as long as the kernel remembers them."""
        remembered = np.zeros(len(welcome), dtype=np.bool_)
        for row, port in enumerate(welcome.src_port.tolist()):
            known = self.half_open.get((target, port), 0)
            if known < _HALF_OPEN_COUNT:
                self.half_open[target, port] = known + 1
                remembered[row] = True
        kept = welcome.take(remembered)
        if len(kept):
            for pause_s in _AGAIN_S:
                late = replace(kept, at_s=kept.at_s + pause_s)
                self.network.clock.call_at(float(late.at_s[0]), self._repeat, (receiver, target, late))

    def _repeat(self, what: tuple[Host, str, Volley]) -> None:
        receiver, target, volley = what
        if receiver.is_up:
            self._answer(receiver, target, volley)

    def _carry(self, sender: Host, receiver: Host, target: str, volley: Volley) -> Times:
        """Carry packets between this host's end and ``target``; when each arrives."""
        network, count = self.network, len(volley)
        if not count:
            return np.zeros(0)
        size_bytes = np.full(count, volley.ip_bytes, dtype=np.int64)
        seen_s = sender.outward.cross_many(volley.at_s, size_bytes, network.bulk_rng)
        own = self.host.own_address(address_version(target))
        ends = (own, target) if sender is self.host else (target, own)
        lane = network.lane(sender, (ends[0], 0), receiver, (ends[1], 0), volley.proto, self.label)
        is_seen = seen_s != LOST
        if lane and is_seen.any():
            network.capture.add_block(_block(lane, volley, seen_s)[is_seen])
        arrives_s = np.full(count, LOST)
        arrives_s[is_seen] = receiver.inward.cross_many(seen_s[is_seen], size_bytes[is_seen], network.bulk_rng)
        return arrives_s

    def _numbers(self, count: int) -> Numbers:
        return self.network.bulk_rng.integers(0, 2**32, count)


def _block(lane: bytes, volley: Volley, seen_s: Times) -> npt.NDArray[np.void]:
    rest = pack_rest(0.0, volley.ip_bytes, volley.payload_bytes, volley.flags, 0, 0, 1, volley.head)
    block = np.repeat(np.frombuffer(lane + rest, dtype=ROW), len(volley))
    block["at_s"], block["src_port"], block["dst_port"] = seen_s, volley.src_port, volley.dst_port
    if volley.proto == PROTO_TCP:
        block["tcp_receive_bytes"] = volley.window_bytes
        block["tcp_seq"] = np.asarray(volley.seq) & _MASK
        block["tcp_ack"] = np.asarray(volley.ack) & _MASK
    if volley.source is not None:
        block["src_address"] = volley.source
    if volley.destination is not None:
        block["dst_address"] = volley.destination
    return block


def _listens(receiver: Host, ports: Numbers) -> Mask:
    if receiver.refuses:
        return np.zeros(len(ports), dtype=np.bool_)
    found: Mask = np.isin(ports, [port for port in receiver.listeners if port not in receiver.closed_ports])
    return found
