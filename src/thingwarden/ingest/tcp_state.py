"""TCP connection states as Zeek sees them, as one table that columnar code can step through.

In: nothing. Out: ``TABLE`` (next state by state and event) and what each state means.
Must never: depend on sequence numbers; what does is decided where the packets are.
Source: Zeek's documented connection states and endpoint states, checked against Zeek's own regression traces.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATE_CODE
from thingwarden.domain.packet import TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN


class Endpoint(IntEnum):
    """What one side of a connection was last seen doing."""

    INACTIVE = 0
    SYN_SENT = 1
    SYN_ACK_SENT = 2
    PARTIAL = 3
    ESTABLISHED = 4
    CLOSED = 5
    RESET = 6


class Lifetime(IntEnum):
    """Which clock ends a connection in this state."""

    HANDSHAKE = 0
    """Idle for as long as UDP may be: the handshake is not over."""
    ESTABLISHED = 1
    """Idle for TCP's inactivity timeout."""
    ATTEMPT = 2
    """A fixed delay after the first SYN, answered by nothing."""
    CLOSING = 3
    """A fixed delay after the close was complete."""


class Side(NamedTuple):
    """One endpoint: its state, the one before, and whether its close was noted."""

    state: Endpoint = Endpoint.INACTIVE
    previous: Endpoint = Endpoint.INACTIVE
    has_closed: bool = False

    def enter(self, state: Endpoint) -> Side:
        return self if state == self.state else Side(state, self.state, self.has_closed)


class Connection(NamedTuple):
    """Both endpoints, and whether the close is complete."""

    orig: Side = Side()
    resp: Side = Side()
    is_closing: bool = False


EVENT_IS_RESP: Final = 1
EVENT_SYN: Final = 2
EVENT_FIN: Final = 4
EVENT_RST: Final = 8
EVENT_ACK: Final = 16
EVENT_PAYLOAD: Final = 32
EVENT_COUNT: Final = 64

_HANDSHAKE: Final = (Endpoint.INACTIVE, Endpoint.SYN_SENT, Endpoint.SYN_ACK_SENT)


def events_from_flags(flags: npt.NDArray[np.uint8], payload_bytes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Event codes, uint8 (n,), without ``EVENT_IS_RESP``, from TCP flag bytes and payload lengths."""
    by_flags = np.zeros(256, dtype=np.uint8)
    every = np.arange(256)
    for flag, event in ((TCP_SYN, EVENT_SYN), (TCP_FIN, EVENT_FIN), (TCP_RST, EVENT_RST), (TCP_ACK, EVENT_ACK)):
        by_flags[(every & flag) != 0] |= event
    return by_flags[flags] | np.where(payload_bytes > 0, EVENT_PAYLOAD, 0).astype(np.uint8)


def advance(connection: Connection, event: int) -> Connection:
    """The connection after one packet.

    Args:
        connection: the state before.
        event: a sum of ``EVENT_`` bits.
    """
    if event & EVENT_IS_RESP:
        me, peer, will_close = _step(connection.resp, connection.orig, event)
    else:
        me, peer, will_close = _step(connection.orig, connection.resp, event)
    is_closing = connection.is_closing
    if will_close and not me.has_closed:
        me = me._replace(has_closed=True)
        is_closing |= me.state == Endpoint.RESET or peer.has_closed or peer.state == Endpoint.INACTIVE
    orig, resp = (peer, me) if event & EVENT_IS_RESP else (me, peer)
    return Connection(orig, resp, is_closing)


def _step(me: Side, peer: Side, event: int) -> tuple[Side, Side, bool]:
    """The sender, its peer, and whether this packet closes the sender's direction."""
    if me.state == Endpoint.INACTIVE:
        return _wake(me, peer, event)
    if me.state in (Endpoint.SYN_SENT, Endpoint.SYN_ACK_SENT):
        if event & EVENT_FIN:
            me = me.enter(Endpoint.CLOSED)
        if event & EVENT_RST:
            me = me.enter(Endpoint.RESET)
        return me, peer, bool(event & (EVENT_FIN | EVENT_RST))
    if me.state in (Endpoint.PARTIAL, Endpoint.ESTABLISHED):
        return _step_open(me, peer, event)
    if me.state == Endpoint.CLOSED and event & EVENT_RST and peer.state != Endpoint.CLOSED:
        return me.enter(Endpoint.RESET), peer, not me.has_closed
    return me, peer, False


def _wake(me: Side, peer: Side, event: int) -> tuple[Side, Side, bool]:
    """The first packet of a side decides whether we see a connection or the middle of one."""
    is_resp = bool(event & EVENT_IS_RESP)
    if event & EVENT_SYN:
        if not is_resp:
            me = me.enter(Endpoint.SYN_ACK_SENT if event & EVENT_ACK else Endpoint.SYN_SENT)
        else:
            if peer.state == Endpoint.SYN_SENT:
                peer = peer.enter(Endpoint.ESTABLISHED)
            me = me.enter(Endpoint.ESTABLISHED)
    if event & EVENT_FIN:
        me = me.enter(Endpoint.CLOSED)
    if event & EVENT_RST:
        me = me.enter(Endpoint.RESET)
    if me.state == Endpoint.INACTIVE:
        is_odd_ack = is_resp and not event & EVENT_PAYLOAD and peer.state == Endpoint.SYN_SENT
        if not is_odd_ack:
            # After a SYN-ACK, an ACK from the other side means that only the SYN was missed.
            missed_syn = bool(event & EVENT_ACK) and peer.state == Endpoint.ESTABLISHED
            me = me.enter(Endpoint.ESTABLISHED if missed_syn else Endpoint.PARTIAL)
    return me, peer, bool(event & (EVENT_FIN | EVENT_RST))


def _step_open(me: Side, peer: Side, event: int) -> tuple[Side, Side, bool]:
    is_lone_partial = me.state == Endpoint.PARTIAL and peer.state == Endpoint.INACTIVE
    if event & EVENT_SYN and is_lone_partial and not event & EVENT_ACK:
        me = me.enter(Endpoint.SYN_SENT)
    if event & EVENT_FIN and not event & EVENT_RST:
        me = me.enter(Endpoint.CLOSED)
        if peer.state == Endpoint.RESET and peer.previous == Endpoint.CLOSED:
            # The peer sent a FIN, then a RST: this was a normal end after all.
            peer = peer.enter(Endpoint.CLOSED)
    if event & EVENT_RST:
        me = me.enter(Endpoint.RESET)
    return me, peer, bool(event & (EVENT_FIN | EVENT_RST))


def name_state(connection: Connection, *, has_payload: bool, is_bare_syn_reset: bool) -> str:
    """Zeek's ``conn_state`` of a finished connection.

    Args:
        connection: the last state.
        has_payload: whether either side sent payload.
        is_bare_syn_reset: whether the originator's SYN was followed by its RST with none of H, A, F, G, I, Q between.
    """
    orig, resp = connection.orig.state, connection.resp.state
    is_orig_quiet = orig in (Endpoint.INACTIVE, Endpoint.PARTIAL)
    is_resp_quiet = resp in (Endpoint.INACTIVE, Endpoint.PARTIAL)
    if resp == Endpoint.RESET:
        was_refused = orig in (Endpoint.SYN_SENT, Endpoint.SYN_ACK_SENT)
        if was_refused or (orig == Endpoint.RESET and not has_payload):
            return "REJ"
        return "RSTRH" if is_orig_quiet else "RSTR"
    if orig == Endpoint.RESET:
        if is_resp_quiet:
            return "RSTOS0" if is_bare_syn_reset else "OTH"
        return "RSTO"
    if orig == Endpoint.CLOSED:
        if resp == Endpoint.CLOSED:
            return "SF"
        return "SH" if is_resp_quiet else "S2"
    if resp == Endpoint.CLOSED:
        return "SHR" if is_orig_quiet else "S3"
    if orig == Endpoint.SYN_SENT and resp == Endpoint.INACTIVE:
        return "S0"
    return "S1" if orig == resp == Endpoint.ESTABLISHED else "OTH"


def lifetime(connection: Connection) -> Lifetime:
    """Which clock runs for a connection in this state."""
    orig, resp = connection.orig.state, connection.resp.state
    if connection.is_closing:
        return Lifetime.CLOSING
    if orig in (Endpoint.SYN_SENT, Endpoint.SYN_ACK_SENT) and resp == Endpoint.INACTIVE:
        return Lifetime.ATTEMPT
    return Lifetime.HANDSHAKE if orig in _HANDSHAKE and resp in _HANDSHAKE else Lifetime.ESTABLISHED


class StateTable(NamedTuple):
    """All reachable states, numbered; number 0 is a connection of which nothing was seen.

    Attributes:
        successor: next state by state * EVENT_COUNT + event.
        lifetime: ``Lifetime`` per state.
        endpoint: uint8 (states, 2), ``Endpoint`` of originator and responder.
        both_closed: bool (states,), whether both sides' close was noted; later packets no longer extend the duration.
        any_closed: whether at least one side's close was noted, per state.
        conn_state: uint8 (states, 2, 2), code of ``conn_state`` by state, has_payload, is_bare_syn_reset.
    """

    successor: list[int]
    lifetime: list[int]
    endpoint: npt.NDArray[np.uint8]
    both_closed: npt.NDArray[np.bool_]
    any_closed: list[bool]
    conn_state: npt.NDArray[np.uint8]


@cache
def state_table() -> StateTable:
    """Walk every state reachable from none, once per process."""
    number = {Connection(): 0}
    states, successor = [Connection()], []
    for connection in states:  # grows while walked
        for event in range(EVENT_COUNT):
            after = advance(connection, event)
            if after not in number:
                number[after] = len(states)
                states.append(after)
            successor.append(number[after])
    codes = [
        CONN_STATE_CODE[name_state(state, has_payload=has_payload, is_bare_syn_reset=is_bare)]
        for state in states
        for has_payload in (False, True)
        for is_bare in (False, True)
    ]
    return StateTable(
        successor=successor,
        lifetime=[int(lifetime(state)) for state in states],
        endpoint=np.array([(state.orig.state, state.resp.state) for state in states], dtype=np.uint8),
        both_closed=np.array([state.orig.has_closed and state.resp.has_closed for state in states]),
        any_closed=[state.orig.has_closed or state.resp.has_closed for state in states],
        conn_state=np.array(codes, dtype=np.uint8).reshape(-1, 2, 2),
    )
