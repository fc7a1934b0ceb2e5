"""Alarms of any contestant in one shape: an engine's alerts and the product's incidents, tied to flows.

In: flows, with ``AlertBatch`` or with incidents and verdicts. Out: ``Judgement``.
Must never: count an alert that belongs to no flow as an answer about one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.lab_networks import SLACK_S, is_restricted
from thingwarden.bench.metrics import has_right_role, judge_incident
from thingwarden.bench.suricata import HOME_NETWORKS
from thingwarden.domain.address import mac_number
from thingwarden.domain.alert import UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch, address_from_words, words_from_address
from thingwarden.domain.incident import Incident
from thingwarden.domain.packet import PROTO_TCP, PROTO_UDP
from thingwarden.respond.playbook import load_playbook
from thingwarden.train.weighting import require_labels

LOUD_SEVERITY: Final = 2
"""Alerts of this severity and graver are those that a busy person looks at."""

JOIN_SLACK_S: Final = 1.0
"""An engine may see a packet of a flow this much before our meter begins the flow."""

_SECONDS_PER_HOUR: Final = 3_600
_HOME: Final = tuple(ipaddress.ip_network(network) for network in HOME_NETWORKS)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What a person would be told once: an incident, or all alerts of one signature on one device within an hour.

    Attributes:
        name: the signature, or the incident's attack class.
        at_s: Unix seconds when it was raised.
        is_loud: a signature of severity 1 or 2; an incident that policy would answer with more than a notification.
        is_true: whether at least half of the flows that it speaks of are malicious; None where none has a label and
            something malicious happens in the capture.
        has_right_role: whether it calls the originator of the malicious flows the attacker; None where it names no
            role, or is not true.
    """

    name: str
    at_s: float
    is_loud: bool
    is_true: bool | None
    has_right_role: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a contestant said about n flows.

    Attributes:
        said: bool (n,), called malicious.
        said_loudly: bool (n,), the same by loud alerts only; for the product, which has one threshold, ``said``.
        alarmed_at_s: float64 (n,), Unix seconds of the first alarm that speaks of the flow; infinite without one.
        alarms: by time.
        unjoined: alerts that belong to none of the flows.
    """

    said: npt.NDArray[np.bool_]
    said_loudly: npt.NDArray[np.bool_]
    alarmed_at_s: npt.NDArray[np.float64]
    alarms: tuple[Alarm, ...]
    unjoined: int = 0


def join_alerts(flows: FlowBatch, alerts: AlertBatch) -> Rows:
    """The flow that each alert belongs to, int64 (m,); -1 where there is none.

    It is the last flow between the same two ends that had begun when the alert was raised: Suricata raises some alerts
    only when a flow has timed out. Ports count for TCP and UDP only.
    """
    found = np.full(len(alerts), -1, dtype=np.int64)
    if not len(flows) or not len(alerts):
        return found
    pair = np.unique(np.concatenate([_ends(flows), _ends(alerts)]), axis=0, return_inverse=True)[1].ravel()
    first_s = min(float(flows.started_at_s.min()), float(alerts.at_s.min()))
    last_s = max(float(flows.started_at_s.max()), float(alerts.at_s.max()))
    begun = pair[: len(flows)] * (last_s - first_s + 10.0) + flows.started_at_s - first_s
    raised = pair[len(flows) :] * (last_s - first_s + 10.0) + alerts.at_s - first_s + JOIN_SLACK_S
    order = np.argsort(begun, kind="stable")
    at = np.searchsorted(begun[order], raised, side="right") - 1
    row = order[np.maximum(at, 0)]
    is_joined = (at >= 0) & (pair[row] == pair[len(flows) :])
    found[is_joined] = row[is_joined]
    return found


def _ends(batch: FlowBatch | AlertBatch) -> npt.NDArray[np.uint64]:
    """Protocol, then both ends with the smaller first, uint64 (n, 7)."""
    has_ports = (batch.proto == PROTO_TCP) | (batch.proto == PROTO_UDP)
    ends = [
        np.column_stack([address, np.where(has_ports, port, 0).astype(np.uint64)])
        for address, port in ((batch.orig_address, batch.orig_port), (batch.resp_address, batch.resp_port))
    ]
    differs = ends[0] != ends[1]
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), 0)
    rows = np.arange(len(first))
    is_swapped = (ends[0][rows, first] > ends[1][rows, first])[:, None]
    smaller, larger = np.where(is_swapped, ends[1], ends[0]), np.where(is_swapped, ends[0], ends[1])
    return np.column_stack([batch.proto.astype(np.uint64), smaller, larger])


def judge_alerts(flows: FlowBatch, alerts: AlertBatch) -> Judgement:
    """What a signature engine said.

    Args:
        flows: labelled.
        alerts: on the same packets.

    Raises:
        InputError: the flows have no labels.
    """
    row = join_alerts(flows, alerts)
    is_joined, is_loud = row >= 0, alerts.severity <= LOUD_SEVERITY
    said, said_loudly = (np.zeros(len(flows), dtype=np.bool_) for _ in range(2))
    said[row[is_joined]] = True
    said_loudly[row[is_joined & is_loud]] = True
    alarmed_at_s = np.full(len(flows), np.inf)
    np.minimum.at(alarmed_at_s, row[is_joined], alerts.at_s[is_joined])
    alarms = sorted(_group_alerts(flows, alerts, row), key=lambda alarm: alarm.at_s)
    return Judgement(
        said=said,
        said_loudly=said_loudly,
        alarmed_at_s=alarmed_at_s,
        alarms=tuple(alarms),
        unjoined=int((~is_joined).sum()),
    )


def _group_alerts(flows: FlowBatch, alerts: AlertBatch, row: Rows) -> Iterator[Alarm]:
    """One alarm for each signature, device and hour."""
    if not len(alerts):
        return
    malicious = require_labels(flows).malicious
    # Where nothing bad happens an alarm is false whether or not our meter has the flow.
    without_flow = False if (malicious == 0).all() else None
    hour = (alerts.at_s // _SECONDS_PER_HOUR).astype(np.uint64)
    key = np.column_stack([alerts.signature_id.astype(np.uint64), _devices(alerts), hour])
    group = np.unique(key, axis=0, return_inverse=True)[1].ravel()
    for number in range(int(group.max()) + 1):
        members = np.flatnonzero(group == number)
        labels = malicious[row[members][row[members] >= 0]]
        labels = labels[labels >= 0]
        is_true = bool(labels.mean() >= 0.5) if len(labels) else without_flow
        sides = alerts.attacker_is_orig[members]
        sides = sides[sides != UNKNOWN_SIDE]
        yield Alarm(
            name=alerts.signature[members[0]],
            at_s=float(alerts.at_s[members].min()),
            is_loud=bool((alerts.severity[members] <= LOUD_SEVERITY).any()),
            is_true=is_true,
            has_right_role=bool(sides.mean() >= 0.5) if is_true and len(sides) else None,
        )


def _devices(alerts: AlertBatch) -> npt.NDArray[np.uint64]:
    """The device that each alert is about, as address halves, uint64 (m, 2): the local end, the originator of two."""
    both = np.concatenate([alerts.orig_address, alerts.resp_address])
    unique, inverse = np.unique(both, axis=0, return_inverse=True)
    is_local = np.array([_is_home(high, low) for high, low in unique.tolist()], dtype=np.bool_)[inverse.ravel()]
    orig_is_local, resp_is_local = is_local[: len(alerts)], is_local[len(alerts) :]
    return np.where((orig_is_local | ~resp_is_local)[:, None], alerts.orig_address, alerts.resp_address)


def _is_home(high: int, low: int) -> bool:
    address = address_from_words(high, low)
    return any(address in network for network in _HOME)


def judge_incidents(flows: FlowBatch, verdicts: FlowVerdicts, incidents: Sequence[Incident]) -> Judgement:
    """What the product said.

    Args:
        flows: labelled.
        verdicts: one per flow.
        incidents: their detections name rows of ``flows``.

    Raises:
        InputError: the flows have no labels.
    """
    playbook = load_playbook()
    alarmed_at_s = np.full(len(flows), np.inf)
    alarms = []
    for incident in incidents:
        opened_at_s = incident.opened_at.timestamp()
        rows = np.flatnonzero(_is_accused(flows, incident) & verdicts.is_malicious)
        instants_s = np.maximum(flows.started_at_s[rows], opened_at_s)
        alarmed_at_s[rows] = np.minimum(alarmed_at_s[rows], instants_s)
        is_true = judge_incident(flows, incident)
        alarms.append(
            Alarm(
                name=incident.attack_class.value,
                at_s=opened_at_s,
                is_loud=is_restricted(incident, playbook),
                is_true=is_true,
                has_right_role=has_right_role(flows, incident) if is_true else None,
            )
        )
    said = verdicts.is_malicious
    return Judgement(said=said, said_loudly=said, alarmed_at_s=alarmed_at_s, alarms=tuple(alarms))


def _is_accused(flows: FlowBatch, incident: Incident) -> npt.NDArray[np.bool_]:
    """Flows of the incident's device while it went on, bool (n,)."""
    start_s, end_s = incident.first_seen_at.timestamp(), incident.last_seen_at.timestamp()
    is_during = (flows.started_at_s <= end_s + SLACK_S) & (flows.ended_at_s >= start_s - SLACK_S)
    return _is_of(flows, incident.device) & is_during


def _is_of(flows: FlowBatch, device: Device) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(flows), dtype=np.bool_)
    for address, mac in ((flows.orig_address, flows.orig_mac), (flows.resp_address, flows.resp_mac)):
        if device.address is not None:
            found |= (address == np.array(words_from_address(device.address), dtype=np.uint64)).all(axis=1)
        if device.mac is not None:
            found |= mac == mac_number(device.mac)
    return found
