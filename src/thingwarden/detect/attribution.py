"""What moved an incident's score: which words to ask about, what to put in their place, what is worth telling.

In: words of evidence, flows, and how far the score falls when the words say something else. Out: ``Question``s,
``EarlierPart``s, ``Reason``s.
Must never: depend on how the words were split into chunks, or repeat a string that an attacker chose.
Source: M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014 (occlusion).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.tally import EvidenceColumns, peer_of, proto_name
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Reason
from thingwarden.domain.taxonomy import CLASSES, AttackClass

WINDOW_WORDS: Final = 32
"""Words of a device, the one in question last, that are made to say something else; older ones are never touched."""

MOST_WITNESSES: Final = 3
"""Words asked about per question, each of another flow; what holds for one word may be its chance."""

MOST_CLASSES: Final = 3
"""Attack classes of one incident that are asked about."""

MOST_FIELD_TOPICS: Final = 3
"""Groups of fields told of one class; what was said earlier may come on top."""

MOST_REASONS: Final = 5
"""Reasons told of one incident."""

MOST_CANDIDATES: Final = 6
"""Groups of fields that are exchanged together with others: the strongest by themselves."""

LEAST_USUAL: Final = 4
"""Harmless words of a kind that show what a device usually says."""

LEAST_NATS: Final = 0.25
"""What moves the odds by less than a quarter is no reason."""

SAME_PEER: Final = "earlier_same_peer"
SAME_SERVICE: Final = "earlier_same_service"
OTHER: Final = "earlier_other"
EARLIER_TOPICS: Final = (SAME_PEER, SAME_SERVICE, OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A word that speaks loudly for an incident.

    Attributes:
        number: the how-manyth word of its device it is, from 1.
        flow: row of its flow.
        is_orig: whether the device began the flow.
    """

    number: int
    flow: int
    is_orig: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Why do these words look like an attack?

    Attributes:
        incident_id: whose words they are.
        device, role: index of the device, and index into ``ROLES``.
        attack_class: what the words look like.
        at: aware UTC, the instant at which it arose.
        witnesses: loudest first, at least one; none more than ``WINDOW_WORDS`` words before that instant.
    """

    incident_id: str
    device: int
    role: int
    attack_class: AttackClass
    at: datetime
    witnesses: tuple[Witness, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierPart:
    """Words before a witness that have something in common.

    Attributes:
        topic: one of ``EARLIER_TOPICS``.
        text: the same in plain words.
        rows: bool (k,), which of the k words in the window they are.
    """

    topic: str
    text: str
    rows: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What exchanging one topic in one witness's window did.

    Attributes:
        nats: by how much the log-odds of "malicious" fell.
        text: what the window says on the topic.
        flow: row of the witness's flow.
    """

    nats: float
    text: str
    flow: int


def choose_witnesses(words: EvidenceColumns) -> tuple[Witness, ...]:
    """The words that weigh most, of different flows; the latest among equals.

    Args:
        words: evidence of one device in one role and class.
    """
    order = np.lexsort((-words.number, -words.gain))
    _, first = np.unique(words.flow[order], return_index=True)
    chosen = order[np.sort(first)[:MOST_WITNESSES]].tolist()
    return tuple(
        Witness(number=int(words.number[row]), flow=int(words.flow[row]), is_orig=bool(words.is_orig[row]))
        for row in chosen
    )


def usual_words(
    words: npt.NDArray[np.uint8],
    kind: npt.NDArray[np.int64],
    usual: npt.NDArray[np.uint8],
    usual_kind: npt.NDArray[np.int64],
    topics: Mapping[str, Sequence[int]],
) -> npt.NDArray[np.uint8]:
    """What a device usually says in the place of some words: on each topic, its most frequent harmless answer.

    Args:
        words: uint8 (k, F).
        kind: int64 (k,), only words of one kind are compared.
        usual: uint8 (m, F), harmless words of the device.
        usual_kind: int64 (m,).
        topics: columns by topic, at most 7 each.

    Returns:
        uint8 (k, F); 0, unknown, where fewer than ``LEAST_USUAL`` harmless words are of a word's kind.
    """
    others = np.zeros_like(words)
    for value in np.unique(kind).tolist():
        rows, alike = np.flatnonzero(kind == value), usual[usual_kind == value]
        if len(alike) < LEAST_USUAL:
            continue
        for columns in topics.values():
            answers = alike[:, columns].astype(np.int64) @ (256 ** np.arange(len(columns)))
            _, first, counts = np.unique(answers, return_index=True, return_counts=True)
            others[rows[:, None], columns] = alike[first[counts.argmax()], columns]
    return others


def split_earlier(flows: FlowBatch, flow: npt.NDArray[np.int64], is_orig: npt.NDArray[np.bool_]) -> list[EarlierPart]:
    """The words before a witness, by what they share with it; its own flow's opening belongs to none of them.

    Args:
        flows: whose rows ``flow`` names.
        flow: int64 (k,), the window's flows, the witness's last.
        is_orig: bool (k,), whether the device began each.
    """
    row, side = int(flow[-1]), bool(is_orig[-1])
    peer = np.where(is_orig[:, None], flows.resp_address[flow], flows.orig_address[flow])  # (k, 2)
    is_earlier = flow != row
    is_same_peer = (peer == peer[-1]).all(axis=1)
    is_same_service = (
        (is_orig == side) & (flows.proto[flow] == flows.proto[row]) & (flows.resp_port[flow] == flows.resp_port[row])
    )
    service = f"{proto_name(int(flows.proto[row]))}/{int(flows.resp_port[row])}"
    others = f"{'to' if side else 'from'} other addresses on {service}"
    kinds = (
        (SAME_PEER, f"with {peer_of(flows, row, side)}", is_same_peer),
        (SAME_SERVICE, others, is_same_service & ~is_same_peer),
        (OTHER, "of other kinds", ~is_same_service & ~is_same_peer),
    )
    parts = []
    for topic, text, is_alike in kinds:
        rows = is_earlier & is_alike
        count = len(np.unique(flow[rows]))
        if count:
            said = f"{count} earlier flow{'' if count == 1 else 's'} {text}"
            parts.append(EarlierPart(topic=topic, text=said, rows=rows))
    return parts


def rank_topics(effects: Sequence[Mapping[str, Effect]]) -> list[str]:
    """Topics by how far they move the score, on average over the witnesses, strongest first.

    Args:
        effects: by topic, one mapping per witness; a topic that a witness lacks does not move it.
    """
    sums: dict[str, float] = {}
    for of_witness in effects:
        for topic, effect in of_witness.items():
            sums[topic] = sums.get(topic, 0.0) + effect.nats
    return sorted(sums, key=lambda topic: (-round(sums[topic] / len(effects), 3), topic))


def next_topic(falls: Mapping[str, float], told_nats: float) -> str | None:
    """The topic that moves the score furthest beyond what is told already; None where none is worth telling.

    Args:
        falls: by topic, how far the score falls without it and all that is told already.
        told_nats: how far it falls without the latter alone.
    """
    best = min(falls, key=lambda topic: (-round(falls[topic], 3), topic), default=None)
    return best if best is not None and falls[best] - told_nats >= LEAST_NATS else None


def tell_reasons(
    attack_class: AttackClass,
    topics: Sequence[str],
    effects: Sequence[Mapping[str, Effect]],
    together_nats: Sequence[float],
) -> tuple[Reason, ...]:
    """Reasons in the words of the witness that each topic moves most.

    Args:
        attack_class: what the witnesses look like.
        topics: in the order of telling.
        effects: by topic, one mapping per witness.
        together_nats: per topic, how far the score falls without it and all before it; mean over the witnesses.
    """
    reasons = []
    for topic, together in zip(topics, together_nats, strict=True):
        found = [of_witness[topic] for of_witness in effects if topic in of_witness]
        telling = max(found, key=lambda effect: round(effect.nats, 3))
        nats = sum(effect.nats for effect in found) / len(effects)
        reason = Reason(
            topic=topic,
            text=telling.text,
            nats=nats,
            together_nats=together,
            attack_class=attack_class,
            flow=telling.flow,
        )
        reasons.append(reason)
    return tuple(reasons)


def merge_reasons(by_class: Mapping[int, tuple[Reason, ...]], main_class: int) -> tuple[Reason, ...]:
    """An incident's reasons: those of its main class, then those of the others, in the order of their asking.

    Args:
        by_class: reasons by index into ``CLASSES``.
        main_class: index of what most of the incident's words look like.
    """
    order = sorted(by_class, key=lambda class_index: class_index != main_class)
    return tuple(reason for class_index in order for reason in by_class[class_index])[:MOST_REASONS]


def classes_to_ask(
    words: EvidenceColumns, class_counts: npt.NDArray[np.int64], asked: Sequence[int], least_count: int
) -> list[int]:
    """Classes that an incident shows and that nobody has asked about, most frequent first.

    Args:
        words: the incident's evidence within reach.
        class_counts: int64 (classes,), all of its evidence.
        asked: classes asked about before.
        least_count: words of a class that make it worth a question; the most frequent one always is.
    """
    in_reach = np.bincount(words.attack_class, minlength=len(CLASSES)) > 0
    counts = np.where(in_reach, class_counts, 0)
    order = np.argsort(-counts, kind="stable").tolist()
    due = [index for place, index in enumerate(order) if counts[index] >= (1 if place == 0 else least_count)]
    return [index for index in due if index not in asked][: MOST_CLASSES - len(asked)]
