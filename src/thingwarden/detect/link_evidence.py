"""What was found on the link, as evidence against devices: graded, in words, joined to who sent it.

In: ``LinkFinding`` and the flows beside them. Out: ``SightingBatch``, about devices instead of flows.
Must never: restrict a device for what an honest one may do by accident, however often it is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.link_watch import FindingKind, LinkFinding
from thingwarden.detect.lookup import is_within
from thingwarden.domain.address import IpNetwork
from thingwarden.domain.flow import FlowBatch, address_from_words
from thingwarden.domain.sighting import NO_FLOW, Grade, SightingBatch, SightingKind, SightingSource
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass

GATEWAY_SHARE: Final = 0.1
"""Of the flows that leave the network: a MAC that carries so many is a way out."""

_GROUP_BIT: Final = np.uint64(1 << 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWeight:
    """What a finding is worth.

    Attributes:
        grade: of the sighting; its shares of the alarm level stand in ``corroborate.WEIGHTS``.
        probability: that the suspect stands between others on purpose, as far as this finding alone says.
    """

    grade: Grade
    probability: float


LINK_WEIGHTS: Final = {
    (FindingKind.TURNS, False): LinkWeight(grade=Grade.LOW, probability=0.05),
    (FindingKind.TURNS, True): LinkWeight(grade=Grade.MEDIUM, probability=0.3),
    (FindingKind.SEVERAL, False): LinkWeight(grade=Grade.MEDIUM, probability=0.3),
    (FindingKind.SEVERAL, True): LinkWeight(grade=Grade.MEDIUM, probability=0.3),
    (FindingKind.INSISTS, False): LinkWeight(grade=Grade.MEDIUM, probability=0.3),
    (FindingKind.INSISTS, True): LinkWeight(grade=Grade.HIGH, probability=0.5),
    (FindingKind.INSISTS_LONG, False): LinkWeight(grade=Grade.HIGH, probability=0.5),
    (FindingKind.INSISTS_LONG, True): LinkWeight(grade=Grade.HIGH, probability=0.92),
    (FindingKind.SECOND_DHCP_SERVER, False): LinkWeight(grade=Grade.MEDIUM, probability=0.3),
    (FindingKind.SECOND_DHCP_SERVER, True): LinkWeight(grade=Grade.MEDIUM, probability=0.3),
    (FindingKind.SECOND_ROUTER, False): LinkWeight(grade=Grade.LOW, probability=0.05),
    (FindingKind.SECOND_ROUTER, True): LinkWeight(grade=Grade.LOW, probability=0.05),
}
"""The one table of weights, by what was found and whether it is about the gateway's address.

Only a host that claims another's address unasked, again and again, while that one goes on claiming it, opens an
incident; only where it is the gateway's, and for a minute and more, does it say enough to restrict anything."""


def sightings_from_link(
    findings: Sequence[LinkFinding], flows: FlowBatch, local_networks: Sequence[IpNetwork] = ()
) -> SightingBatch:
    """What was found on the link, as sightings; the suspect is the offender, of grave ones the rival is a target.

    Args:
        findings: in any order.
        flows: timed, of the same traffic; without any, nobody is known who could be accused.
        local_networks: where the network's own hosts live.
    """
    if not findings or not len(flows) or not flows.is_timed:
        return SightingBatch.empty()
    gateways = _ways_out(flows, local_networks)
    told = [item for finding in findings for item in _told(finding, finding.rival_mac in gateways)]
    count, last_s = len(told), float(flows.ended_at_s.max())
    return SightingBatch(
        flow=np.full(count, NO_FLOW, dtype=np.int64),
        is_orig=np.ones(count, dtype=np.bool_),
        is_offender=np.array([is_offender for _, _, is_offender, _ in told], dtype=np.bool_),
        at_s=np.array([min(finding.at_s, last_s) for finding, _, _, _ in told], dtype=np.float64),
        grade=np.array([grade for _, grade, _, _ in told], dtype=np.uint8),
        attack_class=np.full(count, CLASS_INDEX[AttackClass.MITM], dtype=np.int8),
        source=np.arange(count, dtype=np.int32),
        sources=tuple(source for _, _, _, source in told),
    )


def _told(finding: LinkFinding, owns_gateway: bool) -> list[tuple[LinkFinding, Grade, bool, SightingSource]]:
    """Against whom a finding speaks, and for whom: the suspect, and where it is grave, whose address it claims."""
    is_gateway = finding.is_gateway or owns_gateway
    weight = LINK_WEIGHTS[finding.kind, is_gateway]
    suspect = _source(finding.suspect_mac, _deed(finding, is_gateway), weight)
    told = [(finding, weight.grade, True, suspect)]
    if weight.grade is Grade.HIGH:
        milder = LinkWeight(grade=Grade.MEDIUM, probability=weight.probability)
        deed = f"has its address {_address(finding)} claimed by {mac_text(finding.suspect_mac)}"
        told.append((finding, milder.grade, False, _source(finding.rival_mac, deed, milder)))
    return told


def _source(mac: int, deed: str, weight: LinkWeight) -> SightingSource:
    return SightingSource(
        kind=SightingKind.LINK_LAYER,
        name=deed,
        origin="",
        quote="",
        mac=mac_text(mac),
        log_odds_nats=math.log(weight.probability / (1.0 - weight.probability)),
    )


def _deed(finding: LinkFinding, is_gateway: bool) -> str:
    """What the suspect does, as words that follow "it"."""
    address, rival = _address(finding), mac_text(finding.rival_mac)
    owner = "the gateway's" if is_gateway else "another device's"
    whose = f"claims {owner} address {address}"
    match finding.kind:
        case FindingKind.TURNS:
            return f"{whose} in turns with {rival}"
        case FindingKind.INSISTS:
            return f"{whose} again and again unasked, though {rival} claims it too"
        case FindingKind.INSISTS_LONG:
            return f"{whose} unasked for more than a minute, though {rival} claims it too"
        case FindingKind.SEVERAL:
            return f"claims {finding.address_count} addresses that other devices claim too"
        case FindingKind.SECOND_DHCP_SERVER:
            return f"leases addresses as DHCP server {address}, beside {rival}"
        case FindingKind.SECOND_ROUTER:
            return f"offers itself as router {address}, beside {rival}"


def _address(finding: LinkFinding) -> str:
    return str(address_from_words(*finding.address))


def mac_text(mac: int) -> str:
    """A MAC as people write it, ``aa:bb:cc:dd:ee:ff``."""
    return mac.to_bytes(6, "big").hex(":")


def _ways_out(flows: FlowBatch, local_networks: Sequence[IpNetwork]) -> frozenset[int]:
    """The MACs to which the network's hosts send what leaves it."""
    single = (flows.resp_mac != 0) & ((flows.resp_mac & _GROUP_BIT) == 0)
    rows = np.flatnonzero(single)
    leaves = is_within(flows.orig_address[rows], local_networks) & ~is_within(flows.resp_address[rows], local_networks)
    carrier: npt.NDArray[np.uint64] = flows.resp_mac[rows[leaves]]
    macs, counts = np.unique(carrier, return_counts=True)
    return frozenset(macs[counts >= GATEWAY_SHARE * counts.sum()].tolist())
