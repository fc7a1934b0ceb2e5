"""The report on latency, for people and as JSON.

In: ``Latency`` of each load. Out: docs/results/latency.md and latency.json.
Must never: show a figure without saying beside what load and by which enforcer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.bench.latency import STAGES, Latency
from thingwarden.bench.speed import describe_machine

GOAL_MS: Final = {"p50": 15.0, "p99": 40.0}
_SAYS: Final = {
    "read": "ring: the kernel's block, the chunk before, decoding",
    "metered": "flows",
    "encoded": "words",
    "scored": "the network",
    "decided": "evidence, incident, playbook, policy",
    "applied": "the enforcer's answer",
}


def summarise(latency: Latency) -> dict[str, Any]:
    """What one load gave, as plain values; milliseconds by percentile."""
    answers = latency.answers
    dropped = [answer.dropped_ms for answer in answers if answer.dropped_ms is not None]
    began, ended = (datetime.fromisoformat(latency.summary[name]) for name in ("started_at", "ended_at"))
    seen_s = (ended - began).total_seconds()
    return {
        "load": asdict(latency.load),
        "answered_count": len(answers),
        "unanswered_count": latency.unanswered_count,
        "cut_count": len(dropped),
        "acts": sorted({answer.act for answer in answers}),
        "evidence_ms": _quantiles([answer.evidence_ms for answer in answers]),
        "stages_ms": {stage: _quantiles([answer.stages_ms[stage] for answer in answers]) for stage in STAGES},
        "answered_ms": _quantiles([answer.answered_ms for answer in answers]),
        "dropped_ms": _quantiles(dropped),
        "flows_per_s_seen": latency.summary["flow_count"] / seen_s,
        "packets_per_s_seen": latency.summary["packet_count"] / seen_s,
        "dropped_packet_count": latency.summary["dropped_packet_count"],
        "watch_cpu_ratio": latency.watch_cpu_ratio,
    }


def write_report(found: Sequence[dict[str, Any]], enforcer: str, folder: Path) -> None:
    """Write latency.md and latency.json.

    Args:
        found: of ``summarise``.
        enforcer: who carried the orders out.
        folder: where they go; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    values = {"machine": machine, "enforcer": enforcer, "goal_ms": GOAL_MS, "loads": list(found)}
    (folder / "latency.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (folder / "latency.md").write_text("\n".join(_page(found, enforcer, machine["processor"])), encoding="utf-8")


def _page(found: Sequence[dict[str, Any]], enforcer: str, processor: str) -> list[str]:
    lines = [
        "# Latency",
        "",
        "<!-- Made by `thingwarden bench latency`; do not edit. -->",
        "",
        f"From the kernel's timestamp of the packet that completes the evidence, on {processor}; the watch has one "
        "core of its own, senders and listeners the other. Attacks run in network namespaces made for them, each by "
        "a device that did nothing before; beside them a crowd of 2,500 devices makes short UDP and TCP flows.",
        "",
        f"Orders went to: {enforcer}. Goal, to the first packet dropped: p50 below {GOAL_MS['p50']:.0f} ms, p99 below "
        f"{GOAL_MS['p99']:.0f} ms at 5,000 flows/s.",
        "",
    ]
    for values in found:
        lines += [*_section(values), ""]
    return [*lines, *_METHOD]


def _section(values: dict[str, Any]) -> list[str]:
    load = values["load"]
    rows = [(f"{stage}: {_SAYS[stage]}", values["stages_ms"][stage]) for stage in STAGES]
    rows += [("**to the enforcer's answer**", values["answered_ms"])]
    if values["cut_count"]:
        rows += [("**to the first packet dropped**", values["dropped_ms"])]
    rows += [("before: gathering the evidence", values["evidence_ms"])]
    cut = f"{values['cut_count']} cut" if values["cut_count"] else "nothing is cut by this enforcer"
    return [
        f"## {load['kind'].capitalize()}, {load['packets_per_s']:,.0f} packets/s, beside "
        f"{load['flows_per_s']:,.0f} flows/s",
        "",
        f"{load['attack_count']} attacks: {values['answered_count']} answered ({', '.join(values['acts'])}), "
        f"{values['unanswered_count']} not; {cut}. The watch saw {values['flows_per_s_seen']:,.0f} flows/s and "
        f"{values['packets_per_s_seen']:,.0f} packets/s on average; the kernel dropped "
        f"{values['dropped_packet_count']} packets before it; it used {values['watch_cpu_ratio']:.0%} of its core.",
        "",
        "| ms | p50 | p90 | p99 |",
        "|---|---|---|---|",
        *(f"| {name} | {_cells(quantiles)} |" for name, quantiles in rows),
    ]


_METHOD: Final = [
    "## How it is measured",
    "",
    "Each attack packet carries its number. Its sender notes the instant before it is sent; the far end notes which "
    "arrive. The first packet dropped is the first that never arrived, so the figure holds up to one interval between "
    "two packets too much. A rate limit lets a burst pass before it drops anything: that is part of the figure. The "
    "stages are the `course` that `thingwarden watch --json` tells of each order. With a hundred attacks p99 is next "
    "to the worst of them.",
    "",
]


def _cells(quantiles: dict[str, float] | None) -> str:
    return "- | - | -" if quantiles is None else " | ".join(f"{quantiles[name]:.1f}" for name in ("p50", "p90", "p99"))


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.quantile(np.array(values), (0.5, 0.9, 0.99, 1.0)).tolist()
    return dict(zip(("p50", "p90", "p99", "max"), found, strict=True))
