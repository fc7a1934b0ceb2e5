"""The live loop finds and orders what a replay of the same packets does, whatever comes at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from live_builder import RecordedSource, read_packets
from thingwarden.config import PACKAGED_MODEL, PACKAGED_SAMPLE
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange
from thingwarden.domain.packet import PacketBatch, PacketsRead
from thingwarden.domain.response import Act, Decision, Receipt, ReceiptStatus, Refusal
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.ingest.source import open_source
from thingwarden.model.artifact import Artifact, load_artifact
from thingwarden.model.scorer import FlowScorer
from thingwarden.respond.playbook import load_playbook
from thingwarden.respond.policy import NetworkView
from thingwarden.respond.rehearse import Rehearsal, rehearse
from thingwarden.serve.entries import decision_entry, receipt_entry
from thingwarden.serve.explain import Explainer, recalling
from thingwarden.serve.live import Carried, Live, LiveSummary, Told
from thingwarden.serve.replay import Replay, ReplayPlan, ReplayResult
from thingwarden.serve.store import Journal
from thingwarden.testing import RecordingEnforcer


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load_artifact(PACKAGED_MODEL)


@pytest.fixture(scope="module")
def packets() -> PacketBatch:
    return read_packets(PACKAGED_SAMPLE)


@pytest.fixture(scope="module")
def plan(artifact: Artifact) -> ReplayPlan:
    return ReplayPlan(calibration=artifact.calibration, playbook=load_playbook())


@pytest.fixture(scope="module")
def replayed(artifact: Artifact, plan: ReplayPlan) -> ReplayResult:
    vocabulary, scorer = Vocabulary.from_json(artifact.vocabulary), recalling(FlowScorer(artifact))
    explainer = Explainer(scorer, vocabulary, plan.calibration.temperature)
    source = open_source(PACKAGED_SAMPLE)
    return Replay(source, SentenceEncoder(vocabulary), scorer, DryRunEnforcer(), plan, explainer=explainer).run()


def build_live(
    artifact: Artifact,
    plan: ReplayPlan,
    source: RecordedSource,
    tell: Callable[[Told], None] | None = None,
    row_count: int = 16_384,
    journal: Journal | None = None,
    enforcer: RecordingEnforcer | DryRunEnforcer | None = None,
    key: bytes | None = None,
) -> Live:
    vocabulary, scorer = Vocabulary.from_json(artifact.vocabulary), recalling(FlowScorer(artifact))
    return Live(
        source,
        SentenceEncoder(vocabulary),
        scorer,
        enforcer or DryRunEnforcer(),
        plan,
        explainer=Explainer(scorer, vocabulary, plan.calibration.temperature),
        recalls=scorer,
        journal=journal,
        key=key,
        tell=tell,
        clock=source.clock,
        row_count=row_count,
    )


def never() -> bool:
    return False


def without_rows(incident: Incident) -> Incident:
    """Rows of a store are not those of a file."""
    return replace(
        incident,
        detections=tuple(replace(item, flow=0) for item in incident.detections),
        reasons=tuple(replace(item, flow=0) for item in incident.reasons),
    )


@pytest.mark.parametrize("count", [150, 4000])
def test_incidents_and_orders_are_those_of_a_replay(
    artifact: Artifact, plan: ReplayPlan, packets: PacketBatch, replayed: ReplayResult, count: int
) -> None:
    told: list[Told] = []
    summary = build_live(artifact, plan, RecordedSource(packets, count), told.append).run(never)
    assert [without_rows(item) for item in summary.incidents] == [without_rows(item) for item in replayed.incidents]
    assert [item.decision for item in told if isinstance(item, Carried)] == list(replayed.decisions)
    assert [item for item in told if isinstance(item, Refusal)] == list(replayed.refusals)
    assert (summary.flow_count, summary.word_count) == (replayed.flow_count, words_of(replayed, artifact))
    assert {item.name: item.flow_count for item in summary.devices if item.flow_count} == {
        item.name: item.flow_count for item in replayed.devices if item.device.index
    }


def words_of(replayed: ReplayResult, artifact: Artifact) -> int:
    encoder = SentenceEncoder(Vocabulary.from_json(artifact.vocabulary))
    return sum(len(words) for words in encoder.encode(replayed.flows))


def test_it_stays_within_few_rows_and_still_finds_the_attackers(
    artifact: Artifact, plan: ReplayPlan, packets: PacketBatch, replayed: ReplayResult
) -> None:
    summary = build_live(artifact, plan, RecordedSource(packets, 400), row_count=1024).run(never)
    assert summary.flow_count >= replayed.flow_count
    assert summary.evicted_flow_count + summary.hastened_flow_count > 0
    offenders = {item.device.name for item in replayed.incidents if item.role.value == "offender"}
    assert offenders <= {item.device.name for item in summary.incidents if item.role.value == "offender"}


def test_every_stage_of_an_order_is_timed_in_order(artifact: Artifact, plan: ReplayPlan, packets: PacketBatch) -> None:
    told: list[Told] = []
    build_live(artifact, plan, RecordedSource(packets, 200), told.append).run(never)
    courses = [item.course for item in told if isinstance(item, Carried)]
    assert courses
    for course in courses:
        stages = [getattr(course, name) for name in course.__slots__]
        assert stages == sorted(stages)


def test_orders_reach_the_enforcer_and_end_when_their_time_is_over(
    artifact: Artifact, plan: ReplayPlan, packets: PacketBatch
) -> None:
    told: list[Told] = []
    enforcer = RecordingEnforcer()
    source = RecordedSource(packets, 1000)
    last = source.parts[-1].take(np.array([0]))
    late = replace(last, at_s=last.at_s + 7 * 86_400.0)
    source.parts.append(late)
    summary = build_live(artifact, plan, source, told.append, enforcer=enforcer).run(never)
    applied = [item.decision.decision_id for item in told if isinstance(item, Carried)]
    ended = [item.decision_id for item in told if isinstance(item, Receipt)]
    assert summary.decision_count == len(applied) > 0
    assert set(ended) == set(applied)
    assert enforcer.in_force(datetime.fromtimestamp(source.now_s, UTC)) == ()
    assert all(item.ended_at is not None for item in summary.incidents)


def test_it_stops_when_it_is_told_to(artifact: Artifact, plan: ReplayPlan, packets: PacketBatch) -> None:
    source = RecordedSource(packets, 100)
    asked: list[int] = []
    summary = build_live(artifact, plan, source).run(lambda: bool(asked.append(0)) or len(asked) > 3)
    assert summary.packet_count == 300


def test_silence_ends_flows_and_incidents(artifact: Artifact, plan: ReplayPlan, packets: PacketBatch) -> None:
    class FallingSilent(RecordedSource):
        """Says nothing for an hour when its packets are over."""

        def read(self, wait_s: float) -> PacketsRead:
            if self.parts:
                return replace(super().read(wait_s), is_over=False)
            self.now_s += 3600.0
            return PacketsRead(packets=PacketBatch.empty(), upto_s=self.now_s)

    told: list[Told] = []
    source = FallingSilent(packets, 1000)
    end_s = source.now_s + 3 * 3600.0
    build_live(artifact, plan, source, told.append).run(lambda: source.now_s > end_s)
    changes = [item for item in told if isinstance(item, IncidentChange)]
    opened = {item.incident.incident_id for item in changes if item.kind is ChangeKind.OPENED}
    assert opened
    assert opened == {item.incident.incident_id for item in changes if item.kind is ChangeKind.ENDED}


def test_what_happened_is_in_the_journal(
    artifact: Artifact, plan: ReplayPlan, packets: PacketBatch, tmp_path: Path
) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        source = RecordedSource(packets, 1000)
        summary = build_live(artifact, plan, source, journal=journal).run(never)
        assert {item["incident_id"] for item in journal.incidents()} == {item.incident_id for item in summary.incidents}
        assert {item["name"] for item in journal.devices()} == {item.name for item in summary.devices}
        kinds = [entry.kind for entry in journal.entries()]
        assert journal.verify().broken_at is None
    assert kinds.count("decision") == summary.decision_count == kinds.count("receipt")
    assert kinds.count("run") == 1


def test_a_dry_run_says_so(artifact: Artifact, plan: ReplayPlan, packets: PacketBatch) -> None:
    told: list[Told] = []
    summary: LiveSummary = build_live(artifact, plan, RecordedSource(packets, 1000), told.append).run(never)
    statuses = {item.receipt.status for item in told if isinstance(item, Carried)}
    assert statuses == {ReceiptStatus.DRY_RUN}
    assert summary.started_at <= summary.ended_at


def test_what_an_earlier_run_left_in_force_makes_its_device_silent(
    artifact: Artifact, plan: ReplayPlan, packets: PacketBatch, replayed: ReplayResult, tmp_path: Path
) -> None:
    """The attacker's flows are touched from the first on: no incident of it, no order; of others as ever."""
    offender = next(item for item in replayed.incidents if item.role.value == "offender").device
    begun = datetime.fromtimestamp(float(packets.at_s[0]), UTC) - timedelta(minutes=1)
    asked = Rehearsal(act=Act.ISOLATE, device=offender, ttl_s=7200.0, approved_by="ada")
    _, decision = rehearse(asked, view=NetworkView(), settings=plan.policy, now=begun)
    assert isinstance(decision, Decision)
    enforcer, key = RecordingEnforcer(), b"k" * 32
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.append([decision_entry(decision, key), receipt_entry(enforcer.apply(decision, begun), "")])
        told: list[Told] = []
        source = RecordedSource(packets, 1000)
        live = build_live(artifact, plan, source, told.append, journal=journal, enforcer=enforcer, key=key)
        summary = live.run(never)
    named = {item.device.mac for item in summary.incidents if item.role.value == "offender"}
    before = {item.device.mac for item in replayed.incidents if item.role.value == "offender"}
    assert named == before - {offender.mac}
    ordered = [item.decision for item in told if isinstance(item, Carried)]
    assert all(item.target.device is None or item.target.device.mac != offender.mac for item in ordered)
