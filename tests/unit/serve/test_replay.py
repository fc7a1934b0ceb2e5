"""Replay: from a source to incidents, orders, journal and judged flows."""

from __future__ import annotations

import io
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from thingwarden.detect.attribution import Question
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Reason
from thingwarden.domain.response import Act, ReceiptStatus
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.respond.playbook import load_playbook
from thingwarden.serve.entries import incident_report, known_network
from thingwarden.serve.replay import Explains, Replay, ReplayPlan, ReplayResult, write_flows, write_flows_to
from thingwarden.serve.store import Journal
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

BOT, CAMERA, ROUTER = "192.168.1.10", "192.168.1.20", "192.168.1.1"
BEACONS = 40


class ListedFlows:
    """A source of batches given beforehand."""

    def __init__(self, *batches: FlowBatch) -> None:
        self._batches = batches

    def batches(self) -> Iterator[FlowBatch]:
        yield from self._batches


def home_flows() -> FlowBatch:
    beacons = [FlowSpec(at_s=row * 30.0, orig=BOT, resp="203.0.113.5", resp_port=6667) for row in range(BEACONS)]
    names = [
        FlowSpec(at_s=row * 20.0, orig=CAMERA, resp=ROUTER, proto="udp", resp_port=53, service="dns")
        for row in range(50)
    ]
    return build_flows([*beacons, *names])


def run(journal: Journal | None = None, chunk_words: int = 8192, explainer: Explains | None = None) -> ReplayResult:
    flows = home_flows()
    half = len(flows) // 2
    plan = ReplayPlan(calibration=Calibration(), playbook=load_playbook(), chunk_words=chunk_words)
    return Replay(
        ListedFlows(flows.take(slice(0, half)), flows.take(slice(half, None))),
        FlowWordEncoder(build_devices([BOT, CAMERA, ROUTER])),
        ScriptedScorer(dict.fromkeys(range(BEACONS), (0.99, AttackClass.C2))),
        DryRunEnforcer(),
        plan,
        explainer=explainer,
        journal=journal,
    ).run()


def test_the_bot_is_found_and_only_its_controller_blocked() -> None:
    result = run()
    (incident,) = result.incidents
    assert incident.device.name == BOT
    assert [(decision.act, str(decision.target)) for decision in result.decisions] == [
        (Act.NOTIFY, BOT),
        (Act.BLOCK_FLOW, f"{BOT} to 203.0.113.5 tcp/6667"),
    ]
    assert {receipt.status for receipt in result.receipts} == {ReceiptStatus.DRY_RUN}
    assert result.malicious_flow_count == BEACONS


def test_devices_are_summed_up_and_the_resolver_known() -> None:
    devices = {summary.name: summary for summary in run().devices}
    assert devices[ROUTER].role == "DNS server"
    assert (devices[BOT].flow_count, devices[BOT].malicious_flow_count) == (BEACONS, BEACONS)
    assert len(devices[BOT].incident_ids) == 1
    assert devices[CAMERA].incident_ids == ()


def test_small_chunks_find_the_same() -> None:
    whole, parts = run(), run(chunk_words=7)
    assert parts.incidents == whole.incidents
    assert parts.decisions == whole.decisions


def test_the_journal_holds_what_was_found_and_is_sound(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        result = run(journal)
        assert journal.verify().broken_at is None
        (incident,) = journal.incidents()
        assert incident["flow_count"] == BEACONS
        shown = incident_report(journal, incident["incident_id"][:4])
        assert [decision["act"] for decision in shown["decisions"]] == ["notify", "block_flow"]
        assert len(shown["receipts"]) == len(result.receipts)
        assert [device["name"] for device in journal.devices()] == sorted([BOT, CAMERA, ROUTER])
        assert ipaddress.ip_address(ROUTER) in known_network(journal).protected_addresses
        assert {entry.body["signature"] for entry in journal.entries(kind="decision")} == {None}


def test_judged_flows_are_json_lines() -> None:
    stream = io.StringIO()
    assert write_flows(run(), stream) == BEACONS + 50
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    first, last = rows[0], rows[-1]
    assert (first["device"], first["role"], first["is_malicious"], first["attack_class"]) == (
        BOT,
        "offender",
        True,
        "c2",
    )
    assert (last["is_malicious"], last["service"], last["resp"]) == (False, "dns", ROUTER)


def test_flows_that_cannot_be_written_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="flows"):
        write_flows_to(run(), tmp_path / "absent" / "flows.jsonl")


def test_no_flows_give_an_empty_result() -> None:
    plan = ReplayPlan(calibration=Calibration(), playbook=load_playbook())
    result = Replay(ListedFlows(), FlowWordEncoder([]), ScriptedScorer({}), DryRunEnforcer(), plan).run()
    assert (result.flow_count, result.incidents, result.devices, result.first_seen_at) == (0, (), (), None)


class OneReason:
    """An explainer that says the same of everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def explain(self, question: Question, flows: FlowBatch) -> tuple[Reason, ...]:
        self.asked.append(question)
        attack_class, flow = question.attack_class, question.witnesses[0].flow
        return (
            Reason(topic="rhythm", text="a beat", nats=3.0, together_nats=3.0, attack_class=attack_class, flow=flow),
        )


def test_reasons_reach_the_incident_and_the_journal(tmp_path: Path) -> None:
    explainer = OneReason()
    with Journal(tmp_path / "journal.db") as journal:
        result = run(journal, explainer=explainer)
        (kept,) = journal.incidents()
    (question,) = explainer.asked
    (incident,) = result.incidents
    assert question.incident_id == incident.incident_id
    assert [reason.text for reason in incident.reasons] == ["a beat"]
    assert kept["reasons"][0]["topic"] == "rhythm" and kept["reasons"][0]["attack_class"] == "c2"
