"""TCP as a Linux kernel speaks it, as far as a capture shows: handshakes, segments, acknowledgements, ends, losses.

In: what two programs send and when. Out: packets at the capture point, and data at the other side.
Must never: schedule anything for a packet that only the capture sees; acknowledgements are worked out when next needed.
Source: RFC 9293, RFC 6298; the rules for delayed acknowledgements are those of Linux (net/ipv4/tcp_input.c).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from thingwarden.domain.packet import TCP_ACK, TCP_FIN, TCP_RST
from thingwarden.lab.simulated.bulk import FIRST_WINDOW, Burst, send_burst
from thingwarden.lab.simulated.capture import pack_rest
from thingwarden.lab.simulated.clock import FOREVER, Waiter
from thingwarden.lab.simulated.link import LOST
from thingwarden.lab.simulated.network import Host, Network

TCP_PSH: Final = 0x08

IP_BYTES: Final = {4: 20, 6: 40}
PLAIN_TCP_BYTES: Final = 20
_STAMPED_TCP_BYTES: Final = 32
"""With timestamps, as every packet of an established connection has them."""
MTU_BYTES: Final = 1500

OPEN_WINDOW: Final = 502

KERNEL_S: Final = 6e-6
DELAYED_ACK_S: Final = 0.04
_TICK_S: Final = 0.004
_FOLLOWING_S: Final = 1e-6
_USUAL_RTT_S: Final = 6e-5
_LEAST_RETRY_S: Final = 0.2
_MOST_RETRY_S: Final = 120.0
_MOST_RETRIES: Final = 15
_ORPHAN_RETRIES: Final = 8
_FAREWELL_S: Final = 5.0
"""How long a closed connection lets data pass unread before the kernel answers it by a reset."""
SLICE_BYTES: Final = 1 << 17
SEQUENCE_MASK: Final = 0xFFFF_FFFF

OnAccept: TypeAlias = Callable[["Side"], None]
"""What a listening port does with a new connection."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """What is sent at one moment and fits one packet."""

    seq: int
    wire_bytes: int
    head: bytes
    data: bytes
    is_fin: bool


class Side:
    """One end of a TCP connection, and the ``Stream`` that a program sees.

    Args:
        network: that both ends are on.
        host: this end's.
        lane: what packets sent from here begin with in the capture; empty if it sees none.
        version: of IP.
        peer: address and port of the other end, as seen from here.
    """

    __slots__ = (
        "ack_due_s", "ack_due_to", "arriving", "closed_at_s", "error", "free_at_s", "got_fin", "has_replied",
        "header_bytes", "held", "host", "is_closed", "is_gone", "is_patient", "lane", "last_due_s", "last_heard_s",
        "last_seen_s", "more_lag_s", "mss_bytes", "network", "next_seq", "other", "peer_name", "received_to", "rtt_s",
        "segments_allowed", "sent_fin", "small_done_s", "unread", "unsent", "version", "waiter",
    )  # fmt: skip

    other: Side

    def __init__(self, network: Network, host: Host, lane: bytes, version: int, peer: tuple[str, int]) -> None:
        self.network = network
        self.host = host
        self.lane = lane
        self.version = version
        self.peer_name = peer
        self.header_bytes = IP_BYTES[version] + _STAMPED_TCP_BYTES
        self.mss_bytes = MTU_BYTES - self.header_bytes
        self.next_seq = network.rng.getrandbits(32)
        self.received_to = self.ack_due_to = 0
        self.rtt_s = _USUAL_RTT_S
        self.segments_allowed = FIRST_WINDOW
        self.free_at_s = self.last_due_s = self.last_seen_s = self.more_lag_s = 0.0
        self.last_heard_s = self.small_done_s = -FOREVER
        self.ack_due_s = self.closed_at_s = FOREVER
        self.has_replied = self.is_patient = False
        self.sent_fin = self.got_fin = self.is_closed = self.is_gone = False
        self.unread: list[bytes] = []
        self.arriving: deque[tuple[_Segment, float, bool]] = deque()
        self.held: list[_Segment] = []
        self.unsent: list[_Segment] | None = None
        self.waiter: Waiter | None = None
        self.error: OSError | None = None

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other side."""
        return self.peer_name

    async def send(self, data: bytes) -> None:
        """Send all of ``data``; returns when the kernel has it.

        Raises:
            OSError: the connection is gone.
        """
        await self.send_as(data, len(data), data)

    async def send_as(self, data: bytes, wire_bytes: int, head: bytes) -> None:
        """Send ``data``, which takes ``wire_bytes`` and begins with ``head`` on the wire.

        Raises:
            OSError: the connection is gone.
        """
        self.require_open()
        while wire_bytes > SLICE_BYTES:
            part = data[:SLICE_BYTES]
            self.transmit(part, SLICE_BYTES, head)
            data, wire_bytes, head = data[SLICE_BYTES:], wire_bytes - SLICE_BYTES, b""
            await self.network.clock.sleep(self.free_at_s - self.network.clock.now_s)
            self.require_open()
        if wire_bytes:
            self.transmit(data, wire_bytes, head)

    async def receive(self, timeout_s: float | None = None) -> bytes:
        """What has come; empty once the other side has finished.

        Raises:
            TimeoutError: nothing came within ``timeout_s``.
            OSError: the connection was reset.
        """
        if not self.unread and not self.got_fin and self.error is None:
            clock = self.network.clock
            self.waiter = clock.waiter()
            await clock.wait_until(FOREVER if timeout_s is None else clock.now_s + timeout_s)
            self.waiter = None
        if self.unread:
            data = self.unread[0] if len(self.unread) == 1 else b"".join(self.unread)
            self.unread.clear()
            return data
        if self.error is not None:
            raise self.error
        if self.got_fin:
            return b""
        raise TimeoutError("nothing came in time")

    async def finish(self) -> None:
        """Send FIN; receiving goes on."""
        self.send_fin()

    async def close(self) -> None:
        """Finish, and let what still comes pass unread."""
        self.say_goodbye()

    def say_goodbye(self) -> None:
        """As ``close``, for callers that cannot wait."""
        if self.is_closed:
            return
        self.send_fin()
        self.is_closed = True
        self.closed_at_s = self.network.clock.now_s

    def abort(self) -> None:
        """Reset the connection."""
        if self.is_gone or self.error is not None:
            return
        if self.sent_fin and self.got_fin:
            self.is_closed = True
            return
        self._reset(max(self.network.clock.now_s, self.free_at_s))

    def require_open(self) -> None:
        """Raise what keeps data from being sent.

        Raises:
            OSError: the connection is gone, or has been finished.
        """
        if self.error is not None:
            raise self.error
        if self.sent_fin:
            raise BrokenPipeError("sending after the end")

    def transmit(self, data: bytes, wire_bytes: int, head: bytes) -> None:
        """Put up to ``SLICE_BYTES`` on their way; they reach the other program as ``data``."""
        at_s = max(self.network.clock.now_s + KERNEL_S, self.free_at_s)
        self.free_at_s = at_s + self.network.effort_s()
        is_small = wire_bytes < self.mss_bytes
        if self.held or (is_small and self.is_patient and at_s < self.small_done_s):
            self._hold(data, wire_bytes, head)
            return
        self._transmit_at(at_s, data, wire_bytes, head, is_fin=False)

    def send_fin(self) -> None:
        """Send no more."""
        if self.sent_fin or self.is_gone or self.error is not None:
            return
        at_s = max(self.network.clock.now_s + self.network.effort_s(), self.free_at_s)
        self._absorb(at_s)
        self.sent_fin = True
        held = self._take_held()
        if held is None or held.wire_bytes > self.mss_bytes:
            if held is not None:
                self._transmit_at(at_s, held.data, held.wire_bytes, held.head, is_fin=False)
            self._transmit_at(at_s, b"", 0, b"", is_fin=True)
        else:
            self._transmit_at(at_s, held.data, held.wire_bytes, held.head, is_fin=True)
        self._forget_if_over()

    def _hold(self, data: bytes, wire_bytes: int, head: bytes) -> None:
        """Keep small data back until the small data before it is acknowledged (RFC 896) or a segment is full."""
        self.held.append(_Segment(0, wire_bytes, head, data, False))
        if sum(each.wire_bytes for each in self.held) >= self.mss_bytes:
            self._release(None)
        elif self.small_done_s == FOREVER and self.other.ack_due_s != FOREVER:
            self.network.clock.call_at(self.other.ack_due_s, self.other.settle_now)
        elif self.small_done_s != FOREVER:
            self.network.clock.call_at(self.small_done_s, self._release)

    def _release(self, _: object) -> None:
        held = self._take_held()
        if held is not None and not self.is_gone:
            at_s = max(self.network.clock.now_s, self.free_at_s)
            self._transmit_at(at_s, held.data, held.wire_bytes, held.head, is_fin=False)

    def _take_held(self) -> _Segment | None:
        """All that is held back, as one."""
        if not self.held:
            return None
        data = b"".join(each.data for each in self.held)
        joined = _Segment(0, sum(each.wire_bytes for each in self.held), self.held[0].head, data, False)
        self.held.clear()
        return joined

    def _transmit_at(self, at_s: float, data: bytes, wire_bytes: int, head: bytes, *, is_fin: bool) -> None:
        self._note_reply(at_s)
        if wire_bytes <= self.mss_bytes:
            segment = _Segment(self.next_seq, wire_bytes, head, data, is_fin)
            self.next_seq = (self.next_seq + wire_bytes + is_fin) & SEQUENCE_MASK
            self._launch(segment, at_s)
        elif self.unsent is None and self.network.can_pass(self.host, self.other.host):
            self._launch_burst(data, wire_bytes, head, at_s)
        else:
            self._launch_in_pieces(data, wire_bytes, head, at_s)

    def settle(self, until_s: float) -> None:
        """Send the delayed acknowledgement if it was due before ``until_s``."""
        if self.ack_due_s < until_s:
            if self.ack_due_s >= self.last_heard_s + DELAYED_ACK_S:
                # Waiting for something to send along was in vain: the kernel now acknowledges at once again.
                self.has_replied = False
            self._send_ack(self.ack_due_s, self.ack_due_to)
            self.ack_due_s = FOREVER

    def settle_now(self, _: object) -> None:
        """As ``settle``, when somebody waits for the acknowledgement."""
        self.settle(self.network.clock.now_s + KERNEL_S)

    def vanish(self) -> None:
        """The host has lost its power: what it had to send is not sent."""
        self.settle(self.network.clock.now_s)
        self.ack_due_s = FOREVER
        self.is_gone = True
        self.error = ConnectionResetError("no power")

    def _note_reply(self, at_s: float) -> None:
        """Sending carries an acknowledgement; an answer given soon makes the kernel wait for the next one."""
        self._absorb(at_s)
        self.settle(at_s)
        if self.ack_due_s != FOREVER:
            self.ack_due_s = FOREVER
            self._tell_acknowledged(at_s + self.rtt_s / 2)
        if at_s - self.last_heard_s < DELAYED_ACK_S:
            self.has_replied = True

    def _tell_acknowledged(self, arrives_s: float) -> None:
        """The other side learns at ``arrives_s`` that all it sent has come, and may send what it holds back."""
        other = self.other
        if other.small_done_s > arrives_s:
            other.small_done_s = arrives_s
            if other.held:
                self.network.clock.call_at(max(arrives_s, self.network.clock.now_s), other._release)

    def _launch(self, segment: _Segment, at_s: float) -> None:
        """Send one segment, again after each loss; behind those that wait for a way."""
        if self.unsent is not None:
            self.unsent.append(segment)
            return
        other = self.other
        if segment.wire_bytes < self.mss_bytes:
            self.small_done_s = FOREVER
        if not self.network.can_pass(self.host, other.host):
            self._record(segment, at_s)
            self.unsent = [segment]
            self.network.clock.call_at(at_s + _LEAST_RETRY_S + self.rtt_s, self._retry, 1)
            return
        retry_s = _LEAST_RETRY_S + self.rtt_s
        size_bytes = self.header_bytes + segment.wire_bytes
        seen_s = self._record(segment, at_s)
        arrives_s = LOST if seen_s == LOST else other.host.inward.cross_alone(seen_s, size_bytes)
        while arrives_s == LOST:
            at_s += retry_s
            retry_s *= 2
            seen_s = self._record(segment, at_s, is_again=True)
            if seen_s != LOST:
                arrives_s = other.host.inward.cross_alone(seen_s, size_bytes)
        if not other.has_replied:
            # On one machine the answer is there before the program can send again.
            self.small_done_s = arrives_s + max(0.0, self.rtt_s / 2 - _USUAL_RTT_S)
        self._hand_over(segment, arrives_s)

    def _record(self, segment: _Segment, at_s: float, *, is_again: bool = False) -> float:
        """When a segment sent at ``at_s`` passes the capture, which notes it; ``LOST`` if it does not get there."""
        size_bytes = self.header_bytes + segment.wire_bytes
        outward = self.host.outward
        seen_s = outward.cross_alone(at_s, size_bytes)
        if seen_s != LOST and not (is_again or outward.overtakes):
            seen_s = self.last_seen_s = max(seen_s, self.last_seen_s + _FOLLOWING_S)
        if seen_s != LOST and self.lane and self.network.is_neighbour_known(self.host, self.other.host):
            flags = TCP_ACK | (TCP_PSH if segment.wire_bytes else 0) | (TCP_FIN if segment.is_fin else 0)
            self._note(seen_s, size_bytes, segment.wire_bytes, flags, segment.seq, segment.head)
        return seen_s

    def _note(self, seen_s: float, size_bytes: int, wire_bytes: int, flags: int, seq: int, head: bytes) -> None:
        rest = pack_rest(seen_s, size_bytes, wire_bytes, flags, seq, self.received_to, OPEN_WINDOW, head)
        self.network.capture.rows.append(self.lane + rest)

    def _hand_over(self, segment: _Segment, arrives_s: float, *, is_acknowledged: bool = False) -> None:
        other = self.other
        due_s = max(arrives_s + self.network.lag_s() + other.more_lag_s, other.last_due_s)
        other.last_due_s = due_s
        other.arriving.append((segment, arrives_s, is_acknowledged))
        self.network.clock.call_at(due_s, other.deliver, (segment, arrives_s))

    def _launch_in_pieces(self, data: bytes, wire_bytes: int, head: bytes, at_s: float) -> None:
        """Queue what cannot pass now, cut as the kernel will send it."""
        sent_bytes = 0
        while sent_bytes < wire_bytes:
            part_bytes = min(self.mss_bytes, wire_bytes - sent_bytes)
            is_last = sent_bytes + part_bytes == wire_bytes
            # The other program learns nothing before the last segment; nothing reads in between.
            segment = _Segment(self.next_seq, part_bytes, head, data if is_last else b"", False)
            self.next_seq = (self.next_seq + part_bytes) & SEQUENCE_MASK
            self._launch(segment, at_s)
            sent_bytes, head = sent_bytes + part_bytes, b""

    def _launch_burst(self, data: bytes, wire_bytes: int, head: bytes, at_s: float) -> None:
        landing = send_burst(self, Burst(wire_bytes=wire_bytes, head=head, at_s=at_s))
        segment = _Segment(self.next_seq, wire_bytes, b"", data, False)
        self.next_seq = (self.next_seq + wire_bytes) & SEQUENCE_MASK
        self.free_at_s = max(self.free_at_s, landing.sent_at_s)
        self.small_done_s = landing.arrived_at_s + self.rtt_s / 2 if landing.is_acknowledged else FOREVER
        self._hand_over(segment, landing.arrived_at_s, is_acknowledged=landing.is_acknowledged)

    def _retry(self, attempt: int) -> None:
        """The other side has not been heard of for a while: send the oldest segment again."""
        if self.unsent is None or self.is_gone or not self.host.is_up:
            return
        clock = self.network.clock
        if self.network.can_pass(self.host, self.other.host):
            waiting, self.unsent = self.unsent, None
            for segment in waiting:
                self._launch(segment, clock.now_s)
            return
        if attempt > (_ORPHAN_RETRIES if self.is_closed else _MOST_RETRIES):
            self.fail(TimeoutError("no answer for too long"))
            return
        self._record(self.unsent[0], clock.now_s)
        pause_s = min((_LEAST_RETRY_S + self.rtt_s) * 2.0**attempt, _MOST_RETRY_S)
        clock.call_at(clock.now_s + pause_s, self._retry, attempt + 1)

    def deliver(self, arrival: tuple[_Segment, float]) -> None:
        """The program notices a segment that has come."""
        segment, at_s = arrival
        if not self.host.is_up:
            return
        is_late = self.is_closed and segment.wire_bytes and at_s > self.closed_at_s + _FAREWELL_S
        if self.is_gone or self.host.refuses or is_late:
            self.arriving.clear()
            self._answer_by_reset(at_s)
            return
        self._absorb(self.network.clock.now_s)
        if segment.data and not self.is_closed:
            self.unread.append(segment.data)
        if segment.is_fin:
            self.got_fin = True
            self._forget_if_over()
        elif self.is_closed or not segment.data:
            return
        self._wake()

    def _absorb(self, until_s: float) -> None:
        """Let the kernel see what has come until then, whether the program has noticed it or not."""
        arriving = self.arriving
        while arriving and arriving[0][1] <= until_s:
            segment, at_s, is_acknowledged = arriving.popleft()
            self._acknowledge(segment, at_s, is_acknowledged=is_acknowledged)

    def _acknowledge(self, segment: _Segment, at_s: float, *, is_acknowledged: bool) -> None:
        """Acknowledge at once, or when the program has read, or later, in the hope of something to send along."""
        self.settle(at_s)
        waits_already = self.ack_due_s != FOREVER
        self.received_to = self.ack_due_to = (segment.seq + segment.wire_bytes + segment.is_fin) & SEQUENCE_MASK
        self.last_heard_s = at_s
        self.ack_due_s = FOREVER
        if segment.is_fin and not self.sent_fin:
            self.has_replied = True
        elif is_acknowledged:
            self._tell_acknowledged(at_s + self.rtt_s / 2)
            return
        if not self.has_replied or (segment.is_fin and self.sent_fin):
            self._send_ack(at_s + KERNEL_S, self.received_to)
        elif waits_already:
            self.ack_due_s = self.network.clock.now_s
        else:
            self.ack_due_s = at_s + DELAYED_ACK_S + self.network.rng.random() * _TICK_S
        if self.other.held and self.ack_due_s != FOREVER:
            self.network.clock.call_at(self.ack_due_s, self.settle_now)

    def _send_ack(self, at_s: float, received_to: int) -> None:
        seen_s = self.host.outward.cross_alone(at_s, self.header_bytes)
        if seen_s == LOST:
            return
        # What came while something was being sent is acknowledged behind it.
        seen_s = self.last_seen_s = max(seen_s, self.last_seen_s + _FOLLOWING_S)
        if self.lane:
            rest = pack_rest(seen_s, self.header_bytes, 0, TCP_ACK, self.next_seq, received_to, OPEN_WINDOW, b"")
            self.network.capture.rows.append(self.lane + rest)
        self._tell_acknowledged(seen_s + self.rtt_s / 2)

    def _answer_by_reset(self, at_s: float) -> None:
        """What a kernel says to a segment of a connection that it does not know, or that a firewall refuses."""
        self.fail(ConnectionResetError("refused on the way"))
        self._send_reset(at_s, IP_BYTES[self.version] + PLAIN_TCP_BYTES, TCP_RST)

    def _reset(self, at_s: float) -> None:
        self.settle(at_s)
        self.ack_due_s = FOREVER
        self.is_gone = self.is_closed = True
        self.error = ConnectionAbortedError("aborted here")
        self.host.sides.pop(self, None)
        self._send_reset(at_s, self.header_bytes, TCP_RST | TCP_ACK)

    def _send_reset(self, at_s: float, size_bytes: int, flags: int) -> None:
        seen_s = self.host.outward.cross_alone(at_s + KERNEL_S, size_bytes)
        if seen_s == LOST:
            return
        seen_s = self.last_seen_s = max(seen_s, self.last_seen_s + _FOLLOWING_S)
        if self.lane:
            ack, window_bytes = (self.received_to, OPEN_WINDOW) if flags & TCP_ACK else (0, 0)
            rest = pack_rest(seen_s, size_bytes, 0, flags, self.next_seq, ack, window_bytes, b"")
            self.network.capture.rows.append(self.lane + rest)
        self._let_fail(seen_s, size_bytes)

    def _let_fail(self, seen_s: float, size_bytes: int) -> None:
        other = self.other
        arrives_s = other.host.inward.cross_alone(seen_s, size_bytes)
        if arrives_s != LOST:
            due_s = max(arrives_s + self.network.lag_s(), other.last_due_s)
            self.network.clock.call_at(due_s, other.fail, ConnectionResetError("reset by the other side"))

    def fail(self, error: OSError) -> None:
        """The connection is gone."""
        if self.is_gone:
            return
        self.settle(self.network.clock.now_s)
        self.ack_due_s = FOREVER
        self.is_gone = True
        self.error = error
        self.unsent = None
        self.host.sides.pop(self, None)
        self._wake()

    def _wake(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            waiter.wake()

    def _forget_if_over(self) -> None:
        if self.sent_fin and self.got_fin and self.ack_due_s == FOREVER:
            self.host.sides.pop(self, None)
