"""Scores to one verdict per flow, however its words are spread over chunks.

In: ``WordBatch`` and ``Scores``, chunk after chunk. Out: ``FlowVerdicts``, one entry per flow.
Must never: judge a flow by its opening word, which knows no outcome.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from thingwarden.detect.evidence import assign_roles, likeliest_attack, malicious_log_odds, probability_from_log_odds
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.errors import InputError
from thingwarden.domain.word import Scores, WordBatch


class FlowJudge:
    """Keeps the most suspicious closing word of each flow.

    Args:
        flow_count: flows in the batch that was encoded.
        calibration: of the model that scores.
    """

    def __init__(self, flow_count: int, calibration: Calibration) -> None:
        self._calibration = calibration
        self._probability = np.full(flow_count, np.nan, dtype=np.float32)
        self._attack_class = np.zeros(flow_count, dtype=np.int8)
        self._ton_class = np.full(flow_count, -1, dtype=np.int8)
        self._device = np.full(flow_count, -1, dtype=np.int32)
        self._is_orig = np.zeros(flow_count, dtype=np.bool_)
        self._role = np.zeros(flow_count, dtype=np.int8)
        self._surprise_nats = np.full(flow_count, np.nan, dtype=np.float32)

    def update(self, words: WordBatch, scores: Scores) -> None:
        """Take in a chunk.

        Raises:
            InputError: a word names a flow beyond the batch.
            ArtifactError: the scores are not finite.
        """
        if len(words) and not 0 <= int(words.flow.min()) <= int(words.flow.max()) < len(self._probability):
            raise InputError("words", f"a flow index is outside 0..{len(self._probability) - 1}")
        log_odds = malicious_log_odds(scores.class_probability, self._calibration.temperature)
        probability = probability_from_log_odds(log_odds).astype(np.float32)
        closes = np.flatnonzero(words.is_close)
        order = closes[np.lexsort((words.is_orig[closes], probability[closes], words.flow[closes]))]
        flow = words.flow[order]
        is_last = np.append(flow[1:] != flow[:-1], True)[: len(order)]
        picked = order[is_last]
        self._keep(picked[self._is_stronger(words, probability, picked)], words, scores, probability)

    def _is_stronger(
        self, words: WordBatch, probability: npt.NDArray[np.float32], picked: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        flow = words.flow[picked]
        before, now = self._probability[flow], probability[picked]
        is_tie_won = (now == before) & words.is_orig[picked] & ~self._is_orig[flow]
        return np.asarray(np.isnan(before) | (now > before) | is_tie_won)

    def _keep(
        self,
        picked: npt.NDArray[np.int64],
        words: WordBatch,
        scores: Scores,
        probability: npt.NDArray[np.float32],
    ) -> None:
        flow, class_probability = words.flow[picked], scores.class_probability[picked]
        attack_class = likeliest_attack(class_probability)
        self._probability[flow] = probability[picked]
        self._attack_class[flow] = attack_class
        self._ton_class[flow] = scores.ton_probability[picked].argmax(axis=1)
        self._device[flow] = words.device[picked]
        self._is_orig[flow] = words.is_orig[picked]
        self._role[flow] = assign_roles(scores.role_probability[picked], words.is_orig[picked], attack_class)
        self._surprise_nats[flow] = scores.surprise_nats[picked]

    def innocent(self, flow: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of the flows ``flow`` that are not judged malicious so far, each once."""
        distinct = np.unique(flow)
        return np.asarray(distinct[~(self._probability[distinct] > self._calibration.flow_threshold)])

    def verdicts(self) -> FlowVerdicts:
        """The verdicts as they stand."""
        is_malicious = self._probability > self._calibration.flow_threshold
        return FlowVerdicts(
            malicious_probability=self._probability.copy(),
            is_malicious=is_malicious,
            attack_class=np.where(is_malicious, self._attack_class, 0).astype(np.int8),
            ton_class=self._ton_class.copy(),
            device=self._device.copy(),
            role=np.where(is_malicious, self._role, 0).astype(np.int8),
            surprise_nats=self._surprise_nats.copy(),
        )


def judge_flows(chunks: Iterable[tuple[WordBatch, Scores]], flow_count: int, calibration: Calibration) -> FlowVerdicts:
    """Judge all flows of a batch from the scored chunks of its words.

    Args:
        chunks: words and their scores, in the encoder's order.
        flow_count: flows in the batch.
        calibration: of the model that scored.
    """
    judge = FlowJudge(flow_count, calibration)
    for words, scores in chunks:
        judge.update(words, scores)
    return judge.verdicts()
