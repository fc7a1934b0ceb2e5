"""When a contestant notices an attack that grows, and whether it still sees it at full pace.

In: a contestant with its thresholds fixed, ``FrogStream``s. Out: records; recall, time and contacts to the incident.
Must never: count an alarm about something else as the attack's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from thingwarden.bench.contestants import Contestant, Watched
from thingwarden.bench.evasion_frog import HOUR_S, FrogStream
from thingwarden.bench.evasion_measure import rows_blamed
from thingwarden.bench.evasion_rows import Mask, attack_mask
from thingwarden.bench.metrics import bootstrap_interval, judge_incident
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Incident
from thingwarden.train.weighting import require_labels

Record = dict[str, Any]

COUNTS: Final = ("full", "full_said", "rising", "rising_said", "benign", "benign_said")


def measure_streams(streams: Sequence[FrogStream], contestant: Contestant) -> list[Record]:
    """One record per stream."""
    return [record_stream(stream, contestant.watch(stream.flows)) for stream in streams]


def record_stream(stream: FrogStream, watched: Watched) -> Record:
    """Raw counts of one stream: flows at full pace, before it, harmless ones; the first incident about the attack."""
    flows, said = stream.flows, watched.verdicts.is_malicious
    is_attack, is_benign = attack_mask(flows), require_labels(flows).malicious == 0
    is_full = is_attack & (flows.started_at_s >= stream.full_from_s)
    masks = {"full": is_full, "rising": is_attack & ~is_full, "benign": is_benign}
    judged = [(incident, judge_incident(flows, incident)) for incident in watched.incidents]
    return {
        "stream": stream.name,
        **{name: int(rows.sum()) for name, rows in masks.items()},
        **{f"{name}_said": int((rows & said).sum()) for name, rows in masks.items()},
        "false": sum(verdict is False for _, verdict in judged),
        **_first_alarm(stream, watched, [incident for incident, verdict in judged if verdict is True]),
    }


def _first_alarm(stream: FrogStream, watched: Watched, incidents: Sequence[Incident]) -> Record:
    """When the first incident spoke of the attack, in its right role if any does; all None without one.

    An incident that visits beforehand had opened speaks of the attack from the attack's own first flow in it on.
    """
    flows, said = stream.flows, watched.verdicts.is_malicious
    blamed = [(incident, *rows_blamed(flows, incident, said)) for incident in incidents]
    with_role = [_told_at_s(flows, incident, right) for incident, right, _ in blamed if right.any()]
    told_at_s = with_role or [_told_at_s(flows, incident, wrong) for incident, _, wrong in blamed if wrong.any()]
    if not told_at_s:
        return {"found": False, "found_with_role": False, "alarm_after_h": None, "contacts_before": None}
    started_at_s = flows.started_at_s[attack_mask(flows)]
    return {
        "found": True,
        "found_with_role": bool(with_role),
        "alarm_after_h": (min(told_at_s) - float(started_at_s.min())) / HOUR_S,
        "contacts_before": int((started_at_s <= min(told_at_s)).sum()),
    }


def _told_at_s(flows: FlowBatch, incident: Incident, rows: Mask) -> float:
    return max(incident.opened_at.timestamp(), float(flows.started_at_s[rows].min()))


def pool_streams(records: Sequence[Record]) -> Record:
    """Figures over streams; None where nothing can be said.

    Returns:
        ``recall_full`` with its 95 % interval over streams, ``recall_rising``, ``found``, ``found_with_role``;
        the medians ``alarm_after_h`` and ``contacts_before`` over the streams that were found; ``fpr_by_row``;
        ``false`` incidents.
    """
    total = {name: np.array([record[name] for record in records], dtype=np.float64) for name in COUNTS}
    found = [record for record in records if record["found"]]
    return {
        "streams": len(records),
        "recall_full": _ratio(total["full_said"].sum(), total["full"].sum()),
        "recall_full_interval": bootstrap_interval(total["full_said"], total["full"]),
        "recall_rising": _ratio(total["rising_said"].sum(), total["rising"].sum()),
        "found": _ratio(len(found), len(records)),
        "found_with_role": _ratio(sum(record["found_with_role"] for record in records), len(records)),
        "alarm_after_h": _median([record["alarm_after_h"] for record in found]),
        "contacts_before": _median([record["contacts_before"] for record in found]),
        "fpr_by_row": _ratio(total["benign_said"].sum(), total["benign"].sum()),
        "false": sum(record["false"] for record in records),
    }


def summarise_frog(by_strength: Mapping[float, Sequence[Record]]) -> list[Record]:
    """A curve: the figures at each strength, in the order given."""
    return [{"strength": strength, **pool_streams(records)} for strength, records in by_strength.items() if records]


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole > 0 else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
