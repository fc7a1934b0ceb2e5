"""Why a device is suspected: asks the model again with parts of the evidence hidden, and tells what mattered.

In: ``Question``s, the flows, a scorer that recalls its latest words. Out: ``Reason``s.
Must never: keep an order waiting, or repeat a string that an attacker chose.
Source: decision 0018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import (
    WINDOW_WORDS,
    EarlierPart,
    Effect,
    Question,
    split_earlier,
    strongest_topics,
    tell_reasons,
)
from thingwarden.detect.evidence import malicious_log_odds
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Reason
from thingwarden.encode.vocabulary import FIELD_NAMES, Vocabulary
from thingwarden.encode.wording import Wording, topic_columns
from thingwarden.model.occlusion import Passage, RecallingScorer
from thingwarden.model.scorer import FlowScorer

_TOPIC_COLUMNS: Final = topic_columns()


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a witness says: its passage, the words before it by kind, and the effect of each topic."""

    passage: Passage
    parts: dict[str, EarlierPart]
    effects: dict[str, Effect]


def recalling(scorer: FlowScorer) -> RecallingScorer:
    """The scorer with as much memory as ``Explainer`` needs."""
    return RecallingScorer(scorer, window_words=WINDOW_WORDS, reach_words=WINDOW_WORDS)


class Explainer:
    """Answers questions about the words that were scored last.

    Args:
        scorer: that scored them; made by ``recalling``.
        vocabulary: that they were encoded with.
        temperature: of the model's calibration.
    """

    def __init__(self, scorer: RecallingScorer, vocabulary: Vocabulary, temperature: float) -> None:
        self._scorer, self._wording, self._temperature = scorer, Wording(vocabulary), temperature

    def explain(self, question: Question, flows: FlowBatch) -> tuple[Reason, ...]:
        """What moved the scores of a question's witnesses, strongest first; nothing where nothing stands out.

        Args:
            question: asked about the words that were scored last.
            flows: whose rows the witnesses name.
        """
        passages = [self._scorer.recall(question.device, witness.number) for witness in question.witnesses]
        heard = [self._hear(passage, flows) for passage in passages if passage is not None]
        if not heard:
            return ()
        effects = [witness.effects for witness in heard]
        topics = strongest_topics(effects)
        together = np.mean([self._hide_in_turn(witness, topics) for witness in heard], axis=0)
        return tell_reasons(question.attack_class, topics, effects, together.tolist())

    def _hear(self, passage: Passage, flows: FlowBatch) -> _Heard:
        """Leave out each topic by itself."""
        parts = {part.topic: part for part in split_earlier(flows, passage.flow, passage.is_orig)}
        topics = [*_TOPIC_COLUMNS, *parts]
        falls = self._falls(passage, parts, [[topic] for topic in topics])
        effects = {
            topic: Effect(nats=fall, text=text, flow=int(passage.flow[-1]))
            for topic, fall in zip(topics, falls.tolist(), strict=True)
            if (text := parts[topic].text if topic in parts else self._topic_text(topic, passage))
        }
        return _Heard(passage, parts, effects)

    def _hide_in_turn(self, heard: _Heard, topics: Sequence[str]) -> npt.NDArray[np.float64]:
        """How far the score falls without the first topic, the first two, and so on."""
        return self._falls(heard.passage, heard.parts, [topics[: count + 1] for count in range(len(topics))])

    def _falls(
        self, passage: Passage, parts: dict[str, EarlierPart], left_out: Sequence[Sequence[str]]
    ) -> npt.NDArray[np.float64]:
        """How far the log-odds of "malicious" fall when each of the lists of topics is left out, in nats."""
        hidden = np.zeros((len(left_out) + 1, len(FIELD_NAMES)), dtype=np.bool_)
        dropped = np.zeros((len(left_out) + 1, len(passage)), dtype=np.bool_)
        for row, topics in enumerate(left_out, start=1):
            for topic in topics:
                if topic in parts:
                    dropped[row] |= parts[topic].rows
                elif topic in _TOPIC_COLUMNS:
                    hidden[row, _TOPIC_COLUMNS[topic]] = True
        log_odds = malicious_log_odds(self._scorer.class_probability(passage, hidden, dropped), self._temperature)
        return np.asarray(log_odds[0] - log_odds[1:])

    def _topic_text(self, topic: str, passage: Passage) -> str:
        """What the last word says on a topic, else the latest that says anything: an opening knows no outcome."""
        tells = np.flatnonzero(passage.fields[:, _TOPIC_COLUMNS[topic]].any(axis=1))
        if not len(tells):
            return ""
        text = self._wording.topic_text(topic, passage.fields[tells[-1]])
        return text if tells[-1] == len(passage) - 1 else f"earlier: {text}"
