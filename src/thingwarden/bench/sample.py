"""Holds what was found in a lab capture against what is true of it.

In: a run's ``Truth``, ``Timing`` and flows, their verdicts, the incidents and decisions. Out: ``SampleScore``.
Must never: count an attack as found by an incident of another device, or of the right device in the wrong role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Incident
from thingwarden.domain.response import Act, Decision
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.labelling import label_flows
from thingwarden.lab.truth import Interval, Timing, Truth, label_detail

_FLOODS: Final = frozenset({AttackClass.DOS, AttackClass.DDOS})
"""One device's part in a flood looks the same whether or not others join in: either name is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackScore:
    """What became of one attack.

    Attributes:
        name: of the attack in the truth.
        attack_class: what it is.
        offender: address of the device that did it; of several with commas between.
        flow_count, flagged_count: its flows, and those of them judged malicious.
        incident_ids: incidents of the offender, as offender, that were open while it went on; only where some of its
            flows are flagged or its class is named, for a device may be under suspicion for something else.
        is_named: one of these incidents names its class; for a flood, either kind.
        planned: acts beyond a notification that answer these incidents.
    """

    name: str
    attack_class: AttackClass
    offender: str
    flow_count: int
    flagged_count: int
    incident_ids: tuple[str, ...]
    is_named: bool
    planned: tuple[Act, ...]

    @property
    def is_found(self) -> bool:
        """Whether an incident speaks of it."""
        return bool(self.incident_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScore:
    """What became of all attacks, and who was accused wrongly.

    Attributes:
        attacks: in the order in which they began.
        wrongly_accused: addresses of devices with an incident in a role that they never had.
    """

    attacks: tuple[AttackScore, ...]
    wrongly_accused: tuple[str, ...]


def score_sample(
    truth: Truth,
    timing: Timing,
    flows: FlowBatch,
    verdicts: FlowVerdicts,
    incidents: Sequence[Incident],
    decisions: Sequence[Decision],
) -> SampleScore:
    """Compare.

    Args:
        truth: of the run that was captured; ``timing`` says when it really took place.
        flows: metered from its capture.
        verdicts: one per flow.
        incidents, decisions: what was raised and ordered.

    Raises:
        InputError: the flows carry no time.
    """
    labels = label_flows(flows, truth, timing).labels
    assert labels is not None
    addresses = {device.name: device.addresses for device in truth.devices}
    attacks = []
    for (name, attack_class), intervals in _attacks(truth).items():
        is_own = labels.detail == label_detail(name, attack_class)
        flagged_count = int(np.count_nonzero(is_own & verdicts.is_malicious))
        raised = [
            incident
            for incident in incidents
            if (flagged_count or _names(incident, attack_class))
            and any(_is_raised_by(incident, interval, timing, addresses) for interval in intervals)
        ]
        offenders = dict.fromkeys(interval.who for interval in intervals)
        attacks.append(
            AttackScore(
                name=name,
                attack_class=attack_class,
                offender=", ".join(addresses.get(who, (who,))[0] for who in offenders),
                flow_count=int(is_own.sum()),
                flagged_count=flagged_count,
                incident_ids=tuple(incident.incident_id for incident in raised),
                is_named=any(_names(incident, attack_class) for incident in raised),
                planned=_acts_for(raised, decisions),
            )
        )
    return SampleScore(attacks=tuple(attacks), wrongly_accused=_wrongly_accused(truth, addresses, incidents))


def _attacks(truth: Truth) -> dict[tuple[str, AttackClass], list[Interval]]:
    """The offenders' intervals of each attack; one that changes its class on the way counts as two."""
    attacks: dict[tuple[str, AttackClass], list[Interval]] = {}
    for interval in truth.intervals:
        if interval.role == "offender":
            attacks.setdefault((interval.name, AttackClass(interval.attack_class)), []).append(interval)
    return attacks


def _is_raised_by(
    incident: Incident, interval: Interval, timing: Timing, addresses: Mapping[str, tuple[str, ...]]
) -> bool:
    begins_s, ends_s = timing.spans.get(interval.planned, (interval.begins_s, interval.ends_s))
    return (
        incident.role.value == interval.role
        and str(incident.device.address) in addresses.get(interval.who, ())
        and incident.first_seen_at <= timing.began_at + timedelta(seconds=ends_s)
        and incident.last_seen_at >= timing.began_at + timedelta(seconds=begins_s)
    )


def _names(incident: Incident, attack_class: AttackClass) -> bool:
    right = _FLOODS if attack_class in _FLOODS else {attack_class}
    return not right.isdisjoint(dict(incident.class_counts))


def _acts_for(incidents: Sequence[Incident], decisions: Sequence[Decision]) -> tuple[Act, ...]:
    ids = {incident.incident_id for incident in incidents}
    acts = (item.act for item in decisions if item.incident_id in ids and item.act is not Act.NOTIFY)
    return tuple(sorted(set(acts), key=lambda act: act.severity))


def _wrongly_accused(
    truth: Truth, addresses: Mapping[str, tuple[str, ...]], incidents: Sequence[Incident]
) -> tuple[str, ...]:
    parts = {(address, row.role) for row in truth.intervals for address in addresses.get(row.who, ())}
    accused = {
        incident.device.name
        for incident in incidents
        if (str(incident.device.address), incident.role.value) not in parts
    }
    return tuple(sorted(accused))
