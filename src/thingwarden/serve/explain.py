"""Why a device is suspected: asks the model again with parts of the evidence exchanged, and tells what mattered.

In: ``Question``s, the flows, a scorer that recalls its latest words. Out: ``Reason``s.
Must never: keep an order waiting, or repeat a string that an attacker chose.
Source: decision 0018.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import (
    EARLIER_TOPICS,
    MOST_CANDIDATES,
    MOST_FIELD_TOPICS,
    WINDOW_WORDS,
    EarlierPart,
    Effect,
    Question,
    Witness,
    next_topic,
    rank_topics,
    split_earlier,
    tell_reasons,
    usual_words,
)
from thingwarden.detect.evidence import malicious_log_odds
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Reason
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, Vocabulary
from thingwarden.encode.wording import Wording, topic_columns
from thingwarden.model.occlusion import Passage, RecallingScorer
from thingwarden.model.scorer import FlowScorer

Steps: TypeAlias = Generator[None, None, tuple[Reason, ...]]
"""An explanation that is being made; what it returns at its end are the reasons."""

_TOPIC_COLUMNS: Final = topic_columns()


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a witness says: its passage, what is usual instead, earlier words by kind, its flow, each topic's effect."""

    passage: Passage
    others: npt.NDArray[np.uint8]
    parts: dict[str, EarlierPart]
    flow: int
    effects: dict[str, Effect]


def recalling(scorer: FlowScorer) -> RecallingScorer:
    """The scorer with as much memory as ``Explainer`` needs."""
    return RecallingScorer(scorer, window_words=WINDOW_WORDS, reach_words=WINDOW_WORDS)


class Recalls(Protocol):
    """What can go back to the words that it has scored; see ``RecallingScorer``."""

    def recall(self, device: int, number: int) -> Passage | None:
        """The words up to a device's ``number``-th; None where they are no longer remembered."""

    def recall_context(self, device: int, number: int) -> Passage | None:
        """More words up to the same one, for comparing."""

    def class_probability(
        self,
        passage: Passage,
        others: npt.NDArray[np.uint8],
        exchanged: npt.NDArray[np.bool_],
        dropped: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float32]:
        """Class probabilities of a passage's last word, had the passage been another."""


class Explainer:
    """Answers questions about the words that were scored last.

    Args:
        scorer: that scored them; as ``recalling`` makes it.
        vocabulary: that they were encoded with.
        temperature: of the model's calibration.
    """

    def __init__(self, scorer: Recalls, vocabulary: Vocabulary, temperature: float) -> None:
        self._scorer, self._wording, self._temperature = scorer, Wording(vocabulary), temperature

    def explain(self, question: Question, flows: FlowBatch) -> tuple[Reason, ...]:
        """What moved the scores of a question's witnesses, strongest first; nothing where nothing stands out.

        Args:
            question: asked about the words that were scored last.
            flows: whose rows the witnesses name.
        """
        steps = self.steps(question, flows)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                reasons: tuple[Reason, ...] = end.value
                return reasons

    def steps(self, question: Question, flows: FlowBatch) -> Steps:
        """The same in steps of a few milliseconds, between which other words may be scored.

        The first recalls what was scored last, and must be taken before that is another; the value is the reasons.
        """
        recalled = [self._recall(question.device, witness, flows) for witness in question.witnesses]
        heard = []
        for found in recalled:
            yield
            if found is not None:
                self._hear(found)
                heard.append(found)
        if not heard:
            return ()
        effects = [witness.effects for witness in heard]
        topics, together_nats = yield from self._choose(heard, rank_topics(effects))
        return tell_reasons(question.attack_class, topics, effects, together_nats)

    def _choose(
        self, heard: Sequence[_Heard], ranked: Sequence[str]
    ) -> Generator[None, None, tuple[list[str], list[float]]]:
        """Groups of fields, each the one that adds most to those before it, then the most telling earlier words."""
        fields = [topic for topic in ranked if topic not in EARLIER_TOPICS][:MOST_CANDIDATES]
        earlier = [topic for topic in ranked if topic in EARLIER_TOPICS]
        told: list[str] = []
        together_nats: list[float] = []
        for candidates in (*[fields] * MOST_FIELD_TOPICS, earlier):
            falls = yield from self._falls_beside(heard, told, [topic for topic in candidates if topic not in told])
            best = next_topic(falls, together_nats[-1] if told else 0.0)
            if best is not None:
                told.append(best)
                together_nats.append(falls[best])
        return told, together_nats

    def _falls_beside(
        self, heard: Sequence[_Heard], told: list[str], candidates: list[str]
    ) -> Generator[None, None, dict[str, float]]:
        """How far the score falls without each candidate and all that is told, mean over the witnesses."""
        left_out = [[*told, topic] for topic in candidates]
        falls = []
        for witness in heard:
            yield
            falls.append(self._falls(witness, left_out))
        return dict(zip(candidates, np.mean(falls, axis=0).tolist(), strict=True))

    def _recall(self, device: int, witness: Witness, flows: FlowBatch) -> _Heard | None:
        """What a witness says; None where it is no longer remembered."""
        passage = self._scorer.recall(device, witness.number)
        context = self._scorer.recall_context(device, witness.number)
        if passage is None or context is None:
            return None
        others = _usual_instead(passage, context)
        parts = {part.topic: part for part in split_earlier(flows, passage.flow, passage.is_orig)}
        return _Heard(passage, others, parts, witness.flow, {})

    def _hear(self, heard: _Heard) -> None:
        """Exchange each topic by itself."""
        parts = heard.parts
        topics = [*_TOPIC_COLUMNS, *parts]
        falls = self._falls(heard, [[topic] for topic in topics])
        for topic, fall in zip(topics, falls.tolist(), strict=True):
            text = parts[topic].text if topic in parts else self._topic_text(topic, heard.passage)
            if text:
                heard.effects[topic] = Effect(nats=fall, text=text, flow=heard.flow)

    def _falls(self, heard: _Heard, exchanges: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
        """How far the log-odds of "malicious" fall when each of the lists of topics is exchanged, in nats."""
        passage, parts = heard.passage, heard.parts
        exchanged = np.zeros((len(exchanges) + 1, len(FIELD_NAMES)), dtype=np.bool_)
        dropped = np.zeros((len(exchanges) + 1, len(passage)), dtype=np.bool_)
        for row, topics in enumerate(exchanges, start=1):
            for topic in topics:
                if topic in parts:
                    dropped[row] |= parts[topic].rows
                elif topic in _TOPIC_COLUMNS:
                    exchanged[row, _TOPIC_COLUMNS[topic]] = True
        probability = self._scorer.class_probability(passage, heard.others, exchanged, dropped)
        log_odds = malicious_log_odds(probability, self._temperature)
        return np.asarray(log_odds[0] - log_odds[1:])

    def _topic_text(self, topic: str, passage: Passage) -> str:
        """What the last word says on a topic, else the latest that says anything: an opening knows no outcome."""
        tells = np.flatnonzero(passage.fields[:, _TOPIC_COLUMNS[topic]].any(axis=1))
        if not len(tells):
            return ""
        text = self._wording.topic_text(topic, passage.fields[tells[-1]])
        return text if tells[-1] == len(passage) - 1 else f"earlier: {text}"


def _usual_instead(passage: Passage, context: Passage) -> npt.NDArray[np.uint8]:
    """What the device's quiet words usually say in the place of the others; quiet words stay as they are."""
    usual = usual_words(
        passage.fields,
        _kinds(passage),
        context.fields[context.is_quiet],
        _kinds(context)[context.is_quiet],
        _TOPIC_COLUMNS,
    )
    stays = passage.is_quiet.copy()
    stays[-1] = False
    return np.where(stays[:, None], passage.fields, usual)


def _kinds(passage: Passage) -> npt.NDArray[np.int64]:
    """Opening or closing, and who began the flow, as one number."""
    kind = passage.fields[:, FIELD_INDEX["kind"]].astype(np.int64)
    return np.asarray(2 * kind + passage.is_orig)
