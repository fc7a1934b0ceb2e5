"""Cut each TCP key's packets into connections, and follow each connection's state.

In: packets sorted by key, as plain columns. Out: where a connection begins, and the state after each packet.
Must never: do more per packet than look up a table; this is the only loop over packets.
Source: Zeek's timers (attempt, close, inactivity) and its rule for when a SYN reuses a 5-tuple.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.ingest.tcp_state import EVENT_ACK, EVENT_COUNT, EVENT_SYN, Endpoint, Lifetime, StateTable, state_table

HANDSHAKE_IDLE_S: Final = 60.0
"""Zeek gives a handshake its UDP inactivity timeout."""
ESTABLISHED_IDLE_S: Final = 300.0
ATTEMPT_DELAY_S: Final = 5.0
CLOSE_DELAY_S: Final = 5.0

_DELAYS_S: Final = np.array([HANDSHAKE_IDLE_S, ESTABLISHED_IDLE_S, ATTEMPT_DELAY_S, CLOSE_DELAY_S])
"""By ``Lifetime``; those before ``ATTEMPT`` run from the last packet, the others from entering the state."""

_BEGINS: Final = 1 << 16
_SEQ_MASK: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpPackets:
    """TCP packets sorted by key; all columns of length n.

    Attributes:
        is_first: bool, whether the place begins a key.
        at_s: float64.
        event: uint8, ``EVENT_`` bits; ``EVENT_IS_RESP`` here says that the key's upper endpoint sent it.
        is_flipped: bool, whether a connection beginning here has its sender as responder.
        seq, ack: uint32.
        open_state, open_expires_at_s, open_orig_is_upper, open_start_seq: at the first place of a key what is known
            of its open connection; state 0 none. ``open_start_seq`` is uint32 (n, 2), originator and responder.
    """

    is_first: npt.NDArray[np.bool_]
    at_s: npt.NDArray[np.float64]
    event: npt.NDArray[np.uint8]
    is_flipped: npt.NDArray[np.bool_]
    seq: npt.NDArray[np.uint32]
    ack: npt.NDArray[np.uint32]
    open_state: npt.NDArray[np.int64]
    open_expires_at_s: npt.NDArray[np.float64]
    open_orig_is_upper: npt.NDArray[np.uint8]
    open_start_seq: npt.NDArray[np.uint32]

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """The packets at ``rows``, in that order."""
        return type(self)(**{name: getattr(self, name).take(rows, axis=0) for name in self.__slots__})


def split_connections(
    packets: TcpPackets,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Follow every connection through its packets.

    Returns:
        bool (n,), whether the packet begins a connection; int64 (n,), the state after it; float64 (n,), when the
        connection then ends unless a packet comes.
    """
    table = state_table()
    walked = _walk(packets, table)
    begins = walked >= _BEGINS
    state = walked & (_BEGINS - 1)
    life = np.array(table.lifetime)[state]
    # A fixed delay runs from the packet that entered the state's lifetime.
    enters = begins | packets.is_first
    enters[1:] |= life[1:] != life[:-1]
    entered_at = np.maximum.accumulate(np.where(enters, np.arange(len(life)), 0))
    entered_at_s = packets.at_s[entered_at]
    open_life = np.array(table.lifetime)[packets.open_state]
    goes_on = (packets.is_first & ~begins)[entered_at] & (open_life[entered_at] == life)
    is_fixed = (life == Lifetime.ATTEMPT) | (life == Lifetime.CLOSING)
    expires_at_s = np.where(is_fixed, entered_at_s, packets.at_s) + _DELAYS_S[life]
    return begins, state, np.where(is_fixed & goes_on, packets.open_expires_at_s[entered_at], expires_at_s)


def _walk(packets: TcpPackets, table: StateTable) -> npt.NDArray[np.int64]:
    """The state after each packet, plus ``_BEGINS`` where a connection begins.

    A key with a single packet and no open connection, which is what floods and scans consist of, takes no loop.
    """
    is_last = np.append(packets.is_first[1:], True)
    is_single = packets.is_first & is_last & (packets.open_state == 0)
    oriented = (packets.event & ~np.uint8(1)) | packets.is_flipped
    walked: npt.NDArray[np.int64] = np.array(table.successor)[oriented] + _BEGINS
    rest = np.flatnonzero(~is_single)
    if len(rest):
        walked[rest] = _walk_keys(packets.take(rest), table)
    return walked


def _walk_keys(packets: TcpPackets, table: StateTable) -> list[int]:
    """The state after each packet, plus ``_BEGINS`` where a connection begins, packet by packet."""
    successor, lives, any_closed = table.successor, table.lifetime, table.any_closed
    orig_is_inactive = (table.endpoint[:, 0] == Endpoint.INACTIVE).tolist()
    delays_s, idle_below = _DELAYS_S.tolist(), int(Lifetime.ATTEMPT)
    walked: list[int] = []
    append = walked.append
    state, expires_at_s, orientation, orig_start, resp_start, life = 0, 0.0, 0, 0, 0, 0
    seeds = _seeds(packets)
    columns = (packets.is_first, packets.at_s, packets.event, packets.is_flipped, packets.seq, packets.ack)
    for is_first, at_s, event, is_flipped, seq, ack in zip(*(column.tolist() for column in columns), strict=True):
        if is_first:
            state, expires_at_s, orientation, orig_start, resp_start = next(seeds)
            life = lives[state]
        is_new = not state or at_s >= expires_at_s
        if event & EVENT_SYN and not is_new:
            if event & EVENT_ACK:
                is_new = orig_is_inactive[state] and (any_closed[state] or seq != resp_start)
            else:
                is_new = any_closed[state] or seq != orig_start
        if is_new:
            orientation = (event & 1) ^ is_flipped
            mine = seq if event & EVENT_SYN else (seq - 1) & _SEQ_MASK
            theirs = (ack - 1) & _SEQ_MASK
            orig_start, resp_start = (theirs, mine) if is_flipped else (mine, theirs)
            state, life = successor[event ^ orientation], -1
            append(state + _BEGINS)
        else:
            state = successor[state * EVENT_COUNT + (event ^ orientation)]
            append(state)
        life_before, life = life, lives[state]
        if life < idle_below or life != life_before:
            expires_at_s = at_s + delays_s[life]
    return walked


def _seeds(packets: TcpPackets) -> Iterator[tuple[int, float, int, int, int]]:
    """What is known of each key's open connection, key by key."""
    columns = (
        packets.open_state,
        packets.open_expires_at_s,
        packets.open_orig_is_upper,
        packets.open_start_seq[:, 0],
        packets.open_start_seq[:, 1],
    )
    return zip(*(column[packets.is_first].tolist() for column in columns), strict=True)
