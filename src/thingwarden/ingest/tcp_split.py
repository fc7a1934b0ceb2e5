"""Cut each TCP key's packets into connections, and follow each connection's state.

In: packets sorted by key, as plain columns. Out: where a connection begins, and the state after each packet.
Must never: do more per packet than look up a table; this is the only loop over packets.
Source: Zeek's timers (attempt, close, inactivity) and its rule for when a SYN reuses a 5-tuple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.ingest.tcp_state import EVENT_ACK, EVENT_COUNT, EVENT_SYN, Endpoint, Lifetime, state_table

HANDSHAKE_IDLE_S: Final = 60.0
"""Zeek gives a handshake its UDP inactivity timeout."""
ESTABLISHED_IDLE_S: Final = 300.0
ATTEMPT_DELAY_S: Final = 5.0
CLOSE_DELAY_S: Final = 5.0

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


def split_connections(
    packets: TcpPackets,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Follow every connection through its packets.

    Returns:
        bool (n,), whether the packet begins a connection; int64 (n,), the state after it; float64 (n,), when the
        connection then ends unless a packet comes.
    """
    table = state_table()
    successor, lives, any_closed = table.successor, table.lifetime, table.any_closed
    orig_is_inactive = (table.endpoint[:, 0] == Endpoint.INACTIVE).tolist()
    begins, states, expiries = [], [], []
    state, expires_at_s, orientation, orig_start, resp_start = 0, 0.0, 0, 0, 0
    seeds = zip(
        *(
            column[packets.is_first].tolist()
            for column in (
                packets.open_state,
                packets.open_expires_at_s,
                packets.open_orig_is_upper,
                packets.open_start_seq[:, 0],
                packets.open_start_seq[:, 1],
            )
        ),
        strict=True,
    )
    columns = (packets.is_first, packets.at_s, packets.event, packets.is_flipped, packets.seq, packets.ack)
    for is_first, at_s, event, is_flipped, seq, ack in zip(*(column.tolist() for column in columns), strict=True):
        if is_first:
            state, expires_at_s, orientation, orig_start, resp_start = next(seeds)
        is_new = not state or at_s >= expires_at_s
        if not is_new and event & EVENT_SYN:
            if event & EVENT_ACK:
                is_new = orig_is_inactive[state] and (any_closed[state] or seq != resp_start)
            else:
                is_new = any_closed[state] or seq != orig_start
        if is_new:
            state = 0
            orientation = (event & 1) ^ is_flipped
            mine = seq if event & EVENT_SYN else (seq - 1) & _SEQ_MASK
            orig_start, resp_start = ((ack - 1) & _SEQ_MASK, mine) if is_flipped else (mine, (ack - 1) & _SEQ_MASK)
        after = successor[state * EVENT_COUNT + (event ^ orientation)]
        life = lives[after]
        if life == Lifetime.ESTABLISHED:
            expires_at_s = at_s + ESTABLISHED_IDLE_S
        elif life == Lifetime.HANDSHAKE:
            expires_at_s = at_s + HANDSHAKE_IDLE_S
        elif life != lives[state]:
            expires_at_s = at_s + (ATTEMPT_DELAY_S if life == Lifetime.ATTEMPT else CLOSE_DELAY_S)
        state = after
        begins.append(is_new)
        states.append(after)
        expiries.append(expires_at_s)
    return np.array(begins, dtype=np.bool_), np.array(states, dtype=np.int64), np.array(expiries, dtype=np.float64)
