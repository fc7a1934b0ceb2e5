"""Figures over the records of a comparison with signature engines.

In: raw counts by contestant and recording. Out: rates, times and false alarms by collection.
Must never: put a recording that the model learned from into a sum that both sides are compared by.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thingwarden.bench.metrics import bootstrap_interval, poisson_upper_bound

Record = dict[str, Any]


def pool_contest(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By contestant: ``lab`` over runs that the model has not seen, ``benign`` and ``set_up`` over all recordings.

    Args:
        found: as ``signatures.run_contest`` returns it.
    """
    return {
        name: {
            "lab": pool_attacked([record for record in records if record["collection"] == "lab"]),
            "benign": pool_benign(records, "benign"),
            "set_up": pool_benign(records, "set-up"),
        }
        for name, records in found["records"].items()
    }


def pool_attacked(records: Sequence[Record]) -> Record | None:
    """Figures over labelled recordings that hold attacks or nothing bad at all; None without any unseen one."""
    records = [record for record in records if not record["is_seen"]]
    if not records:
        return None
    acts = [act for record in records for act in record["acts"].values()]
    said, total = (np.array([record["malicious"][key] for record in records]) for key in ("weight_said", "weight"))
    found_after_s = [act["after_s"] for act in acts if act["after_s"] is not None]
    alarms = {key: sum(record["alarms"][key] for record in records) for key in records[0]["alarms"]}
    return {
        "recordings": len(records),
        "attacks": len(acts),
        "found": len(found_after_s),
        "found_ratio": _ratio(len(found_after_s), len(acts)),
        "median_after_s": statistics.median(found_after_s) if found_after_s else None,
        "tpr": _pooled(records, "malicious", "weight_said", "weight"),
        "tpr_interval": bootstrap_interval(said, total),
        "tpr_loud": _pooled(records, "malicious", "weight_said_loudly", "weight"),
        "tpr_by_row": _pooled(records, "malicious", "rows_said", "rows"),
        "fpr": _pooled(records, "benign", "weight_said", "weight"),
        "fpr_by_row": _pooled(records, "benign", "rows_said", "rows"),
        "alarms": alarms,
        "by_class": _by_class(acts),
        "by_act": _by_act(records),
    }


def _by_class(acts: Sequence[Record]) -> dict[str, Record]:
    by_class: dict[str, list[Record]] = defaultdict(list)
    for act in acts:
        by_class[act["class"]].append(act)
    return {name: _found(some) for name, some in sorted(by_class.items())}


def _by_act(records: Sequence[Record]) -> dict[str, Record]:
    by_act: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        for name, act in record["acts"].items():
            by_act[name].append(act)
    return {name: {"class": some[0]["class"], **_found(some)} for name, some in sorted(by_act.items())}


def _found(acts: Sequence[Record]) -> Record:
    after_s = [act["after_s"] for act in acts if act["after_s"] is not None]
    return {
        "attacks": len(acts),
        "found": len(after_s),
        "median_after_s": statistics.median(after_s) if after_s else None,
        "rows": sum(act["rows"] for act in acts),
        "rows_said": sum(act["rows_said"] for act in acts),
    }


def pool_benign(records: Sequence[Record], collection: str) -> Record | None:
    """False alarms over benign recordings, all of them and the loud ones; None without any."""
    records = [record for record in records if record["collection"] == collection]
    if not records:
        return None
    days = sum(record["device_days"] for record in records)
    sessions = sum(record["sessions"] for record in records)
    false, loud = (sum(record["alarms"][key] for record in records) for key in ("false", "false_loud"))
    return {
        "recordings": len(records),
        "is_seen": any(record["is_seen"] for record in records),
        "device_days": days,
        "sessions": sessions,
        "false": false,
        "false_loud": loud,
        "false_per_device_day": _ratio(false, days),
        "false_loud_per_device_day": _ratio(loud, days),
        "false_per_device_day_at_most": _ratio(poisson_upper_bound(false), days) if false < _MOST_EVENTS else None,
        "accused_per_100_sessions": _ratio(100 * sum(record["sessions_accused"] for record in records), sessions),
        "accused_loudly_per_100_sessions": _ratio(
            100 * sum(record["sessions_accused_loudly"] for record in records), sessions
        ),
        "fpr": _pooled(records, "benign", "weight_said", "weight"),
        "fpr_by_row": _pooled(records, "benign", "rows_said", "rows"),
    }


_MOST_EVENTS = 100
"""Beyond so many events Poisson's bound says nothing that the count does not."""


def pool_held_out(held_out: Mapping[str, Sequence[Record]], records: Sequence[Record]) -> dict[str, Record | None]:
    """The referee's figures for the product's recipe on the same benign captures, each held out of its training.

    Args:
        held_out: as ``signatures.read_held_out`` returns it.
        records: of one contestant; says which captures there are.

    Returns:
        ``benign`` and ``set_up``, means over the seeds; None where a capture of the collection is missing.
    """
    found: dict[str, Record | None] = {}
    for key, collection in (("benign", "benign"), ("set_up", "set-up")):
        names = [record["recording"] for record in records if record["collection"] == collection]
        kept = {name: held_out[name] for name in names if held_out.get(name)}
        found[key] = _mean_counts(kept) if names and len(kept) == len(names) else None
    return found


def _mean_counts(kept: Mapping[str, Sequence[Record]]) -> Record:
    def mean(*keys: str) -> float:
        return float(sum(statistics.mean(_at(record, keys) for record in some) for some in kept.values()))

    days, sessions, false = mean("incidents", "device_days"), mean("sessions"), mean("incidents", "false")
    return {
        "recordings": len(kept),
        "device_days": days,
        "sessions": sessions,
        "false": false,
        "false_per_device_day": _ratio(false, days),
        "accused_per_100_sessions": _ratio(100 * mean("incidents", "sessions_accused"), sessions),
        "fpr": _ratio(mean("benign", "weight_said"), mean("benign", "weight")),
        "fpr_by_row": _ratio(mean("benign", "rows_said"), mean("benign", "rows")),
    }


def held_out_tpr(held_out: Mapping[str, Sequence[Record]], record: Record) -> tuple[float | None, float | None]:
    """The referee's TPR by pattern and by row on a capture's log, over the attack classes that its packets hold."""
    classes = {act["class"] for act in record["acts"].values()}
    counts = [
        entry["classes"][name]
        for entry in held_out.get(record["recording"], ())
        for name in classes & set(entry["classes"])
    ]
    by_pattern, by_row = (
        _ratio(sum(count[f"{unit}_said"] for count in counts), sum(count[unit] for count in counts))
        for unit in ("weight", "rows")
    )
    return by_pattern, by_row


def _at(record: Record, keys: Sequence[str]) -> float:
    value: Any = record
    for key in keys:
        value = value[key]
    return float(value)


def _pooled(records: Sequence[Record], label: str, said: str, total: str) -> float | None:
    return _ratio(sum(record[label][said] for record in records), sum(record[label][total] for record in records))


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole > 0 else None
