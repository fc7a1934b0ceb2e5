"""Whose flows an evasion may change: attacks, campaign by campaign, and the hosts of the network that they pass.

In: labelled flows of one network. Out: masks and rows; ``Evaded``, flows after an evasion.
Must never: reach a flow that is not labelled malicious.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch, Milestones
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.encode.address import hash_columns, is_unicast, same_lan
from thingwarden.encode.sentence import local_ends
from thingwarden.encode.word import ANSWERED_STATES, code_mask
from thingwarden.train.pace import imagine_milestones
from thingwarden.train.weighting import require_labels

Mask: TypeAlias = npt.NDArray[np.bool_]
Rows: TypeAlias = npt.NDArray[np.int64]
Rng: TypeAlias = np.random.Generator

TCP: Final = 6
UDP: Final = 17

STEERED: Final = (AttackClass.C2, AttackClass.DOWNLOAD, AttackClass.EXFILTRATION)
"""Attacks whose both ends are the attacker's: what the responder says, and where it listens, is his to choose."""

FLOODS: Final = (AttackClass.DOS, AttackClass.DDOS)

_ANSWERED: Final = code_mask(ANSWERED_STATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaded:
    """A network's flows after an evasion, in any order.

    Attributes:
        flows: labelled; what the attacker added as a decoy has the label -1 and is never scored.
        reached: bool (n,), attack flows that the evasion may change: recall is measured on these alone.
        row: int64 (n,), which flow of the network each was before; -1 for a decoy.
    """

    flows: FlowBatch
    reached: Mask
    row: Rows

    @classmethod
    def in_place(cls, flows: FlowBatch, reached: Mask) -> Evaded:
        """Row by row the flows that went in."""
        return cls(flows=flows, reached=reached, row=np.arange(len(flows)))


Move: TypeAlias = Callable[[FlowBatch, Mask, float, Rng], Evaded]
Reach: TypeAlias = Callable[[FlowBatch], Mask]


def attack_mask(flows: FlowBatch) -> Mask:
    """Which flows are labelled malicious, bool (n,).

    Raises:
        InputError: the flows have no labels.
    """
    return np.asarray(require_labels(flows).malicious == 1)


def class_mask(flows: FlowBatch, classes: tuple[AttackClass, ...]) -> Mask:
    """Which flows are attacks of these classes, bool (n,)."""
    codes = [CLASS_INDEX[attack_class] for attack_class in classes]
    return attack_mask(flows) & np.isin(require_labels(flows).attack_class, codes)


def answered_mask(flows: FlowBatch) -> Mask:
    """Which flows had both ends speak, bool (n,)."""
    return _ANSWERED[flows.conn_state]


def is_port_proto(flows: FlowBatch) -> Mask:
    """Which flows have ports, bool (n,)."""
    return np.isin(flows.proto, (TCP, UDP))


def originator_keys(flows: FlowBatch) -> npt.NDArray[np.uint64]:
    """One number per originator, uint64 (n,)."""
    return hash_columns(flows.orig_address[:, 0], flows.orig_address[:, 1])


def campaigns(flows: FlowBatch, among: Mask, *, by_host: bool) -> list[Rows]:
    """Rows of each attack, in time order.

    Args:
        flows: labelled; flows with one detailed label are of one attack.
        among: bool (n,), where to look.
        by_host: whether each originator's part of an attack stands apart.
    """
    rows = np.flatnonzero(among)
    rows = rows[np.argsort(flows.started_at_s[rows], kind="stable")]
    detail = np.unique(require_labels(flows).detail[rows], return_inverse=True)[1].ravel()
    host = originator_keys(flows)[rows] if by_host else np.zeros(len(rows), dtype=np.uint64)
    group = np.unique(np.stack([detail.astype(np.uint64), host], axis=1), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(group, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(group[order])) + 1) if len(rows) else []


def note_anew(flows: FlowBatch, changed: Mask, rng: Rng) -> FlowBatch:
    """The flows with milestones imagined where they were ``changed``; all others keep those that were metered.

    Args:
        flows: without milestones they stay without.
        changed: bool (n,), flows whose packets are not those that the meter saw.
        rng: draws.
    """
    noted, rows = flows.milestones, np.flatnonzero(changed)
    if noted is None or not len(rows):
        return flows
    imagined = imagine_milestones(replace(flows.take(rows), milestones=None), rng).milestones
    assert imagined is not None, "a meter's flows have time"
    kept = noted.at(~changed[noted.flow])
    return replace(flows, milestones=Milestones.join([kept, replace(imagined, flow=rows[imagined.flow])]))


@dataclass(frozen=True, slots=True, kw_only=True)
class LanHosts:
    """Hosts of the network that begin flows of their own, k of them, by address.

    Attributes:
        address: uint64 (k, 2).
        mac: uint64 (k,), 0 unknown.
    """

    address: npt.NDArray[np.uint64]
    mac: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, flows: FlowBatch) -> LanHosts:
        """The local originators of all flows that are no attack: who only appears in one may be spoofed."""
        rows = np.flatnonzero(~attack_mask(flows) & local_ends(flows)[:, 0] & is_unicast(flows.orig_address))
        address, first = np.unique(flows.orig_address[rows], axis=0, return_index=True)
        return cls(address=address, mac=flows.orig_mac[rows[first]])

    def neighbours(self, own: npt.NDArray[np.uint64]) -> Rows:
        """Numbers of the other hosts on the LAN of ``own``, uint64 (2,)."""
        is_same = same_lan(np.broadcast_to(own, self.address.shape), self.address)
        return np.flatnonzero(is_same & (self.address != own).any(axis=1))

    def begins(self, flows: FlowBatch) -> Mask:
        """Which flows one of these hosts originates, bool (n,)."""
        return np.isin(originator_keys(flows), hash_columns(self.address[:, 0], self.address[:, 1]))
