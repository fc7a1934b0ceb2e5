"""What the model reads in training: native stretches, grafts and lone words of every source, encoded and labelled.

In: the training parts of a fold and a random generator. Out: ``Sentence`` objects.
Must never: read a part that the fold holds out, nor let a source be told from its label by how it was prepared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.domain.word import ROLES
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_INDEX, Vocabulary
from thingwarden.train.corpus import Part
from thingwarden.train.graft import Life, add_outage, cut_segment, exchange_peers, find_life, graft, vary
from thingwarden.train.sketch import sketch

LONGEST_BASE: Final = 2500
"""Flows of history that a graft is put into at most: long enough for the slow counters to fill."""

LONGEST_SEGMENT: Final = 400
WINDOW_WORDS: Final = 512
LEAD_WORDS: Final = 256
"""A cut sentence begins at most this many words before its first malicious word."""

PATTERN_FIELDS: Final = [
    FIELD_INDEX[name]
    for name in ("kind", "proto", "resp_port", "service", "conn_state", "history", "orig_bytes", "resp_bytes",
                 "orig_packets", "resp_packets")
]  # fmt: skip

Rng = np.random.Generator
_Recording = TypeVar("_Recording")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One device's words with what is true of them; n words.

    Attributes:
        fields: uint8 (n, F).
        attack_class: int8 (n,), index into ``taxonomy.CLASSES``; -1 is context, never a target.
        role: int8 (n,), index into ``ROLES``.
        pattern: int64 (n,), equal for words of equal label and pattern; weights are shared among them.
    """

    fields: npt.NDArray[np.uint8]
    attack_class: npt.NDArray[np.int8]
    role: npt.NDArray[np.int8]
    pattern: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.fields)


def sentences_from_flows(flows: FlowBatch, vocabulary: Vocabulary) -> list[Sentence]:
    """Encode flows with a fresh memory; one sentence per device, the unattributed one included."""
    chunks = list(SentenceEncoder(vocabulary).encode(flows))
    if not chunks or flows.labels is None:
        return []
    fields = np.concatenate([chunk.fields for chunk in chunks])
    device = np.concatenate([chunk.device for chunk in chunks])
    flow = np.concatenate([chunk.flow for chunk in chunks])
    is_orig = np.concatenate([chunk.is_orig for chunk in chunks])
    whole = _label_words(fields, flow, is_orig, flows.labels)
    order = np.argsort(device, kind="stable")
    cuts = np.flatnonzero(np.diff(device[order])) + 1
    return [_pick(whole, rows) for rows in np.split(order, cuts)]


def _label_words(
    fields: npt.NDArray[np.uint8], flow: npt.NDArray[np.int64], is_orig: npt.NDArray[np.bool_], labels: Labels
) -> Sentence:
    """The words with what their flows' labels say of them, as one sentence."""
    attack_class = np.where(labels.malicious >= 0, labels.attack_class, -1)[flow].astype(np.int8)
    role = np.where(attack_class > 0, np.where(is_orig, ROLES.index("offender"), ROLES.index("target")), 0)
    return Sentence(
        fields=fields, attack_class=attack_class, role=role.astype(np.int8), pattern=_patterns(fields, attack_class)
    )


def _patterns(fields: npt.NDArray[np.uint8], attack_class: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    key = attack_class.astype(np.int64) + 1
    for field in PATTERN_FIELDS:
        key = key * 1_000_003 + fields[:, field]
    return key


def _pick(sentence: Sentence, rows: npt.NDArray[np.int64]) -> Sentence:
    return Sentence(
        fields=sentence.fields[rows],
        attack_class=sentence.attack_class[rows],
        role=sentence.role[rows],
        pattern=sentence.pattern[rows],
    )


def cut_sentence(sentence: Sentence, rng: Rng) -> Sentence:
    """At most ``WINDOW_WORDS`` words, chosen so that an attack in it is seen from a little before its beginning."""
    if len(sentence) <= WINDOW_WORDS:
        return sentence
    malicious = np.flatnonzero(sentence.attack_class > 0)
    if len(malicious):
        first = int(rng.choice(malicious[:: max(1, len(malicious) // 8)])) - int(rng.integers(0, LEAD_WORDS))
    else:
        first = int(rng.integers(0, len(sentence) - WINDOW_WORDS + 1))
    first = max(0, min(first, len(sentence) - WINDOW_WORDS))
    return _pick(sentence, np.arange(first, first + WINDOW_WORDS))


class Stage:
    """All lives that training may draw from, and how scenes are drawn.

    Args:
        parts: the training parts of a fold.
        vocabulary: fitted on the same parts.
        absent: attack classes that no sketch may show.
    """

    def __init__(self, parts: Sequence[Part], vocabulary: Vocabulary, absent: Collection[AttackClass] = ()) -> None:
        self._vocabulary = vocabulary
        self._absent = frozenset(absent)
        self._benign: dict[str, list[Life]] = {}
        self._attack: dict[str, list[Life]] = {}
        self._native: dict[str, list[FlowBatch]] = {}
        for part in parts:
            self._add(part)

    def _add(self, part: Part) -> None:
        self._native.setdefault(part.capture.name, []).append(part.flows)
        for malicious, lives in ((False, self._benign), (True, self._attack)):
            life = find_life(part, malicious=malicious)
            if life is not None and len(only := life.with_label(int(malicious))):
                lives.setdefault(part.capture.name, []).append(only)

    def native(self, rng: Rng, count: int) -> list[Sentence]:
        """``count`` windows of the captures as they were recorded, each capture equally often."""
        sentences: list[Sentence] = []
        while len(sentences) < count:
            flows = _draw(self._native, rng)
            first = int(rng.integers(0, max(1, len(flows) - LONGEST_BASE)))
            stretch = flows.take(np.arange(first, min(len(flows), first + LONGEST_BASE)))
            drawn = [s for s in sentences_from_flows(stretch, self._vocabulary) if len(s) > 1]
            drawn.sort(key=len, reverse=True)
            sentences.extend(cut_sentence(sentence, rng) for sentence in drawn[:4])
        return sentences[:count]

    def grafted(self, rng: Rng, count: int, *, malicious_share: float, sketch_share: float) -> list[Sentence]:
        """``count`` windows of histories with one to three segments of other sources in them."""
        sentences: list[Sentence] = []
        while len(sentences) < count:
            base = self._draw_base(rng)
            flows = base.flows
            for _ in range(int(rng.integers(1, 4))):
                segment = self._draw_segment(rng, malicious=rng.random() < malicious_share, sketch_share=sketch_share)
                at_s = rng.uniform(base.flows.started_at_s[0], base.flows.started_at_s[-1] + 1.0)
                flows = graft(replace(base, flows=flows), segment, float(at_s))
            drawn = sentences_from_flows(flows, self._vocabulary)
            drawn.sort(key=len, reverse=True)
            sentences.extend(cut_sentence(sentence, rng) for sentence in drawn[:2] if len(sentence) > 1)
        return sentences[:count]

    def lone(self, rng: Rng, count: int) -> list[Sentence]:
        """``count`` opening-closing pairs without history or time, as from a source that has neither."""
        sentences: list[Sentence] = []
        while len(sentences) < count:
            flows = _draw(self._native, rng)
            rows = rng.integers(0, len(flows), min(len(flows), 32))
            sentences.extend(lone_words(flows.take(rows), self._vocabulary))
        return sentences[:count]

    def _draw_segment(self, rng: Rng, *, malicious: bool, sketch_share: float) -> Life:
        lives = self._attack if malicious else self._benign
        if not lives or rng.random() < sketch_share:
            return sketch(rng, malicious=malicious, absent=self._absent)  # already as varied as its parameters are wide
        return _prepare_segment(_draw(lives, rng), rng)

    def _draw_base(self, rng: Rng) -> Life:
        base = cut_segment(_draw(self._benign, rng), rng, longest=LONGEST_BASE)
        return add_outage(base, rng) if rng.random() < 0.15 else base


def lone_words(flows: FlowBatch, vocabulary: Vocabulary) -> list[Sentence]:
    """Each flow as a sentence of two words without rhythm."""
    assert flows.labels is not None
    sentences: list[Sentence] = []
    for chunk in SentenceEncoder(vocabulary).encode(replace(flows, is_timed=False)):
        words = _label_words(chunk.fields, chunk.flow, chunk.is_orig, flows.labels)
        sentences.extend(_pick(words, np.arange(first, first + 2)) for first in range(0, len(words), 2))
    return sentences


def _draw(recordings: dict[str, list[_Recording]], rng: Rng) -> _Recording:
    """Each capture equally often, and within it each of its recordings."""
    names = list(recordings)
    choices = recordings[names[int(rng.integers(len(names)))]]
    return choices[int(rng.integers(len(choices)))]


def _prepare_segment(life: Life, rng: Rng) -> Life:
    return vary(exchange_peers(cut_segment(life, rng, longest=LONGEST_SEGMENT), rng), rng)
