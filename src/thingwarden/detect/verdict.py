"""Scores to one verdict per flow, however its words are spread over chunks.

In: ``WordBatch`` and ``Scores``, chunk after chunk, and what the correlator made evidence of an incident.
Out: ``FlowVerdicts``, one entry per flow. A flow with a history is malicious when it is evidence of an incident: among
tens of thousands of dependent words a day the loudest say nothing alone. A flow without any is judged by threshold.
Must never: judge a flow by the class of its opening word, which knows no outcome.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.correlate import Accusation
from thingwarden.detect.evidence import assign_roles, likeliest_attack, malicious_log_odds, probability_from_log_odds
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.errors import InputError
from thingwarden.domain.word import Scores, WordBatch

_TIE_NATS: Final = 1e-9
"""Of two ends that accuse a flow alike, its originator's word counts."""


class FlowJudge:
    """Keeps the most suspicious closing word of each flow.

    Args:
        flow_count: flows in the batch that was encoded.
        calibration: of the model that scores.
        is_timed: whether the flows have a history, and incidents can be made of them.
    """

    def __init__(self, flow_count: int, calibration: Calibration, *, is_timed: bool = True) -> None:
        self._calibration = calibration
        self._is_timed = is_timed
        self._probability = np.empty(flow_count, dtype=np.float32)
        self._attack_class = np.empty(flow_count, dtype=np.int8)
        self._ton_class = np.empty(flow_count, dtype=np.int8)
        self._device = np.empty(flow_count, dtype=np.int32)
        self._is_orig = np.empty(flow_count, dtype=np.bool_)
        self._role = np.empty(flow_count, dtype=np.int8)
        self._surprise_nats = np.empty(flow_count, dtype=np.float32)
        self._loudness = np.empty(flow_count)
        self._accused_device = np.empty(flow_count, dtype=np.int32)
        self._accused_role = np.empty(flow_count, dtype=np.int8)
        self._accused_class = np.empty(flow_count, dtype=np.int8)
        self.forget_flows(slice(None))

    def forget_flows(self, rows: npt.NDArray[np.int64] | slice) -> None:
        """Know nothing of these flows: their rows become those of others."""
        self._probability[rows] = self._surprise_nats[rows] = np.nan
        self._ton_class[rows] = self._device[rows] = self._accused_device[rows] = -1
        self._attack_class[rows] = self._role[rows] = self._accused_role[rows] = self._accused_class[rows] = 0
        self._is_orig[rows] = False
        self._loudness[rows] = -np.inf

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

    def accuse(self, accusations: Iterable[Accusation]) -> None:
        """Call the flows of an incident malicious; the loudest word says who did it and what it was.

        Only closing words do: an opening may still prove harmless. Strangeness does where it alarmed. What others know
        makes no flow malicious: it is told beside the model's verdict.
        """
        for accusation in accusations:
            words = accusation.words
            rows = np.flatnonzero(words.is_close & ((words.gain > 0) | ((words.strange > 0) & accusation.is_strange)))
            rows = rows[np.lexsort((words.is_orig[rows], words.log_odds[rows], words.flow[rows]))]
            rows = rows[np.append(words.flow[rows][1:] != words.flow[rows][:-1], True)[: len(rows)]]
            loudness = words.log_odds[rows] + words.is_orig[rows] * _TIE_NATS
            rows = rows[loudness > self._loudness[words.flow[rows]]]
            flow = words.flow[rows]
            self._loudness[flow] = words.log_odds[rows] + words.is_orig[rows] * _TIE_NATS
            self._accused_device[flow], self._accused_role[flow] = accusation.device, accusation.role
            self._accused_class[flow] = words.attack_class[rows]

    def innocent(self, flow: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of the flows ``flow`` whose closing words are below the threshold so far, each once."""
        distinct = np.unique(flow)
        return np.asarray(distinct[~(self._probability[distinct] > self._calibration.flow_threshold)])

    def verdicts(self) -> FlowVerdicts:
        """The verdicts as they stand."""
        is_accused = np.isfinite(self._loudness)
        is_loud = self._probability > self._calibration.flow_threshold
        is_malicious = is_accused if self._is_timed else is_loud
        return FlowVerdicts(
            malicious_probability=self._probability.copy(),
            is_malicious=is_malicious,
            attack_class=np.where(is_accused, self._accused_class, np.where(is_malicious, self._attack_class, 0)),
            ton_class=self._ton_class.copy(),
            device=np.where(is_accused, self._accused_device, self._device),
            role=np.where(is_accused, self._accused_role, np.where(is_malicious, self._role, 0)),
            surprise_nats=self._surprise_nats.copy(),
        )
