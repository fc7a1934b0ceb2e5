"""The report on the response, for people and as JSON.

In: outcomes of trials, and of the camera under a limit. Out: docs/results/response.md, response.json, response.svg.
Must never: leave out an attack that nothing answered, or a packet that was lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.bench.response import DEFENCES, ISOLATION, NONE, Trial
from thingwarden.bench.response_measure import AttackOutcome, DeviceOutcome
from thingwarden.bench.response_restrained import Restrained
from thingwarden.bench.speed import describe_machine

GOAL_CUT: Final = 0.99
GOAL_KEPT: Final = 0.95
_LEAST_PACKETS: Final = 20
"""Packets after the act from which a share of them is told attack by attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A trial and what came of it."""

    trial: Trial
    attacks: Sequence[AttackOutcome]
    devices: Sequence[DeviceOutcome]


def summarise(outcomes: Sequence[Outcome], defence: str) -> dict[str, Any]:
    """The figures of one defence over all scenarios, as plain values; shares are None where there is nothing."""
    own = [item for item in outcomes if item.trial.defence == defence]
    attacks = [attack for item in own for attack in item.attacks if attack.sent_count]
    answered = [attack for attack in attacks if attack.answered_s is not None]
    devices = [device for item in own for device in item.devices]
    restricted = [device for device in devices if device.is_restricted]
    others = [device for device in devices if not device.is_restricted]
    shares = [_share(a.sent_after_count - a.passed_after_count, a.sent_after_count) for a in answered]
    return {
        "defence": defence,
        "attack_count": len(attacks),
        "answered_count": len(answered),
        "answered_s": _quantiles([attack.answered_s or 0.0 for attack in answered]),
        "sent_after_count": sum(attack.sent_after_count for attack in answered),
        "passed_after_count": sum(attack.passed_after_count for attack in answered),
        "cut_ratio": _share(
            sum(a.sent_after_count - a.passed_after_count for a in answered), sum(a.sent_after_count for a in answered)
        ),
        "attacks_cut_count": sum(share is not None and share >= GOAL_CUT for share in shares),
        "attacks_after_count": sum(share is not None for share in shares),
        "harm_stopped_ratio": _share(
            sum(a.sent_after_count - a.passed_after_count for a in answered), sum(a.sent_count for a in attacks)
        ),
        "restricted_device_count": len(restricted),
        "kept_ratio": _share(
            sum(device.arrived_after_count for device in restricted),
            sum(device.sent_after_count for device in restricted),
        ),
        "devices_kept_count": sum(
            device.arrived_after_count >= GOAL_KEPT * device.sent_after_count for device in restricted
        ),
        "others_sent_count": sum(device.sent_count for device in others),
        "others_lost_count": sum(device.sent_count - device.arrived_count for device in others),
        "acts": sorted({act for attack in answered for act in attack.acts}),
    }


def write_report(outcomes: Sequence[Outcome], restrained: Restrained | None, folder: Path) -> dict[str, Any]:
    """Write response.md, response.json and response.svg; the figures.

    Args:
        outcomes: of every trial.
        restrained: of the camera; None where it was not run.
        folder: where they go; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    present = [defence for defence in DEFENCES if any(item.trial.defence == defence for item in outcomes)]
    defences = [summarise(outcomes, defence) for defence in present]
    values = {
        "machine": describe_machine(),
        "goal": {"cut_ratio": GOAL_CUT, "kept_ratio": GOAL_KEPT},
        "defences": defences,
        "trials": [_trial_values(item) for item in outcomes],
        "restrained": None if restrained is None else asdict(restrained),
    }
    (folder / "response.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    _draw(defences, folder / "response.svg")
    (folder / "response.md").write_text("\n".join(_page(outcomes, restrained, values)) + "\n", encoding="utf-8")
    return values


def _trial_values(item: Outcome) -> dict[str, Any]:
    return {
        "trial": {**asdict(item.trial), "scenario": item.trial.scenario.stem},
        "attacks": [asdict(attack) for attack in item.attacks],
        "devices": [asdict(device) for device in item.devices],
    }


def _page(outcomes: Sequence[Outcome], restrained: Restrained | None, values: dict[str, Any]) -> list[str]:
    seeds = sorted({item.trial.seed for item in outcomes})
    return [
        "# Response",
        "",
        "<!-- Made by `thingwarden bench response`; do not edit. -->",
        "",
        "Scenarios of the lab, run for real in network namespaces: watch and firewall on the gateway, which is the "
        "switch too, packets counted where they are sent and where they arrive. The same seeds for every "
        f"defence ({', '.join(map(str, seeds))}). On {values['machine']['processor']}.",
        "",
        f"Goals: {GOAL_CUT:.0%} of an attack's packets cut once an act is in force; {GOAL_KEPT:.0%} of the device's "
        "harmless packets kept where something milder than isolation does; nothing of other devices lost.",
        "",
        "![Harm stopped and harmless traffic kept, by defence](response.svg)",
        "",
        *_summary(values["defences"]),
        "",
        *(line for item in outcomes if item.trial.defence != NONE for line in _trial(item)),
        *_restrained(restrained),
        *_METHOD,
    ]


def _summary(found: Sequence[dict[str, Any]]) -> list[str]:
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("attacks with an act in force / all", lambda item: f"{item['answered_count']} / {item['attack_count']}"),
        ("seconds to the act, p50 and p99", lambda item: _pair(item["answered_s"])),
        ("malicious packets cut after the act", lambda item: _percent(item["cut_ratio"])),
        (
            f"attacks cut to {GOAL_CUT:.0%} / with packets after the act",
            lambda item: f"{item['attacks_cut_count']} / {item['attacks_after_count']}",
        ),
        ("of all malicious packets, cut", lambda item: _percent(item["harm_stopped_ratio"])),
        ("restricted devices' harmless packets kept", lambda item: _percent(item["kept_ratio"])),
        (
            f"restricted devices that keep {GOAL_KEPT:.0%} / restricted",
            lambda item: f"{item['devices_kept_count']} / {item['restricted_device_count']}",
        ),
        (
            "other devices' harmless packets lost / sent",
            lambda item: f"{item['others_lost_count']:,} / {item['others_sent_count']:,}",
        ),
        ("acts", lambda item: ", ".join(item["acts"]) or "-"),
    ]
    return [
        f"| | {' | '.join(item['defence'] for item in found)} |",
        f"|---|{'---|' * len(found)}",
        *(f"| {name} | {' | '.join(tell(item) for item in found)} |" for name, tell in rows),
    ]


def _trial(item: Outcome) -> list[str]:
    restricted = [device for device in item.devices if device.is_restricted]
    kept = ", ".join(
        f"{device.device} {_percent(_share(device.arrived_after_count, device.sent_after_count))} "
        f"of {device.sent_after_count:,}"
        for device in restricted
    )
    lines = [
        f"## {item.trial.scenario.stem}, {item.trial.defence}",
        "",
        "| attack | device | class | acts | s to the act | sent after | passed |",
        "|---|---|---|---|---|---|---|",
    ]
    for attack in item.attacks:
        after = (
            "- | - | -"
            if attack.answered_s is None
            else f"{attack.answered_s:.1f} | {attack.sent_after_count:,} | {attack.passed_after_count:,}"
        )
        acts = ", ".join(attack.acts) or "none"
        lines.append(f"| {attack.name} | {attack.device} | {attack.attack_class} | {acts} | {after} |")
    return [*lines, "", f"Harmless packets kept while an act was in force: {kept or 'no device was restricted'}.", ""]


def _restrained(found: Restrained | None) -> list[str]:
    if found is None:
        return []
    told = "; ".join(found.incidents) or "none"
    return [
        "## A camera under a rate limit",
        "",
        f"{found.device} lived {found.duration_s / 60:.0f} minutes in a quiet home, its TCP limited to a packet a "
        f"second. The limit dropped {found.dropped_count:,} of its packets. Incidents about it: {told}. Acts beyond a "
        f"rate limit: {', '.join(found.harder_acts) or 'none'}. Refused: {', '.join(found.refused_acts) or 'none'}.",
        "",
    ]


def _draw(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Two bars a defence; drawn without a date, so that equal figures are equal files."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [item["defence"] for item in found]
    figure, axes = plt.subplots(figsize=(7.5, 3.2))
    places = np.arange(len(names))
    for offset, key, label in (
        (-0.2, "harm_stopped_ratio", "of all malicious packets, cut"),
        (0.2, "kept_ratio", "of restricted devices' harmless packets, kept"),
    ):
        shares = [100.0 * (item[key] if item[key] is not None else 0.0) for item in found]
        bars = axes.bar(places + offset, shares, 0.38, label=label)
        axes.bar_label(bars, [("-" if item[key] is None else f"{100 * item[key]:.0f}") for item in found], padding=2)
    axes.set_xticks(places, names)
    axes.set_ylabel("%")
    axes.set_ylim(0, 112)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.12), ncols=2, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with plt.rc_context({"svg.hashsalt": "thingwarden", "svg.fonttype": "none"}):
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}


def _pair(quantiles: dict[str, float] | None) -> str:
    return "-" if quantiles is None else f"{quantiles['p50']:.1f}, {quantiles['p99']:.1f}"


_METHOD: Final = [
    "## How it is measured",
    "",
    f"`{NONE}`: nobody watches. `{ISOLATION}`: the same watch, and a playbook that isolates every device with an "
    "incident. `playbook` and `planner`: the packaged playbook and the greedy cost-replay planner, under one policy; "
    "its bounds on devices and decisions are lifted, because most devices of these scenarios are infected at once. "
    "Networks begin with the run: nothing is learned beforehand.",
    "",
    "A packet is malicious if the truth names its sender, peer, protocol, port and moment. It passed if the addressee "
    "got it. An act counts for an attack if it is in force on its device meanwhile and names, if anything, a peer, "
    "protocol and port of it; the figures begin with the first such act. Packets to the gateway itself, to groups and "
    "between link-local addresses are not counted, which favours isolation. Forged sources are not counted as their "
    "device's.",
]
