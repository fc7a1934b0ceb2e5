"""The live path driven as a gateway drives it: small batches of words, from flow to order, timed stage by stage.

In: an artifact, flows, how many words come together. Out: ``Stream``, seconds of every stage for every batch.
Must never: leave out a stage that the product runs; the replay itself is driven, with a clock between its parts.

Seconds are of processor time: on a core of its own that is the time that passes, and on a machine that does other
things too it does not count them, though they still take room in its caches. What passed on the wall stands beside it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.ports import Scorer
from thingwarden.domain.word import Scores, WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_INDEX, Vocabulary
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.model.artifact import Artifact
from thingwarden.model.occlusion import RecallingScorer
from thingwarden.model.scorer import FlowScorer
from thingwarden.respond.playbook import load_playbook
from thingwarden.serve.explain import Explainer, recalling
from thingwarden.serve.replay import Replay, ReplayPlan

STAGES: Final = ("encode", "score", "judge")
"""Flows to words; words to scores; scores to verdicts, incidents, their reasons and orders."""

BATCH_WORDS: Final = 1000
"""Words that come together in 20 ms where 50,000 come in a second."""

KIND_NAMES: Final = ("masked", "open", "close", "probe", "link")
WARM_UP_RATIO: Final = 0.1
"""Share of the batches that come first and are not counted: tables and caches fill."""


@dataclass(slots=True)
class Stream:
    """One run; b batches.

    Attributes:
        words: how many words each batch held.
        stage_s: by batch the seconds of each of ``STAGES``.
        kinds: words by kind.
        flow_count, incident_count: what went in, and what was found.
        wall_s: seconds that passed from the first flow to the last order.
    """

    words: list[int] = field(default_factory=list)
    stage_s: list[tuple[float, float, float]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    flow_count: int = 0
    incident_count: int = 0
    wall_s: float = 0.0

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """Seconds by batch and stage, float64 (b, 3)."""
        return np.array(self.stage_s)


class _Clock:
    """Stands in for encoder and scorer, and notes how long each takes and how long it is until the next batch."""

    def __init__(self, encoder: SentenceEncoder, scorer: Scorer, stream: Stream) -> None:
        self._encoder, self._scorer, self._stream = encoder, scorer, stream
        self._score_s = 0.0

    @property
    def devices(self) -> Sequence[Device]:
        return self._encoder.devices

    def encode(self, flows: FlowBatch, chunk_words: int = BATCH_WORDS) -> Iterator[WordBatch]:
        asked_at_s = time.thread_time()
        for words in self._encoder.encode(flows, chunk_words):
            given_at_s = time.thread_time()
            self._score_s = 0.0
            yield words
            now_s = time.thread_time()
            rest_s = now_s - given_at_s - self._score_s
            self._stream.words.append(len(words))
            self._stream.stage_s.append((given_at_s - asked_at_s, self._score_s, rest_s))
            kinds = np.bincount(words.fields[:, FIELD_INDEX["kind"]], minlength=1)
            self._stream.kinds.update({KIND_NAMES[kind]: int(kinds[kind]) for kind in np.flatnonzero(kinds)})
            asked_at_s = time.thread_time()

    def score(self, words: WordBatch) -> Scores:
        began_at_s = time.thread_time()
        scores = self._scorer.score(words)
        self._score_s += time.thread_time() - began_at_s
        return scores

    def reset(self) -> None:
        self._scorer.reset()


@dataclass(frozen=True, slots=True)
class _Given:
    """Flows that are at hand."""

    flows: FlowBatch

    def batches(self) -> Iterator[FlowBatch]:
        yield self.flows


@dataclass(frozen=True, slots=True)
class Detector:
    """An encoder and a scorer that remember from one ``stream`` to the next."""

    artifact: Artifact
    encoder: SentenceEncoder
    scorer: RecallingScorer
    explainer: Explainer

    @classmethod
    def fresh(cls, artifact: Artifact) -> Detector:
        """A detector as the product composes it, that has seen nothing.

        Raises:
            ArtifactError: ONNX Runtime refuses the network.
        """
        vocabulary = Vocabulary.from_json(artifact.vocabulary)
        scorer = recalling(FlowScorer(artifact))
        explainer = Explainer(scorer, vocabulary, artifact.calibration.temperature)
        return cls(artifact, SentenceEncoder(vocabulary), scorer, explainer)

    def stream(self, flows: FlowBatch, batch_words: int = BATCH_WORDS) -> Stream:
        """Run the flows through every stage, about ``batch_words`` words at a time."""
        stream = Stream(flow_count=len(flows))
        clock = _Clock(self.encoder, self.scorer, stream)
        plan = ReplayPlan(calibration=self.artifact.calibration, playbook=load_playbook(), chunk_words=batch_words)
        replay = Replay(_Given(flows), clock, clock, DryRunEnforcer(), plan, explainer=self.explainer)
        began_at_s = time.perf_counter()
        result = replay.run()
        stream.wall_s = time.perf_counter() - began_at_s
        stream.incident_count = len(result.incidents)
        return stream


def summarise(runs: Sequence[Stream]) -> dict[str, Any]:
    """What several runs over the same flows say.

    Args:
        runs: at least one, with the same batches.

    Returns:
        ``words_per_s``, ``flows_per_s``: medians over the runs; ``words_per_s_runs``: each run's;
        ``words_per_wall_s_runs``: the same by the clock on the wall, for what else the machine did;
        ``stage_ratios``; ``batch_ms``: quantiles over the batches of all runs; ``words_per_batch``, ``batches``,
        ``kinds`` and ``incidents``: what one run held.
    """
    first = runs[0]
    rates = [_words_per_s(run) for run in runs]
    stage_s = sum(run.seconds[_first_warm(run) :].sum(axis=0) for run in runs)
    batch_s = np.concatenate([run.seconds[_first_warm(run) :].sum(axis=1) for run in runs])
    median = float(np.median(rates))
    return {
        "batches": len(first.words),
        "words_per_batch": sum(first.words) / len(first.words),
        "kinds": dict(first.kinds),
        "incidents": first.incident_count,
        "words_per_s": median,
        "flows_per_s": median * first.flow_count / sum(first.words),
        "words_per_s_runs": rates,
        "words_per_wall_s_runs": [sum(run.words) / run.wall_s for run in runs],
        "stage_ratios": dict(zip(STAGES, (stage_s / np.sum(stage_s)).tolist(), strict=True)),
        "batch_ms": _quantiles(batch_s),
    }


def _first_warm(run: Stream) -> int:
    return int(len(run.words) * WARM_UP_RATIO)


def _words_per_s(run: Stream) -> float:
    """Words of the warm batches per second, with their share of what was put in order before the first."""
    warm = _first_warm(run)
    words = sum(run.words[warm:])
    before_s = run.stage_s[0][0] * words / sum(run.words) if warm else 0.0
    return float(words / (run.seconds[warm:].sum() + before_s))


def _quantiles(seconds: npt.NDArray[np.float64]) -> dict[str, float]:
    found = np.quantile(seconds, (0.5, 0.99, 0.999)) * 1e3
    return dict(zip(("p50", "p99", "p99.9"), found.tolist(), strict=True))
