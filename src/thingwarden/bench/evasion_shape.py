"""Evasions in the shape of a flow: padding, other ports at the responder, other ports at the originator.

In: labelled flows, which of them to change, a strength. Out: ``Evaded``, row by row the flows that went in.
Must never: make a flow that cannot be: bytes without packets, an answer where none was given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.evasion_rows import (
    FLOODS,
    STEERED,
    TCP,
    Evaded,
    Mask,
    Rng,
    answered_mask,
    attack_mask,
    campaigns,
    class_mask,
    is_port_proto,
    note_anew,
    originator_keys,
)
from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.address import hash_columns
from thingwarden.train.graft import INFRASTRUCTURE_PORTS

SEGMENT_BYTES: Final = 1448
"""Payload of a full TCP segment on Ethernet, with timestamps."""

_HEADER_BYTES: Final = {True: 40, False: 28}
"""IPv4 with TCP, and with UDP or ICMP."""
_SEGMENT_S: Final = 0.001
_LINE_BYTES_PER_S: Final = 12.5e6
"""No flow is padded to more than 100 Mbit/s: it lasts longer instead."""

_FIRST_FREE_PORT: Final = 1024
_LINUX_PORTS: Final = (32_768, 61_000)
_WELL_KNOWN_PORT: Final = 53

Counts = npt.NDArray[np.int64]


def reach_payload(flows: FlowBatch) -> Mask:
    """Attack flows with payload that the attacker can add to, bool (n,): a bare SYN has none."""
    can_carry = (flows.proto != TCP) | answered_mask(flows)
    has_payload = (flows.orig_bytes > 0) | (class_mask(flows, STEERED) & (flows.resp_bytes > 0))
    return np.asarray(attack_mask(flows) & can_carry & has_payload)


def pad(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """Payload grown by a factor drawn log-uniformly up to ``strength``, with the packets and the time that it takes.

    What a victim answers stays as it was; where both ends are the attacker's, both grow.

    Args:
        flows: labelled.
        reached: see ``reach_payload``.
        strength: at least 1.
        rng: draws.
    """
    growth = np.exp(rng.uniform(0.0, np.log(strength), len(flows))) - 1.0
    is_steered = class_mask(flows, STEERED)
    sides = ((flows.orig_bytes, reached), (flows.resp_bytes, reached & is_steered))
    added = np.stack(
        [np.where(rows & (payload > 0), np.floor(growth * payload), 0.0) for payload, rows in sides]
    ).astype(np.int64)
    segments = -(-added // SEGMENT_BYTES)  # (2, n)
    acknowledgements = np.where(flows.proto == TCP, -(-segments[::-1] // 2), 0)
    packets = segments + acknowledgements
    header_bytes = np.where(flows.proto == TCP, _HEADER_BYTES[True], _HEADER_BYTES[False])
    columns: dict[str, Any] = {"duration_s": _lasting(flows, added, packets)}
    for side, end in enumerate(("orig", "resp")):
        columns[f"{end}_bytes"] = getattr(flows, f"{end}_bytes") + added[side]
        columns[f"{end}_packets"] = _add_known(getattr(flows, f"{end}_packets"), packets[side])
        ip_bytes = added[side] + header_bytes * packets[side]
        columns[f"{end}_ip_bytes"] = _add_known(getattr(flows, f"{end}_ip_bytes"), ip_bytes)
    padded = note_anew(replace(flows, **columns), added.sum(axis=0) > 0, rng)
    return Evaded.in_place(padded, reached)


def _add_known(column: Counts, added: Counts) -> Counts:
    return np.where(column >= 0, column + added, column)


def _lasting(flows: FlowBatch, added: Counts, packets: Counts) -> npt.NDArray[np.float64]:
    """Seconds with the added packets; a single packet's unknown duration becomes known with the second one."""
    more_s = np.maximum(packets.sum(axis=0) * _SEGMENT_S, added.sum(axis=0) / _LINE_BYTES_PER_S)
    return np.where(more_s > 0.0, np.nan_to_num(flows.duration_s) + more_s, flows.duration_s)


def reach_port(flows: FlowBatch) -> Mask:
    """Attack flows whose responder port is the attacker's choice, bool (n,).

    His own servers listen where he likes, and a flood that waits for no answer goes to any port; a guess, an exploit
    or a scan has to go where the service is.
    """
    is_own = class_mask(flows, STEERED) & ~np.isin(flows.resp_port, INFRASTRUCTURE_PORTS)
    is_flood = class_mask(flows, FLOODS) & ~answered_mask(flows)
    return is_port_proto(flows) & (is_own | is_flood)


def hop_ports(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """Every flow to one of ``strength`` ports, drawn for each attack and responder from all above 1023."""
    resp_port = flows.resp_port.copy()
    responder = hash_columns(flows.resp_address[:, 0], flows.resp_address[:, 1])
    for attack in campaigns(flows, reached, by_host=False):
        for peer in np.unique(responder[attack]):
            rows = attack[responder[attack] == peer]
            ports = rng.choice(np.arange(_FIRST_FREE_PORT, 65_536), int(strength), replace=False)
            resp_port[rows] = rng.choice(ports, len(rows))
    return Evaded.in_place(replace(flows, resp_port=resp_port), reached)


def reach_source(flows: FlowBatch) -> Mask:
    """Attack flows that have ports, bool (n,)."""
    return attack_mask(flows) & is_port_proto(flows)


def shape_sources(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """Originator ports as another program would have them.

    Args:
        flows: labelled.
        reached: see ``reach_source``.
        strength: 1 as a Linux kernel draws them; 2 drawn from the host's own harmless flows, where it has any;
            3 always 53, which careless firewalls let through.
        rng: draws.
    """
    orig_port = flows.orig_port.copy()
    orig_port[reached] = rng.integers(*_LINUX_PORTS, int(reached.sum()))
    if strength >= 3:
        orig_port[reached] = _WELL_KNOWN_PORT
    elif strength >= 2:
        key, is_habit = originator_keys(flows), ~attack_mask(flows) & is_port_proto(flows)
        for host in np.unique(key[reached]):
            own = flows.orig_port[is_habit & (key == host)]
            rows = reached & (key == host)
            if len(own):
                orig_port[rows] = rng.choice(own, int(rows.sum()))
    return Evaded.in_place(replace(flows, orig_port=orig_port), reached)
