"""Opening a TCP connection: SYN, SYN-ACK, ACK, with Linux's retries, and the ways in which it fails.

In: who calls whom. Out: the caller's side of a connection, once it stands.
Must never: let a caller without route, neighbour or answer wait beyond its timeout.
Source: RFC 9293; retries after 1, 2, 3, 4, 5, 7, 11 s and so on are Linux's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from thingwarden.domain.packet import PROTO_TCP, TCP_ACK, TCP_RST, TCP_SYN
from thingwarden.lab.simulated.capture import pack_rest
from thingwarden.lab.simulated.link import LOST
from thingwarden.lab.simulated.network import GATEWAY_UPLINK, Host, Network, Place, address_version
from thingwarden.lab.simulated.tcp import (
    IP_BYTES,
    KERNEL_S,
    OPEN_WINDOW,
    PLAIN_TCP_BYTES,
    SEQUENCE_MASK,
    OnAccept,
    Side,
)

SYN_TCP_BYTES: Final = 40
"""Header and options of a SYN: segment size, SACK, timestamps, window scale."""
SYN_WINDOW: Final = 64240
SYN_ACK_WINDOW: Final = 65160
_CONNECT_RETRY_S: Final = 1.0
_LINEAR_RETRIES: Final = 4
"""So many retries come a second apart; only then does Linux, since 6.5, double the pause."""
_TIMER_S: Final = 0.035
"""How late the kernel's timers of a second may go off."""
_ARP_GIVES_UP_S: Final = 3.07


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who wants to reach whom."""

    caller: Host
    address: str
    port: int
    source_port: int
    label: int
    timeout_s: float


async def open_connection(network: Network, call: Call) -> Side:
    """Shake hands with whoever has the address.

    Raises:
        ConnectionRefusedError: nobody listens on that port.
        TimeoutError: nobody answered within ``timeout_s``.
        OSError: there is no such neighbour, or no route.
    """
    clock = network.clock
    gives_up_s = clock.now_s + call.timeout_s
    receiver = network.find(call.address)
    if not network.is_neighbour_known(call.caller, receiver):
        await clock.sleep(min(call.timeout_s, _ARP_GIVES_UP_S))
        raise TimeoutError("no answer") if call.timeout_s < _ARP_GIVES_UP_S else OSError("no such neighbour")
    if address_version(call.address) == 6:
        network.meet(call.caller, receiver, call.address)
    handshake = _Handshake(network, call, receiver)
    pause_s, tries = _CONNECT_RETRY_S, 0
    while True:
        answered_s = handshake.attempt(clock.now_s + KERNEL_S)
        late_s = network.noise.share() * _TIMER_S
        next_s = min(clock.now_s + pause_s + late_s, gives_up_s)
        if answered_s < next_s:
            await clock.sleep(answered_s - clock.now_s)
            return handshake.complete(answered_s)
        await clock.sleep(next_s - clock.now_s)
        if clock.now_s >= gives_up_s:
            raise TimeoutError("no answer")
        tries += 1
        pause_s *= 2.0 if tries > _LINEAR_RETRIES else 1.0


class _Handshake:
    """SYN, SYN-ACK, ACK between a caller and whoever has the address."""

    def __init__(self, network: Network, call: Call, receiver: Host) -> None:
        version = address_version(call.address)
        source = (call.caller.own_address(version), call.source_port or call.caller.free_tcp_port())
        target = (call.address, call.port)
        seen_source = source
        is_translated = version == 4 and receiver.place is Place.INTERNET and call.caller.place is Place.LAN
        if is_translated:
            seen_source = (GATEWAY_UPLINK, source[1])
        there = network.lane(call.caller, source, receiver, target, PROTO_TCP, call.label)
        back = network.lane(receiver, target, call.caller, source, PROTO_TCP, call.label)
        self._network = network
        self._call = call
        self._ip_bytes = IP_BYTES[version]
        self._client = Side(network, call.caller, there, version, target)
        self._server = Side(network, receiver, back, version, seen_source)
        self._client.other, self._server.other = self._server, self._client
        self._server.received_to = (self._client.next_seq + 1) & SEQUENCE_MASK
        self._is_refused = False
        self._asked_s = 0.0

    def attempt(self, at_s: float) -> float:
        """Send a SYN at ``at_s``; when the answer reaches the caller, ``LOST`` if none does."""
        network, client, server = self._network, self._client, self._server
        self._asked_s = at_s
        size_bytes = self._ip_bytes + SYN_TCP_BYTES
        seen_s = client.host.outward.cross_alone(at_s, size_bytes)
        if seen_s == LOST:
            return LOST
        self._note(client, pack_rest(seen_s, size_bytes, 0, TCP_SYN, client.next_seq, 0, SYN_WINDOW, b""))
        arrives_s = server.host.inward.cross_alone(seen_s, size_bytes)
        if arrives_s == LOST or not server.host.is_up or self._call.port in server.host.silent_ports:
            return LOST
        self._is_refused = server.host.refuses or self._listener() is None
        answer_bytes = self._ip_bytes + (PLAIN_TCP_BYTES if self._is_refused else SYN_TCP_BYTES)
        back_s = server.host.outward.cross_alone(arrives_s + KERNEL_S, answer_bytes)
        if back_s == LOST:
            return LOST
        flags, seq, window_bytes = (
            (TCP_RST | TCP_ACK, 0, 0) if self._is_refused else (TCP_SYN | TCP_ACK, server.next_seq, SYN_ACK_WINDOW)
        )
        server.last_seen_s = back_s
        self._note(server, pack_rest(back_s, answer_bytes, 0, flags, seq, server.received_to, window_bytes, b""))
        home_s = client.host.inward.cross_alone(back_s, answer_bytes)
        return home_s if network.clock.now_s <= home_s else LOST

    def complete(self, at_s: float) -> Side:
        """Acknowledge the answer that came at ``at_s``.

        Raises:
            ConnectionRefusedError: it was a reset.
        """
        if self._is_refused:
            raise ConnectionRefusedError("nobody listens there")
        client, server = self._client, self._server
        client.rtt_s = server.rtt_s = at_s - self._asked_s
        client.is_patient = True
        for side in (client, server):
            side.next_seq = (side.next_seq + 1) & SEQUENCE_MASK
            side.host.sides[side] = None
        client.received_to = server.next_seq
        seen_s = client.host.outward.cross_alone(at_s + KERNEL_S, client.header_bytes)
        if seen_s != LOST:
            client.last_seen_s = seen_s
            seq, ack = client.next_seq, client.received_to
            self._note(client, pack_rest(seen_s, client.header_bytes, 0, TCP_ACK, seq, ack, OPEN_WINDOW, b""))
        # A lost acknowledgement is made up for by the first data.
        accepts_s = (seen_s if seen_s != LOST else at_s) + client.rtt_s / 2 + 2 * self._network.lag_s()
        server.last_due_s = accepts_s
        self._network.clock.call_at(accepts_s, self._accept)
        return client

    def _accept(self, _: object) -> None:
        listener = self._listener()
        if listener is not None and not self._server.is_gone:
            listener(self._server)

    def _listener(self) -> OnAccept | None:
        if self._call.port in self._server.host.closed_ports:
            return None
        return self._server.host.listeners.get(self._call.port)

    def _note(self, side: Side, rest: bytes) -> None:
        if side.lane:
            self._network.capture.rows.append(side.lane + rest)
