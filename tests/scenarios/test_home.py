"""Whole stories of one home, from flows to orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from thingwarden.domain.calibration import Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.response import Act
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.respond.playbook import load_playbook
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.replay import Replay, ReplayPlan, ReplayResult
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

ROUTER, CAMERA, PLUG, SENSOR, HUB = (f"192.168.1.{n}" for n in (1, 20, 21, 22, 23))
OUTSIDE, CONTROLLER, VICTIM = "198.51.100.66", "203.0.113.66", "203.0.113.99"

Story = Sequence[tuple[FlowSpec, AttackClass]]


def tell(story: Story, policy: PolicySettings | None = None) -> ReplayResult:
    flows = build_flows([spec for spec, _ in story])
    script = {row: (0.98, what) for row, (_, what) in enumerate(story) if what is not AttackClass.BENIGN}

    class Told:
        def batches(self) -> Iterator[FlowBatch]:
            yield flows

    return Replay(
        Told(),
        FlowWordEncoder(build_devices([ROUTER, CAMERA, PLUG, SENSOR, HUB])),
        ScriptedScorer(script),
        DryRunEnforcer(),
        ReplayPlan(calibration=Calibration(), playbook=load_playbook(), policy=policy or PolicySettings()),
    ).run()


def normal_life() -> Story:
    names = [
        FlowSpec(at_s=n * 7.0, orig=device, resp=ROUTER, proto="udp", resp_port=53, service="dns")
        for n in range(200)
        for device in (CAMERA, PLUG, SENSOR, HUB)
    ]
    return [(spec, AttackClass.BENIGN) for spec in names]


def acts_of(result: ReplayResult) -> set[tuple[str, str]]:
    return {(decision.act.value, str(decision.target)) for decision in result.decisions}


def test_normal_life_is_left_alone() -> None:
    result = tell(normal_life())
    assert (result.incidents, result.decisions, result.malicious_flow_count) == ((), (), 0)


def test_a_camera_is_recruited_and_only_its_ties_to_the_botnet_are_cut() -> None:
    beacons = [FlowSpec(at_s=100 + n * 30.0, orig=CAMERA, resp=CONTROLLER, resp_port=6667) for n in range(20)]
    flood = [
        FlowSpec(at_s=400 + n * 0.01, orig=CAMERA, resp=VICTIM, resp_port=80, conn_state="S0") for n in range(1500)
    ]
    story = [(spec, AttackClass.C2) for spec in beacons] + [(spec, AttackClass.DDOS) for spec in flood]
    result = tell([*normal_life(), *story])
    (incident,) = result.incidents
    assert (incident.device.name, incident.role.value) == (CAMERA, "offender")
    assert acts_of(result) == {
        ("notify", CAMERA),
        ("block_flow", f"{CAMERA} to {CONTROLLER} tcp/6667"),
        ("block_flow", f"{CAMERA} to {VICTIM} tcp/80"),
    }


def test_password_guessing_after_a_scan_of_the_same_service_is_answered_too() -> None:
    scan = [FlowSpec(at_s=50 + n * 0.01, orig=HUB, resp=CAMERA, resp_port=n, conn_state="REJ") for n in range(1, 120)]
    guesses = [FlowSpec(at_s=80 + n * 3.0, orig=HUB, resp=CAMERA, resp_port=23) for n in range(8)]
    story = [(spec, AttackClass.SCAN) for spec in scan] + [(spec, AttackClass.BRUTE_FORCE) for spec in guesses]
    assert ("block_flow", f"{HUB} to {CAMERA} tcp/23") in acts_of(tell([*normal_life(), *story]))


def test_a_plug_attacked_from_outside_is_protected_and_not_punished() -> None:
    guesses = [FlowSpec(at_s=50 + n * 3.0, orig=OUTSIDE, resp=PLUG, resp_port=23) for n in range(40)]
    result = tell([*normal_life(), *((spec, AttackClass.BRUTE_FORCE) for spec in guesses)])
    (incident,) = result.incidents
    assert incident.role.value == "target"
    assert acts_of(result) == {
        ("notify", PLUG),
        ("rate_limit", f"{OUTSIDE} to {PLUG} tcp/23"),
        ("block_peer", f"every device to {OUTSIDE}"),
    }


def test_a_spoofed_flood_gets_nobody_blocked() -> None:
    flood = [
        FlowSpec(at_s=50 + n * 0.1, orig=OUTSIDE, resp=PLUG, resp_port=80, conn_state="S0", resp_bytes=0)
        for n in range(300)
    ]
    result = tell([*normal_life(), *((spec, AttackClass.DOS) for spec in flood)])
    assert {act for act, _ in acts_of(result)} == {"notify", "rate_limit"}
    assert any("may be spoofed" in reason for refusal in result.refusals for reason in refusal.reasons)


def test_one_device_attacks_another_and_only_the_attacker_is_restricted() -> None:
    guesses = [FlowSpec(at_s=50 + n * 3.0, orig=HUB, resp=SENSOR, resp_port=22) for n in range(40)]
    result = tell([*normal_life(), *((spec, AttackClass.BRUTE_FORCE) for spec in guesses)])
    roles = {incident.device.name: incident.role.value for incident in result.incidents}
    assert roles == {HUB: "offender", SENSOR: "target"}
    punished = {
        decision.target.device.name
        for decision in result.decisions
        if decision.act is not Act.NOTIFY and decision.target.device and not decision.target.is_inbound
    }
    assert punished == {HUB}
    assert not any(decision.act is Act.BLOCK_PEER for decision in result.decisions)


def test_the_owners_own_scan_from_an_allow_listed_machine_is_reported_and_nothing_else() -> None:
    scan = [FlowSpec(at_s=50 + n * 0.1, orig=HUB, resp=CAMERA, resp_port=n, conn_state="REJ") for n in range(1, 300)]
    story = [*normal_life(), *((spec, AttackClass.SCAN) for spec in scan)]
    allowed = PolicySettings(allowed_macs=frozenset({"02:00:00:00:00:05"}))
    result = tell(story, allowed)
    assert {decision.act for decision in result.decisions_for(result.incidents[0].incident_id)} == {Act.NOTIFY}
    assert ("rate_limit", f"{HUB} to any address tcp/1") not in acts_of(result)
