"""The model card: what a model was made of, what it is for and where it must not be trusted.

In: the facts of a training run. Out: Markdown.
Must never: claim a figure that the run did not measure; results live in docs/results/.
Source: M. Mitchell and others, "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thingwarden.domain.calibration import Calibration
from thingwarden.encode.vocabulary import FIELD_NAMES
from thingwarden.train.corpus import LabCorpus, Part
from thingwarden.train.recipe import Recipe

SOURCES: Final = {
    "iot23": "IoT-23: S. Garcia, A. Parmisano, M. J. Erquiaga, Stratosphere Laboratory, doi 10.5281/zenodo.4743746",
    "lan-mixed": "security-datasets-for-testing, Stratosphere Laboratory",
    "home-2020": "home devices' traffic published with the ESORICS paper on IoTEnsemble",
    "sentinel-2016": "IoT Sentinel: M. Miettinen and others, 2017",
    "ton_iot": "TON_IoT: N. Moustafa and others, UNSW Canberra",
    "lab": "the project's own lab, simulated: see docs/lab.md",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card tells."""

    recipe: Recipe
    seed: int
    trained_at: str
    parameter_count: int
    network_bytes: int
    train: Sequence[Part]
    calibration: Sequence[Part]
    table_rows: int
    thresholds: Calibration
    lab: LabCorpus | None = None


def render_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    return f"""# Model card: {facts.recipe.name}

A flow language model: it reads each network flow as two words of {len(FIELD_NAMES)} bucketed fields and a device's
history as a sentence, and says for each word how surprising it is, which attack class it shows, and which role its
device plays.

| fact | value |
|---|---|
| trained at | {facts.trained_at} |
| recipe | `{facts.recipe.name}`, SHA-256 `{facts.recipe.digest()}` |
| seed | {facts.seed} |
| parameters | {facts.parameter_count:,} |
| network on disk | {facts.network_bytes:,} bytes, int8 matrix products, float32 recurrence |
| flow threshold | {facts.thresholds.flow_threshold:.6f} |
| level of evidence | {facts.thresholds.evidence_nats:.2f} nats |
| alarm level | {facts.thresholds.alarm_level_nats:.1f} nats |
| alarm level of strangeness | {facts.thresholds.strange_alarm_nats:.1f} nats |

## Learned from

{_table(facts.train)}

{_beside(facts)}

## Thresholds were set on

{_table(facts.calibration)}

## Sources

{_sources(facts)}

None of the recorded traffic is shipped; the weights hold counts of bucketed fields, no address, name or payload.

## For what

Judging flows and raising incidents in networks of IoT devices, behind the policy that decides what may be done.

## Not for

Networks without IoT devices; evidence against a person; any act without the policy stage. Attacks that look like
normal use in every flow field, single downloads of unknown origin, and devices unlike any that it was trained on are
where it errs: see docs/results/accuracy.md for how often.
"""


def _table(parts: Sequence[Part]) -> str:
    rows: dict[str, list[int]] = {}
    networks = len({part.capture.name for part in parts if part.capture.family == "lab"})
    for part in parts:
        labels = part.flows.labels
        malicious = int((labels.malicious == 1).sum()) if labels is not None else 0
        name = f"{networks:,} simulated networks" if part.capture.family == "lab" else part.capture.name
        counts = rows.setdefault(name, [0, 0])
        counts[0] += len(part.flows)
        counts[1] += malicious
    lines = [f"| {name} | {flows:,} | {malicious:,} |" for name, (flows, malicious) in sorted(rows.items())]
    return "\n".join(["| capture | flows | malicious |", "|---|---:|---:|", *lines])


def _beside(facts: CardFacts) -> str:
    """What is learned from besides recordings: rows without time, sketches, simulated networks."""
    lab = "No simulated network was learned from."
    if facts.lab is not None:
        manifest = facts.lab.manifest
        lab = (
            f"The simulated networks are those that recipe SHA-256 `{manifest.recipe_sha256}` and seed {manifest.seed} "
            f"give; manifest SHA-256 `{facts.lab.sha256}`."
        )
    return (
        f"TON_IoT: {facts.table_rows:,} labelled rows without time, for the ten-class head and, at a low weight, the "
        f"classes.\n{facts.recipe.sketch_share:.0%} of the grafted segments are sketches: behaviours drawn from wide "
        f"parameter ranges, malicious and benign alike (`train/sketch.py`).\n\n{lab}"
    )


def _sources(facts: CardFacts) -> str:
    families = {part.capture.family for part in (*facts.train, *facts.calibration)}
    families |= {"ton_iot"} if facts.table_rows else set()
    return "\n".join(f"- {SOURCES[family]}" for family in sorted(families))
