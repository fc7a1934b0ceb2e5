"""A dead vendor's cloud is not a controller, until it answers."""

from __future__ import annotations

import pytest

from thingwarden.detect.correlate import Correlator
from thingwarden.detect.unreachable import MOST_PEERS
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.incident import Incident, Severity
from thingwarden.domain.response import Act
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.playbook import load_playbook, propose
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

DEVICE = "192.168.1.10"


def watch(specs: list[FlowSpec], attack_class: AttackClass = AttackClass.C2) -> Incident:
    """The incident that these flows, all of them loud, make."""
    devices, flows = build_devices([DEVICE]), build_flows(specs)
    correlator = Correlator(Calibration(), devices)
    scorer = ScriptedScorer(dict.fromkeys(range(len(specs)), (0.999, attack_class)))
    for words in FlowWordEncoder(devices).encode(flows):
        correlator.update(words, scorer.score(words), flows)
    (incident,) = correlator.finish(flows)
    return incident


def calls(count: int, state: str, peers: int = 1) -> list[FlowSpec]:
    received = 200 if state == "SF" else 0
    return [
        FlowSpec(
            at_s=60.0 * row, orig=DEVICE, resp=f"203.0.113.{1 + row % peers}", conn_state=state, resp_bytes=received
        )
        for row in range(count)
    ]


def test_contact_in_vain_is_mild_and_only_notified() -> None:
    incident = watch(calls(20, "S0"))
    assert incident.attack_class is AttackClass.UNREACHABLE_PEER
    assert incident.severity is Severity.LOW
    assert {proposal.act for proposal in propose(incident, load_playbook())} == {Act.NOTIFY}
    assert "never answers" in incident.summary


@pytest.mark.parametrize(
    ("state", "attack_class"),
    [
        pytest.param("REJ", AttackClass.C2, id="refused"),
        pytest.param("S0", AttackClass.BRUTE_FORCE, id="guessing where nobody listens"),
        pytest.param("REJ", AttackClass.BRUTE_FORCE, id="guessing at a closed port"),
    ],
)
def test_a_refusal_is_no_answer_and_nobody_guesses_where_nobody_listens(state: str, attack_class: AttackClass) -> None:
    assert watch(calls(20, state), attack_class).attack_class is AttackClass.UNREACHABLE_PEER


@pytest.mark.parametrize(
    ("specs", "attack_class"),
    [
        pytest.param([*calls(20, "S0"), *calls(1, "SF")], AttackClass.C2, id="one answer"),
        pytest.param(calls(20, "S0", MOST_PEERS + 1), AttackClass.C2, id="many peers"),
        pytest.param(calls(20, "S0"), AttackClass.SCAN, id="a search"),
        pytest.param([*calls(20, "S0"), *calls(1, "SF")], AttackClass.BRUTE_FORCE, id="a login prompt"),
    ],
)
def test_a_second_kind_of_evidence_makes_it_what_it_looks_like(
    specs: list[FlowSpec], attack_class: AttackClass
) -> None:
    assert watch(specs, attack_class).attack_class is attack_class
