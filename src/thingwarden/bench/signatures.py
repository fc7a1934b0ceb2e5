"""Signature engines beside the product, on the same packets in the same run.

In: the folder of public captures, runs of the lab, a model, the engines that are installed. Out: the figures.
Must never: add what the model learned from to what it is compared by, or leave out a capture that went badly.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from thingwarden.bench import snort, suricata
from thingwarden.bench.alarms import Alarm, Judgement, judge_alerts, judge_incidents
from thingwarden.bench.contestants import FittedScorer, ScoringContestant
from thingwarden.bench.measure import count_mask
from thingwarden.bench.metrics import device_days
from thingwarden.bench.recordings import Recording, load_session
from thingwarden.domain.alert import ALERT_COLUMNS, AlertBatch
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.ingest.lab_corpus import split_acts
from thingwarden.model.artifact import Artifact
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.weighting import require_labels, weigh_patterns

PRODUCT: Final = "thingwarden"
MOST_NAMES: Final = 12
"""So many names of alarms are kept per capture, the most frequent ones."""

FORMAT: Final = "thingwarden-signatures/1"

Record = dict[str, Any]


class Judge(Protocol):
    """Whoever says something about a session."""

    def __call__(self, paths: Sequence[Path], flows: FlowBatch, /) -> Judgement:
        """Judge packets in ``paths``, or the labelled flows that were metered from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What is compared.

    Attributes:
        recordings: all of them.
        artifact: the model, with the thresholds that it ships with.
        rule_folders: two contestants each, one as packaged, one that also looks at attacks from inside.
        snort_configuration, snort_rules: for Snort; None leaves it out.
        kept: folder for one record per contestant and recording.
    """

    recordings: tuple[Recording, ...]
    artifact: Artifact
    rule_folders: tuple[Path, ...]
    snort_configuration: Path | None
    snort_rules: Path | None
    kept: Path


def run_contest(contest: Contest, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Let every contestant that can run here judge every recording.

    Args:
        contest: what is compared; records that an earlier run of the same code kept are not made again.
        progress: told how many recordings are judged, and of how many.

    Returns:
        ``records`` by contestant, ``engines`` with their rules and cost, ``not_run`` with the reasons.

    Raises:
        InputError: a capture, a set of rules or a run is not what it claims to be.
        RequestError: an engine failed.
    """
    why_not = {
        "suricata": suricata.reason_not_run() or ("" if contest.rule_folders else "no rules in the data folder"),
        "snort": snort.reason_not_run(contest.snort_configuration, contest.snort_rules),
    }
    contestant_count = 1 + (0 if why_not["suricata"] else 2 * len(contest.rule_folders)) + (not why_not["snort"])
    steps = _Steps(progress, contestant_count * len(contest.recordings))
    found: dict[str, Any] = {"format": FORMAT, "model": _describe_model(contest.artifact), "records": {}, "engines": {}}
    found["records"][PRODUCT] = _judge_all(contest, PRODUCT, _product_judge(contest.artifact), steps)
    if not why_not["suricata"]:
        with tempfile.TemporaryDirectory(prefix="tw-rules-") as unpacked:
            for folder in contest.rule_folders:
                rules = suricata.unpack_rules(folder, Path(unpacked) / folder.name)
                for has_any_source in (False, True):
                    _run_suricata(contest, replace(rules, has_any_source=has_any_source), found, steps)
    if not why_not["snort"]:
        found["records"]["snort"] = _judge_all(contest, "snort", _snort_judge(contest), steps)
    return {**found, "not_run": {name: reason for name, reason in why_not.items() if reason}}


class _Steps:
    """Counts what is done."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def take(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)


def _describe_model(artifact: Artifact) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "trained_at": artifact.manifest.get("trained_at", "unknown"),
        "network_sha256": hashlib.sha256(artifact.network).hexdigest(),
        "evidence_nats": artifact.calibration.evidence_nats,
        "alarm_level_nats": artifact.calibration.alarm_level_nats,
    }


def _product_judge(artifact: Artifact) -> Judge:
    fitted = FittedScorer(
        vocabulary=Vocabulary.from_json(artifact.vocabulary),
        scorer=FlowScorer(artifact),
        calibration=artifact.calibration,
    )
    contestant = ScoringContestant.ready(PRODUCT, fitted)

    def judge(_paths: Sequence[Path], flows: FlowBatch) -> Judgement:
        assessment = contestant.assess(flows)
        return judge_incidents(flows, assessment.verdicts, assessment.incidents)

    return judge


def _run_suricata(contest: Contest, rules: suricata.RuleSet, found: dict[str, Any], steps: _Steps) -> None:
    """Judge by one set of rules; the engine starts only if some record is missing."""
    version = suricata.version()
    identity = f"{rules.title} {version} {rules.sha256}"
    with _lazy_engine(rules) as engine:
        found["records"][rules.title] = _judge_all(contest, identity, engine.judge, steps)
        summary = contest.kept / _folder_name(identity) / "engine.json"
        if engine.is_running:
            summary.write_text(json.dumps(engine.describe()), encoding="utf-8")
    facts = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
    found["engines"][rules.title] = {"version": version, "rules_sha256": rules.sha256, **facts}


class _LazyEngine:
    """Suricata, started when the first capture comes."""

    def __init__(self, rules: suricata.RuleSet) -> None:
        self._rules = rules
        self._engine: suricata.Suricata | None = None
        self._start = suricata.ProcessCost(cpu_s=0.0, peak_bytes=0)
        self._capture_count = 0

    @property
    def is_running(self) -> bool:
        return self._engine is not None

    def judge(self, paths: Sequence[Path], flows: FlowBatch) -> Judgement:
        if self._engine is None:
            self._engine = suricata.Suricata(self._rules).__enter__()
            self._start = self._engine.cost()
        self._capture_count += len(paths)
        return judge_alerts(flows, join_batches([self._engine.alerts(path) for path in paths]))

    def describe(self) -> dict[str, Any]:
        assert self._engine is not None
        loaded, refused = self._engine.rule_counts
        spent = {"started": asdict(self._start), "ended": asdict(self._engine.cost())}
        return {"rules_loaded": loaded, "rules_refused": refused, **spent, "captures": self._capture_count}

    def end(self) -> None:
        if self._engine is not None:
            self._engine.__exit__(None, None, None)


@contextmanager
def _lazy_engine(rules: suricata.RuleSet) -> Iterator[_LazyEngine]:
    engine = _LazyEngine(rules)
    try:
        yield engine
    finally:
        engine.end()


def _snort_judge(contest: Contest) -> Judge:
    configuration, rules = contest.snort_configuration, contest.snort_rules
    assert configuration is not None and rules is not None

    def judge(paths: Sequence[Path], flows: FlowBatch) -> Judgement:
        batches = [snort.run_snort(path, configuration, rules) for path in paths]
        return judge_alerts(flows, join_batches(batches))

    return judge


def join_batches(batches: Sequence[AlertBatch]) -> AlertBatch:
    """The alerts of several files of one session, in order; at least one batch."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(batch, name) for batch in batches]) for name in ALERT_COLUMNS
    }
    for name in ("signature", "category"):
        columns[name] = tuple(text for batch in batches for text in getattr(batch, name))
    return AlertBatch(**columns)


def _judge_all(contest: Contest, identity: str, judge: Judge, steps: _Steps) -> list[Record]:
    if identity == PRODUCT:
        identity = f"{PRODUCT} {hashlib.sha256(contest.artifact.network).hexdigest()}"
        identity += contest.artifact.calibration.to_json()
    folder = contest.kept / _folder_name(identity)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for recording in contest.recordings:
        path = folder / f"{recording.name.replace('/', '_')}.json"
        key = _key(recording, identity)
        record = _read_kept(path, key)
        if record is None:
            record = {"key": key, **judge_recording(recording, judge)}
            unfinished = path.with_suffix(".partial")
            unfinished.write_text(json.dumps(record), encoding="utf-8")
            unfinished.replace(path)
        record["is_seen"] = is_seen(recording, contest.artifact)
        records.append({name: value for name, value in record.items() if name != "key"})
        steps.take()
    return records


def is_seen(recording: Recording, artifact: Artifact) -> bool:
    """Whether the model learned from the capture, or had its thresholds set on it, as its card says."""
    return f"\n| {recording.name} |" in artifact.card


def _folder_name(identity: str) -> str:
    return f"{identity.split()[0]}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _key(recording: Recording, identity: str) -> str:
    """Hash of the contestant, of the files, and of the code that turns both into a record."""
    digest = hashlib.sha256(identity.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        if source.stem in ("alarms", "recordings", "signatures", "suricata", "snort"):
            digest.update(source.read_bytes())
    for path in (path for session in recording.sessions for path in session):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _read_kept(path: Path, key: str) -> Record | None:
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.get("key") == key else None


def judge_recording(recording: Recording, judge: Judge) -> Record:
    """Raw counts of one recording, all its sessions.

    Raises:
        InputError: a file is not what it claims to be.
    """
    judged = []
    for paths in recording.sessions:
        flows = load_session(recording, paths)
        if not flows.is_timed:
            raise InputError(str(paths[0]), "tells no time", "give packets")
        judged.append((flows, judge(paths, flows)))
    flows = FlowBatch.concatenate([flows for flows, _ in judged])
    session = np.repeat(np.arange(len(judged)), [len(flows) for flows, _ in judged])
    said = np.concatenate([judgement.said for _, judgement in judged])
    said_loudly = np.concatenate([judgement.said_loudly for _, judgement in judged])
    alarmed_at_s = np.concatenate([judgement.alarmed_at_s for _, judgement in judged])
    labels, weight = require_labels(flows), weigh_patterns(flows)
    alarms = [alarm for _, judgement in judged for alarm in judgement.alarms]
    accused = [[alarm for alarm in judgement.alarms if alarm.is_true is False] for _, judgement in judged]
    return {
        "recording": recording.name,
        "collection": recording.collection,
        "sessions": len(judged),
        "flows": len(flows),
        "device_days": device_days(flows, session),
        "malicious": _count_both(labels.malicious == 1, said, said_loudly, weight),
        "benign": _count_both(labels.malicious == 0, said, said_loudly, weight),
        "alarms": count_alarms(alarms),
        "unjoined": sum(judgement.unjoined for _, judgement in judged),
        "sessions_accused": sum(map(bool, accused)),
        "sessions_accused_loudly": sum(any(alarm.is_loud for alarm in some) for some in accused),
        "acts": count_acts(flows, said, alarmed_at_s),
        "names": name_alarms(alarms),
        "first_alarm_after_s": _first_after_s(flows, alarms),
    }


def _count_both(mask: Any, said: Any, said_loudly: Any, weight: Any) -> dict[str, Any]:
    loud = count_mask(mask, said_loudly, weight)
    named = {f"{unit}_said_loudly": loud[f"{unit}_said"] for unit in ("rows", "weight")}
    return {**count_mask(mask, said, weight), **named}


def count_alarms(alarms: Sequence[Alarm]) -> dict[str, int]:
    """True and false ones, all and the loud ones; of the true ones, those that name a role, and the right one."""
    counts = {}
    for name, is_true in (("true", True), ("false", False), ("unlabelled", None)):
        chosen = [alarm for alarm in alarms if alarm.is_true is is_true]
        counts[name] = len(chosen)
        counts[f"{name}_loud"] = sum(alarm.is_loud for alarm in chosen)
    roles = [alarm.has_right_role for alarm in alarms if alarm.has_right_role is not None]
    return {**counts, "with_role": len(roles), "with_right_role": sum(roles)}


def count_acts(flows: FlowBatch, said: Any, alarmed_at_s: Any) -> dict[str, Record]:
    """For each attack by name: its class, flows, flows called malicious, and seconds from its start to an alarm.

    Args:
        flows: labelled.
        said: bool (n,).
        alarmed_at_s: as in ``Judgement``.

    Returns:
        By act; ``after_s`` is None where no alarm spoke of any of its flows.
    """
    labels = require_labels(flows)
    names, act = split_acts(labels.detail)
    table: dict[str, Record] = {}
    for code, name in enumerate(names):
        rows = np.flatnonzero((labels.malicious == 1) & (act == code))
        if len(rows):
            first_s = float(alarmed_at_s[rows].min())
            begun_s = float(flows.started_at_s[rows].min())
            table[name] = {
                "class": CLASSES[int(np.bincount(labels.attack_class[rows].clip(0)).argmax())].value,
                "rows": len(rows),
                "rows_said": int(said[rows].sum()),
                "after_s": max(0.0, first_s - begun_s) if np.isfinite(first_s) else None,
            }
    return table


def name_alarms(alarms: Sequence[Alarm]) -> list[Record]:
    """The most frequent names with how often each was right, wrong, or about flows without a label."""
    total = Counter(alarm.name for alarm in alarms)
    return [
        {
            "name": name,
            "is_loud": any(alarm.is_loud for alarm in alarms if alarm.name == name),
            **{
                key: sum(alarm.name == name and alarm.is_true is value for alarm in alarms)
                for key, value in (("true", True), ("false", False), ("unlabelled", None))
            },
        }
        for name, _ in total.most_common(MOST_NAMES)
    ]


def _first_after_s(flows: FlowBatch, alarms: Sequence[Alarm]) -> float | None:
    if not alarms or not len(flows):
        return None
    return max(0.0, min(alarm.at_s for alarm in alarms) - float(flows.started_at_s.min()))


def read_held_out(cells: Path) -> Mapping[str, list[Record]]:
    """What the referee counted for the product's recipe on captures held out of its training, by capture.

    Args:
        cells: folder of ``thingwarden bench accuracy``; empty or missing gives nothing.
    """
    found: dict[str, list[Record]] = {}
    for path in sorted(cells.glob("flow-lm.[0-9].seed*.json")):
        for record in json.loads(path.read_text(encoding="utf-8")).get("captures", []):
            found.setdefault(record["capture"], []).append(record)
    return found
