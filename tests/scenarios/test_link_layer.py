"""A network whose devices' flows the model finds normal, while somebody on the link lies about who is who."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from link_builder import announces, answers, arp, asks, leases, mac_bytes
from packet_builder import Frame, ip_packet, pcap, udp_datagram
from thingwarden.detect.link_watch import LinkWatch
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.ingest.pcap import PcapSource
from thingwarden.respond.playbook import load_playbook
from thingwarden.respond.protect import LOCAL_NETWORKS
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.replay import Replay, ReplayPlan, ReplayResult
from thingwarden.testing import ScriptedScorer

ROUTER = ("02:00:00:00:00:01", "192.168.1.1")
CAMERA = ("02:00:00:00:00:0a", "192.168.1.10")
PLUG = ("02:00:00:00:00:0b", "192.168.1.11")
SPY = ("02:00:00:00:00:66", "192.168.1.66")
LIFE_S = 200


def datagram(at_s: float, own: tuple[str, str], peer: str, *, is_answer: bool = False) -> Frame:
    source, target = (peer, own[1]) if is_answer else (own[1], peer)
    macs = [mac_bytes(ROUTER[0]), mac_bytes(own[0])]
    ports = (123, 5000) if is_answer else (5000, 123)
    packet = ip_packet(source, target, 17, udp_datagram(*ports, bytes(48)))
    return Frame(at_s, b"".join(reversed(macs) if is_answer else macs) + b"\x08\x00" + packet)


def life() -> list[Frame]:
    """Every device asks for the gateway, then for the time, twice a minute."""
    frames = []
    for number, host in enumerate([CAMERA, PLUG, SPY]):
        for at_s in range(number, LIFE_S, 30):
            frames += [asks(at_s, host, ROUTER[1]), answers(at_s + 0.01, ROUTER, host)]
            frames += [
                datagram(at_s + 0.1, host, "203.0.113.5"),
                datagram(at_s + 0.2, host, "203.0.113.5", is_answer=True),
            ]
    return frames


def spoofs(lasts_s: float) -> list[Frame]:
    """False answers to the camera about the gateway and to the gateway about the camera, every two seconds."""
    beats = [40.5 + 2.0 * beat for beat in range(int(lasts_s / 2))]
    lies = [(SPY[0], ROUTER[1]), (SPY[0], CAMERA[1])]
    return [answers(at_s, lie, to) for at_s in beats for lie, to in zip(lies, (CAMERA, ROUTER), strict=True)]


def judge(frames: list[Frame], *, listens: bool = True) -> ReplayResult:
    watch = LinkWatch()
    stream = io.BytesIO(pcap(sorted(frames, key=lambda frame: frame.at_s)))
    return Replay(
        PcapSource(Path("made.pcap"), stream=stream, hear_link=watch.observe),
        SentenceEncoder(Vocabulary(services=(), histories=())),
        ScriptedScorer({}),
        DryRunEnforcer(),
        ReplayPlan(
            calibration=Calibration(),
            playbook=load_playbook(),
            policy=PolicySettings(),
            local_networks=LOCAL_NETWORKS,
            link_watch=watch if listens else None,
        ),
    ).run()


def test_an_honest_network_is_quiet() -> None:
    honest = [*life(), announces(3.0, CAMERA), leases(5.0, ROUTER), leases(100.0, ROUTER)]
    assert judge(honest).incidents == ()


def test_the_spoofer_is_the_offender_and_the_owner_is_told() -> None:
    result = judge([*life(), *spoofs(40.0)])
    (incident,) = result.incidents
    assert (incident.device.mac, incident.role.value) == (SPY[0], "offender")
    assert incident.attack_class is AttackClass.MITM
    assert incident.flow_count == 0
    assert incident.confidence == pytest.approx(0.5, abs=0.01)
    assert "it claims the gateway's address 192.168.1.1 again and again unasked" in incident.summary
    assert "traffic interception" in incident.summary
    assert {decision.act.value for decision in result.decisions} == {"notify"}
    assert result.malicious_flow_count == 0


def test_a_spoofer_that_goes_on_is_proposed_to_be_cut_off() -> None:
    result = judge([*life(), *spoofs(120.0)])
    (incident,) = result.incidents
    assert incident.confidence == pytest.approx(0.92, abs=0.01)
    acts = {decision.act.value for decision in result.decisions}
    refused = {refusal.proposal.act.value: refusal for refusal in result.refusals}
    assert "isolate" in acts | set(refused)
    assert all(decision.target.device in (None, incident.device) for decision in result.decisions)


def test_behind_a_switch_where_only_half_of_the_lies_are_heard_it_takes_a_minute() -> None:
    heard = [frame for frame in spoofs(120.0) if frame.data[:6] == mac_bytes(ROUTER[0])]
    (incident,) = judge([*life(), *heard]).incidents
    assert (incident.device.mac, incident.role.value) == (SPY[0], "offender")
    assert "claims another device's address 192.168.1.10 unasked for more than a minute" in incident.summary
    assert judge([*life(), *heard[:25]]).incidents == ()


def test_it_is_told_soon() -> None:
    incident = judge([*life(), *spoofs(120.0)]).incidents[0]
    began_at_s = judge(life()).first_seen_at
    assert began_at_s is not None
    assert (incident.opened_at - began_at_s).total_seconds() < 80.0


def test_nobody_is_accused_without_the_watch() -> None:
    assert judge([*life(), *spoofs(120.0)], listens=False).incidents == ()


def test_a_spoofer_that_sends_nothing_else_is_named_though_no_device_can_be_accused() -> None:
    ghost = "02:00:00:00:00:77"
    lies = [arp(f.at_s, 2, (ghost, ROUTER[1]), CAMERA) for f in spoofs(60.0)]
    result = judge([*life(), *lies])
    assert result.stray_link_macs == (ghost,)
    assert result.incidents == ()
