"""Watches a scene as the product would and notes when it knew: by a word, by an incident, by an answer.

In: a played scene, a fitted scorer. Out: plain dicts: seconds, packets and attempts from the attack's first packet.
Must never: use a flow's time where the product would only have known it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.bench.contestants import FittedScorer
from thingwarden.bench.early_attacks import Attack
from thingwarden.bench.early_scenes import Played, begun_by
from thingwarden.bench.metrics import judge_incident
from thingwarden.detect.evidence import malicious_log_odds
from thingwarden.detect.tally import instant_from_s
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.incident import ChangeKind, IncidentChange, Role
from thingwarden.domain.response import Act, Decision
from thingwarden.domain.word import Scores, WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.lab.timeline import Host
from thingwarden.pipeline import Pipeline, Record, ScoredBatch
from thingwarden.respond.playbook import load_playbook
from thingwarden.serve.replay import CHUNK_WORDS
from thingwarden.train.weighting import require_labels

Moment: TypeAlias = dict[str, Any]

SECONDS_PER_MINUTE: Final = 60.0
_ROUNDING_S: Final = 2e-6
"""What the way of an instant through a calendar may take off it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActWords:
    """The words of an attack in the sentence of the device that commits it, as they became knowable; n words.

    Attributes:
        known_at_s: float64 (n,), Unix seconds.
        is_close: bool (n,), whether the word tells an outcome.
        is_above: bool (n,), whether its probability exceeds the flow threshold.
        flow: int64 (n,), row in the flows.
    """

    known_at_s: npt.NDArray[np.float64]
    is_close: npt.NDArray[np.bool_]
    is_above: npt.NDArray[np.bool_]
    flow: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """All that the product said of a scene.

    Attributes:
        words: of the attack.
        changes: every incident's opening, in order.
        decisions: every order, in order.
    """

    words: ActWords
    changes: tuple[IncidentChange, ...]
    decisions: tuple[Decision, ...]


def watch(played: Played, fitted: FittedScorer) -> Watched:
    """Encode, score, judge, correlate and decide, in the order in which things became knowable."""
    flows = played.flows
    encoder = SentenceEncoder(fitted.vocabulary)
    fitted.scorer.reset()
    pipeline = Pipeline(calibration=fitted.calibration, flows=flows, devices=encoder.devices, playbook=load_playbook())
    is_attack = (require_labels(flows).malicious == 1) & begun_by(flows, played.infected)
    parts: list[ActWords] = []
    records: list[Record] = []
    for words in encoder.encode(flows, CHUNK_WORDS):
        if not len(words):
            continue
        scores = fitted.scorer.score(words)
        batch = ScoredBatch(words=words, scores=scores)
        commands = pipeline.handle(batch, instant_from_s(float(words.known_at_s[-1])))
        records += [command for command in commands if isinstance(command, Record)]
        mine = np.array([device.mac == played.infected.mac for device in encoder.devices])[words.device]
        parts.append(_act_words(words, scores, np.flatnonzero(mine & is_attack[words.flow]), fitted.calibration))
    return Watched(
        words=_joined(parts),
        changes=tuple(record.entry for record in records if isinstance(record.entry, IncidentChange)),
        decisions=tuple(record.entry for record in records if isinstance(record.entry, Decision)),
    )


def _act_words(words: WordBatch, scores: Scores, rows: npt.NDArray[np.int64], calibration: Calibration) -> ActWords:
    log_odds = malicious_log_odds(scores.class_probability[rows], calibration.temperature)
    return ActWords(
        known_at_s=words.known_at_s[rows],
        is_close=words.is_close[rows],
        is_above=log_odds > np.where(words.is_close[rows], calibration.evidence_nats, calibration.open_evidence_nats),
        flow=words.flow[rows],
    )


def _joined(parts: Sequence[ActWords]) -> ActWords:
    names = [item.name for item in fields(ActWords)]
    return ActWords(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def record_scene(attack: Attack, played: Played, watched: Watched) -> Moment:
    """What is kept of a scene: how it went, and when the product knew.

    Returns:
        ``word``, ``incident`` and ``answer`` with ``seconds``, ``packets`` and ``attempts`` from the attack's first
        packet until then, each None where it never came; ``attempts_per_s`` as it really went; ``is_accused_before``,
        whether an incident named the device before it did anything; ``flows_per_minute`` of its harmless life.
    """
    flows, infected = played.flows, played.infected
    begins_s = float(played.sent_at_s[0])
    attempts_at_s = attempt_moments(attack, played)
    above = np.flatnonzero(watched.words.is_above)
    word = None
    if len(above):
        word = _moment(float(watched.words.known_at_s[above[0]]), played, attempts_at_s)
        word["is_close"] = bool(watched.words.is_close[above[0]])
    opened = [change for change in watched.changes if change.kind is ChangeKind.OPENED and _accuses(change, infected)]
    true = [change for change in opened if change.at.timestamp() >= begins_s and judge_incident(flows, change.incident)]
    names = {change.incident.incident_id for change in true}
    orders = [order for order in watched.decisions if order.act is not Act.NOTIFY and order.incident_id in names]
    lasted_s = float(attempts_at_s[-1] - attempts_at_s[0])
    harmless = begun_by(flows, infected) & (flows.started_at_s < begins_s)
    return {
        "attempts": len(attempts_at_s),
        "attempts_per_s": (len(attempts_at_s) - 1) / lasted_s if lasted_s > 0 else None,
        "packets": len(played.sent_at_s),
        "word": word,
        "incident": _moment(true[0].at.timestamp(), played, attempts_at_s) if true else None,
        "class": true[0].incident.attack_class.value if true else None,
        "answer": _moment(orders[0].decided_at.timestamp(), played, attempts_at_s) if orders else None,
        "is_accused_before": any(change.at.timestamp() < begins_s for change in opened),
        "flows_per_minute": int(harmless.sum()) / ((begins_s - played.began_at_s) / SECONDS_PER_MINUTE),
    }


def attempt_moments(attack: Attack, played: Played) -> npt.NDArray[np.float64]:
    """When each attempt began, float64 (a,), ascending Unix seconds.

    An attempt is an address and port asked for the first time (scan), a packet sent (flood), a connection or a
    datagram's flow begun (guessing with one password per connection, beacons).
    """
    if attack.family == "flood":
        return played.sent_at_s
    flows = played.flows
    rows = np.flatnonzero((require_labels(flows).malicious == 1) & begun_by(flows, played.infected))
    if attack.family == "scan":
        asked = np.column_stack([flows.resp_address[rows], flows.resp_port[rows].astype(np.uint64)])
        rows = rows[np.sort(np.unique(asked, axis=0, return_index=True)[1])]
    return flows.started_at_s[rows]


def _accuses(change: IncidentChange, infected: Host) -> bool:
    incident = change.incident
    return incident.role is Role.OFFENDER and incident.device.mac == infected.mac


def _moment(at_s: float, played: Played, attempts_at_s: npt.NDArray[np.float64]) -> Moment:
    at_s += _ROUNDING_S
    return {
        "seconds": max(0.0, at_s - _ROUNDING_S - float(played.sent_at_s[0])),
        "packets": int(np.searchsorted(played.sent_at_s, at_s, side="right")),
        "attempts": int(np.searchsorted(attempts_at_s, at_s, side="right")),
    }
