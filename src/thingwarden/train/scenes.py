"""What the model reads in training: native stretches, grafts and lone words of every source, encoded and labelled.

In: the training parts of a fold and a random generator. Out: ``Sentence`` objects.
Must never: read a part that the fold holds out, nor let a source be told from its label by how it was prepared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.domain.word import ROLES
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_INDEX, PROBE_KIND, Vocabulary
from thingwarden.train.corpus import Part
from thingwarden.train.graft import (
    Life,
    Recording,
    add_outage,
    cut_segment,
    exchange_peers,
    find_life,
    find_recordings,
    graft,
    lose_packets,
    vary,
)
from thingwarden.train.pace import imagine_milestones
from thingwarden.train.sketch import sketch

LONGEST_BASE: Final = 2500
"""Flows of history that a graft is put into at most: long enough for the slow counters to fill."""

LONGEST_SEGMENT: Final = 400
LOSSY_SHARE: Final = 0.4
"""Share of scenes whose sensor began late or dropped packets."""

OVERLAY_SHARE: Final = 0.35
"""Share of histories with one more sketched habit in them: people's computers, ways through address translators."""

WINDOW_WORDS: Final = 512
LEAD_WORDS: Final = 256
"""A cut sentence begins at most this many words before its first malicious word."""

LONGEST_FIRST_SENTENCES: Final = 4
"""Sentences taken from a recorded stretch: its longest; of few devices the rest is scraps."""

ANY_SENTENCES: Final = 8
"""Sentences taken from a simulated stretch by chance: every device there lives a whole life."""

ATTACKED_SOONER: Final = 4.0
"""One of a network's ten devices is attacked: this makes it about one sentence in three of such a stretch."""

FEWEST_HISTORY_FLOWS: Final = 20
"""A simulated host with fewer has no history to graft into."""

LEAST_PART_IN_ACT: Final = 0.25
"""A host that saw less of an act than this share of what the busiest saw shows it too little to be drawn for it."""

PATTERN_FIELDS: Final = [
    FIELD_INDEX[name]
    for name in ("kind", "proto", "resp_port", "service", "conn_state", "history", "orig_bytes", "resp_bytes",
                 "orig_packets", "resp_packets")
]  # fmt: skip

Rng = np.random.Generator
_Drawn = TypeVar("_Drawn")


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

    @property
    def is_probe(self) -> npt.NDArray[np.bool_]:
        """Which words are judged and never remembered, bool (n,)."""
        return np.asarray(self.fields[:, FIELD_INDEX["kind"]] == PROBE_KIND)

    @property
    def spoken_count(self) -> int:
        """How many words are remembered."""
        return len(self) - int(self.is_probe.sum())


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
    for number in PATTERN_FIELDS:
        key = key * 1_000_003 + fields[:, number]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LabShares:
    """How much is drawn from simulated networks, each from 0 to 1; what one side lacks comes from the other.

    Attributes:
        native: of stretches as they were, and of lone words.
        history: of the histories that are grafted into.
        segment: of the segments that are not sketched.
    """

    native: float = 0.0
    history: float = 0.0
    segment: float = 0.0


@dataclass(frozen=True, slots=True)
class _Pool(Generic[_Drawn]):
    """What can be drawn, by whether it was recorded or simulated, and by capture."""

    recorded: dict[str, list[_Drawn]] = field(default_factory=dict)
    simulated: dict[str, list[_Drawn]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.recorded or self.simulated)

    def draw(self, rng: Rng, lab_share: float) -> _Drawn:
        """Each capture of a side equally often, and within it each of its recordings."""
        side = self.recorded or self.simulated
        if self.recorded and self.simulated:
            side = self.simulated if rng.random() < lab_share else self.recorded
        names = list(side)
        choices = side[names[int(rng.integers(len(names)))]]
        return choices[int(rng.integers(len(choices)))]


class Stage:
    """All lives that training may draw from, and how scenes are drawn.

    Args:
        parts: the training parts of a fold.
        vocabulary: fitted on the same parts.
        absent: attack classes that no sketch may show.
        lab_shares: how much comes from parts of the family ``lab``.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        vocabulary: Vocabulary,
        absent: Collection[AttackClass] = (),
        lab_shares: LabShares | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._absent = frozenset(absent)
        self._shares = lab_shares or LabShares()
        self._native: _Pool[Part] = _Pool()
        self._histories: _Pool[Life | Recording] = _Pool()
        self._benign: _Pool[Life | Recording] = _Pool()
        self._attack: _Pool[Life | Recording] = _Pool()
        for part in parts:
            if part.capture.family == "lab":
                self._add_network(part)
            else:
                self._add_recorded(part)

    def _add_recorded(self, part: Part) -> None:
        name = part.capture.name
        self._native.recorded.setdefault(name, []).append(part)
        for malicious, pool in ((False, self._benign), (True, self._attack)):
            life = find_life(part, malicious=malicious)
            if life is not None and len(only := life.with_label(int(malicious))):
                pool.recorded.setdefault(name, []).append(only)
                if not malicious:
                    self._histories.recorded.setdefault(name, []).append(only)

    def _add_network(self, part: Part) -> None:
        """Every host has a history; an act is drawn as often as a host's habits, whatever its flows."""
        if not len(part.flows):
            return
        self._native.simulated[part.capture.name] = [part]
        for life in find_recordings(part, malicious=False, by_act=False):
            if len(life) >= FEWEST_HISTORY_FLOWS:
                self._histories.simulated.setdefault(part.capture.name, []).append(life)
        for malicious, pool in ((False, self._benign), (True, self._attack)):
            acts: dict[str, list[Life | Recording]] = {}
            for recording in find_recordings(part, malicious=malicious, by_act=True):
                acts.setdefault(recording.name, []).append(recording)
            for name, seen in acts.items():
                least = LEAST_PART_IN_ACT * max(map(len, seen))
                pool.simulated[name] = [recording for recording in seen if len(recording) >= least]

    def native(self, rng: Rng, count: int) -> list[Sentence]:
        """``count`` windows of the captures as they were recorded or simulated, each capture equally often."""
        sentences: list[Sentence] = []
        while len(sentences) < count:
            part = self._native.draw(rng, self._shares.native)
            flows = _as_seen(_cut_stretch(part, rng), rng, is_lossy=rng.random() < LOSSY_SHARE)
            drawn = [s for s in sentences_from_flows(flows, self._vocabulary) if len(s) > 1]
            if part.capture.family == "lab":
                drawn = _draw_sentences(drawn, rng)
            else:
                drawn = sorted(drawn, key=len, reverse=True)[:LONGEST_FIRST_SENTENCES]
            sentences.extend(cut_sentence(sentence, rng) for sentence in drawn)
        return sentences[:count]

    def grafted(self, rng: Rng, count: int, *, malicious_share: float, sketch_share: float) -> list[Sentence]:
        """``count`` windows of histories with one to three segments of other sources in them."""
        sentences: list[Sentence] = []
        while len(sentences) < count:
            base = self._draw_base(rng)
            is_lossy = rng.random() < LOSSY_SHARE
            flows = _as_seen(base.flows, rng, is_lossy=is_lossy)
            segments = [sketch(rng, malicious=False)] if rng.random() < OVERLAY_SHARE else []
            for _ in range(int(rng.integers(1, 4))):
                is_malicious = rng.random() < malicious_share
                segments.append(self._draw_segment(rng, malicious=is_malicious, sketch_share=sketch_share))
            for segment in segments:
                seen = replace(segment, flows=_as_seen(segment.flows, rng, is_lossy=is_lossy))
                flows = graft(replace(base, flows=flows), seen, _any_instant(base.flows, rng))
            drawn = sentences_from_flows(flows, self._vocabulary)
            drawn.sort(key=len, reverse=True)
            sentences.extend(cut_sentence(sentence, rng) for sentence in drawn[:2] if len(sentence) > 1)
        return sentences[:count]

    def lone(self, rng: Rng, count: int) -> list[Sentence]:
        """``count`` opening-closing pairs without history or time, as from a source that has neither."""
        sentences: list[Sentence] = []
        while len(sentences) < count:
            flows = self._native.draw(rng, self._shares.native).flows
            rows = rng.integers(0, len(flows), min(len(flows), 32))
            sentences.extend(lone_words(flows.take(rows), self._vocabulary))
        return sentences[:count]

    def _draw_segment(self, rng: Rng, *, malicious: bool, sketch_share: float) -> Life:
        pool = self._attack if malicious else self._benign
        if not pool or rng.random() < sketch_share:
            return sketch(rng, malicious=malicious, absent=self._absent)  # already as varied as its parameters are wide
        return _prepare_segment(pool.draw(rng, self._shares.segment), rng)

    def _draw_base(self, rng: Rng) -> Life:
        base = cut_segment(self._histories.draw(rng, self._shares.history), rng, longest=LONGEST_BASE)
        return add_outage(base, rng) if rng.random() < 0.15 else base


def _as_seen(flows: FlowBatch, rng: Rng, *, is_lossy: bool) -> FlowBatch:
    """The flows as one sensor sees them, milestones included."""
    return imagine_milestones(lose_packets(flows, rng) if is_lossy else flows, rng)


def _any_instant(flows: FlowBatch, rng: Rng) -> float:
    return float(rng.uniform(flows.started_at_s[0], flows.started_at_s[-1] + 1.0))


def _cut_stretch(part: Part, rng: Rng) -> FlowBatch:
    """At most ``LONGEST_BASE`` flows from anywhere; where a simulated network is attacked, half are aimed at it."""
    flows = part.flows
    last = max(1, len(flows) - LONGEST_BASE)
    first = int(rng.integers(0, last))
    if part.capture.family == "lab" and flows.labels is not None:
        attacks = np.flatnonzero(flows.labels.malicious == 1)
        if len(attacks) and rng.random() < 0.5:
            first = min(last - 1, max(0, int(rng.choice(attacks)) - int(rng.integers(0, LONGEST_BASE))))
    return flows.take(np.arange(first, min(len(flows), first + LONGEST_BASE)))


def _draw_sentences(sentences: list[Sentence], rng: Rng) -> list[Sentence]:
    """``ANY_SENTENCES`` of them; long ones sooner, for who was merely scanned says little, and attacked ones sooner."""
    if len(sentences) <= ANY_SENTENCES:
        return sentences
    share = np.sqrt([len(sentence) for sentence in sentences])
    share *= [ATTACKED_SOONER if (sentence.attack_class > 0).any() else 1.0 for sentence in sentences]
    chosen = rng.choice(len(sentences), ANY_SENTENCES, replace=False, p=share / share.sum())
    return [sentences[number] for number in chosen.tolist()]


def lone_words(flows: FlowBatch, vocabulary: Vocabulary) -> list[Sentence]:
    """Each flow as a sentence of two words without rhythm."""
    assert flows.labels is not None
    sentences: list[Sentence] = []
    for chunk in SentenceEncoder(vocabulary).encode(replace(flows, is_timed=False)):
        words = _label_words(chunk.fields, chunk.flow, chunk.is_orig, flows.labels)
        sentences.extend(_pick(words, np.arange(first, first + 2)) for first in range(0, len(words), 2))
    return sentences


def _prepare_segment(life: Life | Recording, rng: Rng) -> Life:
    return vary(exchange_peers(cut_segment(life, rng, longest=LONGEST_SEGMENT), rng), rng)
