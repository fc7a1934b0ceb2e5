"""Evasions in a crowd: decoys between an attack's flows, and an attack split over several infected hosts.

In: labelled flows, which of them to change, a strength. Out: ``Evaded``.
Must never: score a decoy; it is neither harmless nor an attack.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.evasion_rows import (
    Evaded,
    LanHosts,
    Mask,
    Rng,
    Rows,
    attack_mask,
    campaigns,
    is_port_proto,
    originator_keys,
)
from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.sentence import local_ends
from thingwarden.train.corpus import mask_labels

LONE_GAP_S: Final = 60.0
"""Decoys of an attack's last contact are spread over its usual interval; over this where it has none."""

_CLIENT_PORTS: Final = (32_768, 61_000)


def reach_decoy(flows: FlowBatch) -> Mask:
    """Attack flows by hosts of the network that also do harmless things, bool (n,)."""
    return attack_mask(flows) & local_ends(flows)[:, 0] & LanHosts.of(flows).begins(flows)


def dilute(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """After each attack flow, before the next, ``strength`` repetitions of harmless flows that its host began.

    Args:
        flows: labelled.
        reached: see ``reach_decoy``.
        strength: how many.
        rng: draws.
    """
    key, is_habit = originator_keys(flows), ~attack_mask(flows)
    habits = {host: np.flatnonzero(is_habit & (key == host)) for host in np.unique(key[reached]).tolist()}
    repeated, starts_at_s = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for rows in campaigns(flows, reached, by_host=True):
        own = habits[int(key[rows[0]])]
        repeated.append(rng.choice(own, int(strength) * len(rows)))
        at_s, gap_s = flows.started_at_s[rows], _gaps_after(flows.started_at_s[rows])
        starts_at_s.append((at_s + rng.random((int(strength), len(rows))) * gap_s).ravel())
    decoys = _repeat(flows, np.concatenate(repeated), np.concatenate(starts_at_s), rng)
    return Evaded(
        flows=FlowBatch.concatenate([flows, decoys]),
        reached=np.append(reached, np.zeros(len(decoys), dtype=np.bool_)),
        row=np.append(np.arange(len(flows)), np.full(len(decoys), -1)),
    )


def _gaps_after(at_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    gaps_s = np.diff(at_s)
    return np.append(gaps_s, np.median(gaps_s) if len(gaps_s) else LONE_GAP_S)


def _repeat(flows: FlowBatch, rows: Rows, at_s: npt.NDArray[np.float64], rng: Rng) -> FlowBatch:
    """The flows at ``rows`` again, at other moments, from other client ports, and without a label."""
    again = flows.take(rows)
    is_client = is_port_proto(again) & (again.orig_port >= 1024) & (again.orig_port != again.resp_port)
    drawn = rng.integers(*_CLIENT_PORTS, len(again))
    orig_port = np.where(is_client, drawn, again.orig_port).astype(np.uint16)
    again = replace(again, started_at_s=at_s, orig_port=orig_port)
    return mask_labels(again, np.ones(len(again), dtype=np.bool_))


def reach_split(flows: FlowBatch) -> Mask:
    """Attack flows by hosts of the network that have a neighbour, bool (n,)."""
    hosts, reached = LanHosts.of(flows), reach_decoy(flows)
    for rows in campaigns(flows, reached, by_host=True):
        reached[rows] = len(hosts.neighbours(flows.orig_address[rows[0]])) > 0
    return reached


def split_hosts(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """Each attack in turn by ``strength`` hosts of the LAN, the infected one first, or by all where there are fewer.

    Nobody attacks himself: a flow whose turn falls to its own responder stays where it was.
    """
    hosts = LanHosts.of(flows)
    address, mac = flows.orig_address.copy(), flows.orig_mac.copy()
    for rows in campaigns(flows, reached, by_host=True):
        others = rng.permutation(hosts.neighbours(address[rows[0]]))[: int(strength) - 1]
        turn = np.arange(len(rows)) % (len(others) + 1)
        taken, by = rows[turn > 0], others[turn[turn > 0] - 1]
        moves = (hosts.address[by] != flows.resp_address[taken]).any(axis=1)
        address[taken[moves]], mac[taken[moves]] = hosts.address[by[moves]], hosts.mac[by[moves]]
    return Evaded.in_place(replace(flows, orig_address=address, orig_mac=mac), reached)
