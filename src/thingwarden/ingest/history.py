"""Zeek's history string: one letter per side for the first of each kind of packet, in the order of events.

In: packets sorted by flow, with side and state. Out: letters appended to each flow's history.
Must never: loop over packets or flows.
Source: Zeek's documentation of conn.log's ``history``; upper case is the originator, ``^`` a flipped direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import HISTORY_LENGTH
from thingwarden.domain.packet import PROTO_TCP, PROTO_UDP
from thingwarden.ingest.flow_table import SEQUENCED_CLASSES, FlowTable
from thingwarden.ingest.tcp_state import EVENT_ACK, EVENT_FIN, EVENT_PAYLOAD, EVENT_RST, EVENT_SYN

_SYN, _FIN, _RST, _INCONSISTENT, _MULTIPLE, _DATA, _ACK, _NONE = range(8)
_LETTERS: Final = "SFRIQDA"
_SYN_ACK_LETTER: Final = "H"
_FLIP: Final = ord("^")
_LOWER: Final = 32
_CLASS_BITS: Final = 8
_POWERS_OF_TEN: Final = 10 ** np.arange(18, dtype=np.int64)

# Order of the letters that one packet can cause.
_STEP_FLIP, _STEP_MAIN, _STEP_ZERO_WINDOW, _STEP_RETRANSMIT, _STEP_GAP = range(5)
_STEPS: Final = 8


def _class_table() -> npt.NDArray[np.uint8]:
    """Letter class by event, without the side."""
    table = np.full(64, _NONE, dtype=np.uint8)
    for event in range(64):
        syn, fin, rst = bool(event & EVENT_SYN), bool(event & EVENT_FIN), bool(event & EVENT_RST)
        if syn + fin + rst > 1:
            table[event] = _INCONSISTENT if fin and rst else _MULTIPLE
        elif syn + fin + rst == 1:
            table[event] = _SYN if syn else _FIN if fin else _RST
        elif event & EVENT_PAYLOAD:
            table[event] = _DATA
        elif event & EVENT_ACK:
            table[event] = _ACK
    return table


_CLASS_BY_EVENT: Final = _class_table()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPackets:
    """Packets sorted by flow, within a flow in the order of capture; columns of length n.

    Attributes:
        flow: int64, row of the packet's flow in the table.
        is_resp: uint8, whether the responder sent it.
        proto: uint8.
        event: uint8, ``EVENT_`` bits of TCP packets without the side.
        seq_end: uint32, sequence number behind the payload, without SYN and FIN.
        is_zero_window, is_retransmit, is_flipped: bool; ``is_flipped`` only where a flow begins.
        has_gap: uint8, 1 where the packet acknowledges what its peer was not seen to send.
    """

    flow: npt.NDArray[np.int64]
    is_resp: npt.NDArray[np.uint8]
    proto: npt.NDArray[np.uint8]
    event: npt.NDArray[np.uint8]
    seq_end: npt.NDArray[np.uint32]
    is_zero_window: npt.NDArray[np.bool_]
    is_retransmit: npt.NDArray[np.bool_]
    has_gap: npt.NDArray[np.bool_]
    is_flipped: npt.NDArray[np.bool_]


def append_history(flows: FlowTable, packets: FlowPackets) -> None:
    """Append to ``flows`` the letters that ``packets`` cause, and remember what was seen."""
    places, letters, steps = [np.flatnonzero(packets.is_flipped)], [], [_STEP_FLIP]
    letters.append(np.full(len(places[0]), _FLIP, dtype=np.uint8))
    kind = np.where(packets.proto == PROTO_TCP, _CLASS_BY_EVENT[packets.event], _NONE)
    kind[packets.proto == PROTO_UDP] = _DATA
    for side in (0, 1):
        mine = packets.is_resp == side
        for letter_class in range(_NONE):
            rows = np.flatnonzero(mine & (kind == letter_class))
            if len(rows):
                rows = _fresh(flows, packets, rows, side, letter_class)
                places.append(rows)
                letters.append(_letter(packets.event[rows], letter_class, side))
                steps.append(_STEP_MAIN)
        scaled = (
            (packets.is_zero_window & mine, flows.zero_window_count, "W", _STEP_ZERO_WINDOW),
            (packets.is_retransmit & mine, flows.retransmit_count, "T", _STEP_RETRANSMIT),
            # A gap is the fault of the side whose bytes are missing, seen at its peer's acknowledgement.
            (packets.has_gap & (packets.is_resp != side), flows.gap_count, "G", _STEP_GAP),
        )
        for mask, seen_count, letter, step in scaled:
            rows = _scaled(flows, packets.flow, np.flatnonzero(mask), seen_count[:, side])
            places.append(rows)
            letters.append(np.full(len(rows), ord(letter) + _LOWER * side, dtype=np.uint8))
            steps.append(step)
    _write(flows, packets.flow, places, letters, steps)


def _letter(event: npt.NDArray[np.uint8], letter_class: int, side: int) -> npt.NDArray[np.uint8]:
    letter = np.full(len(event), ord(_LETTERS[letter_class]), dtype=np.uint8)
    if letter_class == _SYN:
        letter[(event & EVENT_ACK) != 0] = ord(_SYN_ACK_LETTER)
    return letter + np.uint8(_LOWER * side)


def _is_first_of_flow(flow: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    first = np.ones(len(flow), dtype=np.bool_)
    first[1:] = flow[1:] != flow[:-1]
    return first


def _fresh(
    flows: FlowTable, packets: FlowPackets, rows: npt.NDArray[np.int64], side: int, letter_class: int
) -> npt.NDArray[np.int64]:
    """Those of ``rows`` that add a letter: the first of its kind, and a SYN, FIN or RST at another sequence number."""
    flow = packets.flow[rows]
    first = _is_first_of_flow(flow)
    bit = np.uint32(1 << (side * _CLASS_BITS + letter_class))
    was_seen = (flows.letters_seen[flow] & bit) != 0
    is_fresh: npt.NDArray[np.bool_] = first & ~was_seen
    if letter_class < SEQUENCED_CLASSES:
        seq = packets.seq_end[rows]
        known = np.concatenate([seq[:1], seq[:-1]])
        known[first] = flows.letter_seq[flow[first], side, letter_class]
        is_fresh |= (~first | was_seen) & (seq != known)
        last = np.append(first[1:], True)
        flows.letter_seq[flow[last], side, letter_class] = seq[last]
    flows.letters_seen[flow[first]] |= bit
    fresh: npt.NDArray[np.int64] = rows[is_fresh]
    return fresh


def _scaled(
    flows: FlowTable, flow: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], seen_count: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Those of ``rows`` that are the 1st, 10th, 100th ... of their flow; ``seen_count`` grows by all of them."""
    if not len(rows):
        return rows
    flow = flow[rows]
    starts = np.flatnonzero(_is_first_of_flow(flow))
    sizes = np.diff(np.append(starts, len(rows)))
    nth = np.arange(len(rows)) - np.repeat(starts, sizes) + 1 + seen_count[flow]
    seen_count[flow[starts]] += sizes
    return rows[np.isin(nth, _POWERS_OF_TEN)]


def _write(
    flows: FlowTable,
    flow_of_packet: npt.NDArray[np.int64],
    places: list[npt.NDArray[np.int64]],
    letters: list[npt.NDArray[np.uint8]],
    steps: list[int],
) -> None:
    """Put the letters behind each flow's history, ordered by packet and by step within a packet."""
    place = np.concatenate(places)
    if not len(place):
        return
    letter = np.concatenate(letters)
    step = np.repeat(steps, [len(each) for each in places])
    order = np.argsort(place * _STEPS + step, kind="stable")
    flow, letter = flow_of_packet[place[order]], letter[order]
    starts = np.flatnonzero(_is_first_of_flow(flow))
    sizes = np.diff(np.append(starts, len(flow)))
    column = np.arange(len(flow)) - np.repeat(starts, sizes) + flows.history_count[flow]
    flows.history_count[flow[starts]] += sizes
    fits = column < HISTORY_LENGTH
    flows.history[flow[fits], column[fits]] = letter[fits]


def is_bare_syn_reset(history: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether the originator's S is followed by its R with none of its H, A, F, G, I, Q between, bool (n,)."""
    if not len(history):
        return np.zeros(0, dtype=np.bool_)
    is_syn = history == ord("S")
    begins = is_syn[:, 0] | ((history[:, 0] == _FLIP) & is_syn[:, 1])
    is_reset = history == ord("R")
    is_between = np.isin(history, np.frombuffer(b"HAFGIQ", dtype=np.uint8))
    reset_at = np.where(is_reset.any(axis=1), is_reset.argmax(axis=1), HISTORY_LENGTH)
    between_at = np.where(is_between.any(axis=1), is_between.argmax(axis=1), HISTORY_LENGTH)
    bare: npt.NDArray[np.bool_] = begins & (reset_at < between_at)
    return bare
