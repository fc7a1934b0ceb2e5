"""Flows of the meter's table as columns of ``FlowBatch``, ended or still open.

In: rows of a ``FlowTable``. Out: what each flow's first packet shows, and what became of it so far.
Must never: change the table, or give two flows one id.
Source: Zeek's conn.log for the meaning of every column.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATE_CODE, HISTORY_LENGTH, UID_LENGTH, UNKNOWN_COUNT
from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6, PROTO_TCP, PROTO_UDP
from thingwarden.ingest.flow_key import mix_words
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.history import is_bare_syn_reset
from thingwarden.ingest.service import name_services
from thingwarden.ingest.tcp_state import state_table
from thingwarden.ingest.tcp_stream import stream_bytes

_BASE62: Final = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
_UID_DIGITS: Final = 17
assert _UID_DIGITS < UID_LENGTH


def opening_columns(flows: FlowTable) -> dict[str, npt.NDArray[Any]]:
    """What each flow's first packet shows, link-layer addresses aside, as columns of ``FlowBatch``."""
    row, orig = np.arange(len(flows)), flows.orig_is_upper.astype(np.int64)
    ends = flows.keys.address.reshape(-1, 2, 2)
    ports = _ports(flows)
    return {
        "started_at_s": flows.started_at_s,
        "proto": flows.keys.proto,
        "orig_address": ends[row, orig],
        "resp_address": ends[row, 1 - orig],
        "orig_port": ports[:, 0],
        "resp_port": ports[:, 1],
        "uid": _uids(flows),
    }


def outcome_columns(flows: FlowTable) -> dict[str, npt.NDArray[Any]]:
    """What became of each flow so far, as columns of ``FlowBatch``."""
    return {
        **standing_columns(flows),
        "orig_ip_bytes": flows.ip_bytes[:, 0],
        "resp_ip_bytes": flows.ip_bytes[:, 1],
        "history": _history_strings(flows),
    }


def standing_columns(flows: FlowTable) -> dict[str, npt.NDArray[Any]]:
    """What a milestone notes of each flow's outcome so far, as columns of ``FlowBatch``."""
    proto = flows.keys.proto
    is_tcp = proto == PROTO_TCP
    is_counted = (proto == PROTO_UDP) | (proto == PROTO_ICMP) | (proto == PROTO_ICMP6)
    payload = np.select([is_tcp[:, None], is_counted[:, None]], [stream_bytes(flows), flows.payload_bytes], 0)
    duration_s = flows.last_at_s - flows.started_at_s
    # As in Zeek's log: without a duration, no byte counts. Else a log and a capture of one flow would differ.
    is_instant = duration_s <= 0
    duration_s[is_instant] = np.nan
    payload[is_instant] = UNKNOWN_COUNT
    return {
        "duration_s": duration_s,
        "orig_bytes": payload[:, 0],
        "resp_bytes": payload[:, 1],
        "orig_packets": flows.packets[:, 0],
        "resp_packets": flows.packets[:, 1],
        "conn_state": _name_states(flows, proto, payload > 0),
        "service": name_services(proto, _ports(flows), flows.payload_head, flows.payload_bytes),
    }


def _ports(flows: FlowTable) -> npt.NDArray[np.uint16]:
    """Originator's and responder's port, uint16 (n, 2)."""
    row, orig = np.arange(len(flows)), flows.orig_is_upper.astype(np.int64)
    return np.column_stack([flows.keys.port[row, orig], flows.keys.port[row, 1 - orig]])


def _history_strings(flows: FlowTable) -> npt.NDArray[np.bytes_]:
    return np.ascontiguousarray(flows.history).view(f"S{HISTORY_LENGTH}").reshape(-1)


def _name_states(
    flows: FlowTable, proto: npt.NDArray[np.uint8], sent_payload: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    by_activity = np.array(
        [[CONN_STATE_CODE["OTH"], CONN_STATE_CODE["SHR"]], [CONN_STATE_CODE["S0"], CONN_STATE_CODE["SF"]]],
        dtype=np.uint8,
    )
    is_active = (flows.packets > 0).astype(np.int64)
    has_payload = sent_payload.any(axis=1).astype(np.int64)
    is_bare = is_bare_syn_reset(flows.history).astype(np.int64)
    tcp_name = state_table().conn_state[flows.tcp_state, has_payload, is_bare]
    udp_name = by_activity[is_active[:, 0], is_active[:, 1]]
    other = np.full(len(flows), CONN_STATE_CODE["OTH"], dtype=np.uint8)
    codes: npt.NDArray[np.uint8] = np.select([proto == PROTO_TCP, proto == PROTO_UDP], [tcp_name, udp_name], other)
    return codes.astype(np.uint8)


def _uids(flows: FlowTable) -> npt.NDArray[np.bytes_]:
    """``C`` and base 62, as Zeek writes them, but the same for the same packets."""
    started = flows.started_at_s.copy().view(np.uint64)
    words = [mix_words(flows.keys.digest ^ started), mix_words(flows.keys.digest + mix_words(started))]
    digits = np.zeros((len(flows), UID_LENGTH), dtype=np.uint8)
    digits[:, 0] = ord("C")
    for place in range(_UID_DIGITS):
        word = words[place % 2]
        digits[:, place + 1] = _BASE62[word % np.uint64(62)]
        words[place % 2] = word // np.uint64(62)
    return digits.view(f"S{UID_LENGTH}").reshape(-1)
