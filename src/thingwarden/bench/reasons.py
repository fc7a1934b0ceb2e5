"""Are the reasons of incidents causes? Puts harmless answers in the place of what was named, and of what was not.

In: a model, labelled networks that it never learned from. Out: ``Check``s and their figures; a report.
Must never: take the harmless answers from the network that is judged, which the reasons were found with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import EARLIER_TOPICS, Question
from thingwarden.detect.correlate import Correlator
from thingwarden.detect.evidence import malicious_log_odds
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Reason
from thingwarden.domain.word import UNATTRIBUTED
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_INDEX, Vocabulary
from thingwarden.encode.wording import topic_columns
from thingwarden.ingest.lab_corpus import read_manifest, read_network
from thingwarden.model.artifact import Artifact
from thingwarden.model.occlusion import Passage, RecallingScorer
from thingwarden.model.scorer import FlowScorer, SentenceState
from thingwarden.serve.explain import Explainer, recalling
from thingwarden.train.weighting import require_labels

DRAWS: Final = 6
"""Harmless answers drawn per topic and witness."""

POOL_NETWORKS: Final = 4
"""Networks from which harmless answers are drawn, the one that is judged aside."""

CHUNK_WORDS: Final = 2048

_TOPICS: Final = topic_columns()
_NAMES: Final = tuple(_TOPICS)
_KINDS: Final = 8
"""Opening or closing, in either direction, as ``_kinds`` numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What became of a true incident's score under harmless answers.

    Attributes:
        attack_class: wire name of the class that was asked about.
        topic: the first named group of fields.
        named_nats: how far the log-odds fall with harmless answers on it; mean over draws and witnesses.
        other_nats: float64 (topics - 1,), the same for every other group.
        told_nats, untold_nats: mean fall over the groups that were named, and over those that were not.
        explain_s: processor seconds that finding the reasons took.
    """

    attack_class: str
    topic: str
    named_nats: float
    other_nats: npt.NDArray[np.float64]
    told_nats: float
    untold_nats: float
    explain_s: float


class Pool:
    """Harmless words of some networks, by kind, to draw answers from."""

    def __init__(self, networks: Sequence[FlowBatch], vocabulary: Vocabulary) -> None:
        found: list[list[npt.NDArray[np.uint8]]] = [[] for _ in range(_KINDS)]
        for flows in networks:
            is_benign = require_labels(flows).malicious == 0
            for words in SentenceEncoder(vocabulary).encode(flows, CHUNK_WORDS):
                kept = is_benign[words.flow] & (words.device != UNATTRIBUTED)
                kind = _kinds(words.fields, words.is_orig)
                for number, of_kind in enumerate(found):
                    of_kind.append(words.fields[kept & (kind == number)])
        self._words = [np.concatenate(parts) for parts in found]

    def draw(self, passage: Passage, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """A harmless word in the place of each, uint8 (k, F); a word of whose kind there is none stays."""
        drawn = passage.fields.copy()
        for row, kind in enumerate(_kinds(passage.fields, passage.is_orig).tolist()):
            if len(self._words[kind]):
                drawn[row] = self._words[kind][rng.integers(len(self._words[kind]))]
        return drawn


def check_network(flows: FlowBatch, artifact: Artifact, pool: Pool, rng: np.random.Generator) -> list[Check]:
    """Judge a labelled network and check the reasons of every incident that is true.

    Args:
        flows: labelled.
        artifact: the model.
        pool: made of other networks.
        rng: draws harmless answers.
    """
    vocabulary, is_malicious = Vocabulary.from_json(artifact.vocabulary), require_labels(flows).malicious == 1
    inner = FlowScorer(artifact)
    scorer = recalling(inner)
    explainer = Explainer(scorer, vocabulary, artifact.calibration.temperature)
    encoder = SentenceEncoder(vocabulary)
    correlator = Correlator(artifact.calibration, encoder.devices)
    checks = []
    for words in encoder.encode(flows, CHUNK_WORDS):
        correlator.update(words, scorer.score(words), flows)
        for question in correlator.questions():
            if not all(is_malicious[witness.flow] for witness in question.witnesses):
                continue
            began_s = process_time()
            reasons = explainer.explain(question, flows)
            explain_s = process_time() - began_s
            falls = _exchange(question, scorer, inner, is_malicious, pool, rng)
            check = _compare(question, reasons, falls, explain_s)
            checks += [check] if check is not None else []
    return checks


def check_corpus(artifact: Artifact, folder: Path, seed: int = 0) -> Iterator[tuple[int, list[Check]]]:
    """Checks of each network with attacks, with the number of networks that are still to come.

    Raises:
        InputError: no lab corpus, or too few networks in it.
    """
    networks = [network for network in read_manifest(folder).networks if network.purpose == "train"]
    attacked = [network for network in networks if network.acts]
    if not attacked or len(networks) <= POOL_NETWORKS:
        raise InputError(
            str(folder), f"holds {len(networks)} networks, {len(attacked)} with attacks", "draw a larger one"
        )
    vocabulary = Vocabulary.from_json(artifact.vocabulary)
    givers = networks[: POOL_NETWORKS + 1]
    loaded = {network.name: read_network(folder, network) for network in givers}
    shared = Pool([loaded[network.name] for network in givers[:POOL_NETWORKS]], vocabulary)
    for place, network in enumerate(attacked, start=1):
        rest = [flows for name, flows in loaded.items() if name != network.name]
        pool = Pool(rest, vocabulary) if network.name in loaded else shared
        flows = read_network(folder, network)
        yield len(attacked) - place, check_network(flows, artifact, pool, np.random.default_rng([seed, network.number]))


def summarise(checks: Sequence[Check]) -> dict[str, Any]:
    """Figures over at least one check, and the same by attack class."""
    classes = sorted({check.attack_class for check in checks})
    of_class = {name: [check for check in checks if check.attack_class == name] for name in classes}
    costs_ms = 1e3 * np.array([check.explain_s for check in checks])
    return {
        **_figures(checks),
        "explain_ms_median": round(float(np.median(costs_ms)), 1),
        "explain_ms_most": round(float(costs_ms.max()), 1),
        "by_class": {name: _figures(found) for name, found in of_class.items()},
    }


def render(figures: dict[str, Any], model: str) -> str:
    """The report, Markdown."""
    rows = {"all": figures, **figures["by_class"]}
    lines = [
        "# Are the reasons causes?",
        "",
        f"**{figures['beats_random']:.0%}** of the time, harmless answers on the first named group of fields take more "
        f"off the score than harmless answers on another group drawn at random. {figures['questions']} true incidents' "
        f"questions of simulated networks that the model never learned from. Finding reasons takes "
        f"{figures['explain_ms_median']} ms of one core a question (median; at most {figures['explain_ms_most']} ms).",
        "",
        f"Model: {model}. The answers are drawn from harmless words of other networks, {DRAWS} draws a witness; nats "
        'are log-odds of "malicious".',
        "",
        "| class | questions | beats a random group | beats the median group | nats, first named | a random other | "
        "named, mean | not named, mean |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {name} | {row['questions']} | {row['beats_random']:.0%} | {row['beats_median']:.0%} "
            f"| {row['named_nats']:.2f} | {row['other_nats']:.2f} | {row['told_nats']:.2f} | {row['untold_nats']:.2f} |"
            for name, row in rows.items()
        ),
        "",
    ]
    return "\n".join(lines)


def write_report(figures: dict[str, Any], model: str, out: Path) -> Path:
    """Write ``reasons.md`` and ``reasons.json`` into ``out``; the first one's path."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "reasons.json").write_text(json.dumps({"model": model, **figures}, indent=1) + "\n", encoding="utf-8")
    report = out / "reasons.md"
    report.write_text(render(figures, model), encoding="utf-8")
    return report


def _figures(checks: Sequence[Check]) -> dict[str, Any]:
    return {
        "questions": len(checks),
        "beats_random": _mean([float((check.named_nats > check.other_nats).mean()) for check in checks]),
        "beats_median": _mean([float(check.named_nats > np.median(check.other_nats)) for check in checks]),
        "named_nats": _mean([check.named_nats for check in checks]),
        "other_nats": _mean([float(check.other_nats.mean()) for check in checks]),
        "told_nats": _mean([check.told_nats for check in checks]),
        "untold_nats": _mean([check.untold_nats for check in checks]),
    }


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _exchange(
    question: Question,
    scorer: RecallingScorer,
    inner: FlowScorer,
    is_malicious: npt.NDArray[np.bool_],
    pool: Pool,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """How far harmless answers on each topic in the attack's words lower the score, float64 (topics,)."""
    falls = []
    for witness in question.witnesses:
        passage = scorer.recall(question.device, witness.number)
        assert passage is not None  # the explainer has just read it
        is_attack = is_malicious[passage.flow]
        variants = [passage.fields]
        for _ in range(DRAWS):
            drawn = np.where(is_attack[:, None], pool.draw(passage, rng), passage.fields)
            for columns in _TOPICS.values():
                variant = passage.fields.copy()
                variant[:, columns] = drawn[:, columns]
                variants.append(variant)
        before = SentenceState(*(np.repeat(part, len(variants), axis=0) for part in passage.before))
        counts = np.full(len(variants), len(passage))
        log_odds = malicious_log_odds(inner.run_apart(np.stack(variants), counts, before)[0], 1.0)
        falls.append(log_odds[0] - log_odds[1:].reshape(DRAWS, len(_NAMES)).mean(axis=0))
    return np.asarray(np.mean(falls, axis=0))


def _compare(
    question: Question, reasons: tuple[Reason, ...], falls: npt.NDArray[np.float64], explain_s: float
) -> Check | None:
    """None where no group of fields was named."""
    told = np.array([_NAMES.index(reason.topic) for reason in reasons if reason.topic not in EARLIER_TOPICS], dtype=int)
    if not len(told):
        return None
    return Check(
        attack_class=question.attack_class.value,
        topic=_NAMES[told[0]],
        named_nats=float(falls[told[0]]),
        other_nats=np.delete(falls, told[0]),
        told_nats=float(falls[told].mean()),
        untold_nats=float(np.delete(falls, told).mean()),
        explain_s=explain_s,
    )


def _kinds(fields: npt.NDArray[np.uint8], is_orig: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.asarray(2 * fields[:, FIELD_INDEX["kind"]].astype(np.int64) + is_orig)
