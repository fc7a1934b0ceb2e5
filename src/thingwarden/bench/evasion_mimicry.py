"""Mimicry: an attack's flows dressed as one habit of the host that they come from.

In: labelled flows, which of them to dress, how thoroughly. Out: ``Evaded``, row by row the flows that went in.
Must never: dress a flow that nobody answered; a dead controller cannot agree on a disguise.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.bench.evasion_rows import (
    STEERED,
    Evaded,
    LanHosts,
    Mask,
    Rng,
    Rows,
    answered_mask,
    attack_mask,
    campaigns,
    class_mask,
    is_port_proto,
    originator_keys,
)
from thingwarden.domain.flow import COLUMN_DTYPES, FlowBatch
from thingwarden.encode.address import hash_columns, is_unicast, same_lan
from thingwarden.encode.sentence import local_ends


class Disguise(IntEnum):
    """How thoroughly; each step includes those before it."""

    SIZES = 1
    """Bytes and packets each way, duration, how the connection ends."""
    PORTS = 2
    """Ports at both ends; the attack's own service hides behind the habit's."""
    PEER_KIND = 3
    """A habit with a neighbour is imitated through another infected neighbour."""
    PEER = 4
    """The habit's own peer: behind one address with a cloud service, or a hub that is infected."""


_OUTCOME: Final = (
    "duration_s", "orig_bytes", "resp_bytes", "orig_packets", "resp_packets", "orig_ip_bytes", "resp_ip_bytes",
    "conn_state", "history",
)  # fmt: skip
_PORTS: Final = ("orig_port", "resp_port", "service")
_PEER: Final = ("resp_address", "resp_mac", "resp_is_local")

_Columns: TypeAlias = dict[str, Any]


def reach_disguise(flows: FlowBatch) -> Mask:
    """Answered flows between the attacker's own two ends whose host has an answered habit over the same protocol."""
    candidates = class_mask(flows, STEERED) & answered_mask(flows) & local_ends(flows)[:, 0] & is_port_proto(flows)
    return candidates & np.isin(_pair_keys(flows), _pair_keys(flows)[_habit_mask(flows)])


def disguise(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """Each host's part of an attack takes after one of the host's channels, a busy one more likely.

    Args:
        flows: labelled.
        reached: see ``reach_disguise``.
        strength: a ``Disguise``.
        rng: draws.
    """
    columns: _Columns = {name: getattr(flows, name).copy() for name in COLUMN_DTYPES}
    hosts, habit_mask, pair = LanHosts.of(flows), _habit_mask(flows), _pair_keys(flows)
    template = np.arange(len(flows))
    for attack in campaigns(flows, reached, by_host=True):
        for key in np.unique(pair[attack]):
            rows, habits = attack[pair[attack] == key], np.flatnonzero(habit_mask & (pair == key))
            template[rows] = like = _draw_channel(flows, habits, len(rows), rng)
            taken = _OUTCOME + (_PORTS if strength >= Disguise.PORTS else ())
            taken += _PEER if strength >= Disguise.PEER else ()
            for name in taken:
                columns[name][rows] = getattr(flows, name)[like]
            if strength == Disguise.PEER_KIND:
                _relay(columns, flows, rows, like, hosts, rng)
    noted = None if flows.milestones is None else flows.milestones.of_flows(template)
    return Evaded.in_place(replace(flows, milestones=noted, **columns), reached)


def _habit_mask(flows: FlowBatch) -> Mask:
    """Harmless answered flows to one host each, with all sizes known."""
    is_known = (np.stack([getattr(flows, name) for name in _OUTCOME[1:5]]) >= 0).all(axis=0)
    is_habit = ~attack_mask(flows) & answered_mask(flows) & is_port_proto(flows)
    return is_habit & is_known & is_unicast(flows.resp_address)


def _pair_keys(flows: FlowBatch) -> npt.NDArray[np.uint64]:
    """One number per originator and protocol, uint64 (n,)."""
    return hash_columns(originator_keys(flows), flows.proto.astype(np.uint64))


def _draw_channel(flows: FlowBatch, habits: Rows, count: int, rng: Rng) -> Rows:
    """``count`` rows of the channel (responder and port) of a random one of ``habits``."""
    channel = hash_columns(*flows.resp_address[habits].T, flows.resp_port[habits].astype(np.uint64))
    return rng.choice(habits[channel == rng.choice(channel)], count)


def _relay(columns: _Columns, flows: FlowBatch, rows: Rows, like: Rows, hosts: LanHosts, rng: Rng) -> None:
    """Through a neighbour where the habit's peer is one; through the habit's own peer where there is no other."""
    own, peer = flows.orig_address[rows[0]], flows.resp_address[like[0]]
    if not same_lan(own[None], peer[None])[0]:
        return
    others = hosts.neighbours(own)
    others = others[(hosts.address[others] != peer).any(axis=1)]
    by = int(rng.choice(others)) if len(others) else None
    columns["resp_address"][rows] = peer if by is None else hosts.address[by]
    columns["resp_mac"][rows] = flows.resp_mac[like[0]] if by is None else hosts.mac[by]
    columns["resp_is_local"][rows] = flows.resp_is_local[like[0]]
