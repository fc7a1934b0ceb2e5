"""Flows get their labels by pair, protocol, port and moment, in both IP versions."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.taxonomy import CLASSES, AttackClass
from thingwarden.lab.condition import CONDITIONS
from thingwarden.lab.labelling import label_flows
from thingwarden.lab.timeline import Action, Aim, Cut, Host, Perform, Planned, PowerOff, PowerOn, Restore, Schedule
from thingwarden.lab.traits import Traits
from thingwarden.lab.truth import Timing, truth_from_schedule

BEGAN_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
TV, TV6, CAMERA, CAMERA6 = "10.77.0.51", "2001:db8:77::33", "10.77.0.22", "2001:db8:77::16"
STRANGER = "198.51.100.90"


def act(attack_class: AttackClass, *aims: Aim, host: str = "tv", lasts_s: float = 10.0) -> Perform:
    return Perform(act="any", host=host, attack_class=attack_class, lasts_s=lasts_s, aims=aims)


SCAN = act(AttackClass.SCAN, Aim(peer="10.77.0.0/24"), Aim(peer="2001:db8:77::/64"))
GUESS = act(AttackClass.BRUTE_FORCE, Aim(peer=CAMERA, ports=(23,)))
PING = act(AttackClass.DOS, Aim(peer=CAMERA, proto=1))
SPOOFED = act(AttackClass.DDOS, Aim(peer=CAMERA, ports=(80,), source="198.18.0.0/15"))
BACKUP = act(AttackClass.BENIGN, Aim(peer="203.0.113.34", ports=(443,)))


def plan(*actions: tuple[float, str, Action]) -> Schedule:
    hosts = tuple(
        Host(
            name=name,
            kind="plug",
            address=address,
            address6=address6,
            mac=f"02:77:00:00:00:0{number}",
            pace=1.0,
            traits=Traits(seed=name),
        )
        for number, (name, address, address6) in enumerate((("tv", TV, TV6), ("camera", CAMERA, CAMERA6)))
    )
    return Schedule(
        scenario="test",
        seed=1,
        duration_s=200.0,
        starts_at_hour=10.0,
        condition=CONDITIONS["wired"],
        hosts=hosts,
        planned=tuple(Planned(at_s=at_s, event=event, action=action) for at_s, event, action in actions),
    )


Row = tuple[float, int, str, int, str, int]


def make_flows(*rows: Row) -> FlowBatch:
    """Flows from (seconds since the beginning, proto, orig, orig port, resp, resp port)."""
    starts, protos, origs, orig_ports, resps, resp_ports = zip(*rows, strict=True)

    def addresses(texts: tuple[str, ...]) -> np.ndarray:
        return np.array([words_from_address(ipaddress.ip_address(text)) for text in texts], dtype=np.uint64)

    return FlowBatch.unknown(
        len(rows),
        started_at_s=np.array(starts, dtype=np.float64) + BEGAN_AT.timestamp(),
        proto=np.array(protos, dtype=np.uint8),
        orig_address=addresses(origs),
        orig_port=np.array(orig_ports, dtype=np.uint16),
        resp_address=addresses(resps),
        resp_port=np.array(resp_ports, dtype=np.uint16),
    )


def labelled(schedule: Schedule, *rows: Row, timing: Timing | None = None) -> list[str]:
    """What the labels of these flows say."""
    labels = label_flows(make_flows(*rows), truth_from_schedule(schedule), timing or Timing(began_at=BEGAN_AT)).labels
    assert labels is not None
    classes = [CLASSES[index].value for index in labels.attack_class]
    assert [name != "benign" for name in classes] == labels.malicious.astype(bool).tolist()
    details = [bytes(detail).decode() for detail in labels.detail]
    assert [detail.partition(":")[0] for detail in details] == classes
    return details


def test_attack_flows_get_class_and_name_in_both_ip_versions() -> None:
    schedule = plan((10.0, "scan-1", SCAN))
    rows = [
        (12.0, 6, TV, 40000, CAMERA, 443),
        (12.0, 6, TV6, 40000, CAMERA6, 443),
        (12.0, 6, TV, 40001, "10.77.0.1", 80),
    ]
    assert labelled(schedule, *rows) == ["scan:scan-1"] * 3


@pytest.mark.parametrize(
    "row",
    [
        (12.0, 17, TV, 40000, "10.77.0.1", 53),
        (9.0, 6, TV, 40000, CAMERA, 443),
        (21.0, 6, TV, 40000, CAMERA, 443),
        (12.0, 6, TV, 40000, "203.0.113.31", 443),
        (12.0, 6, CAMERA, 50000, TV, 8009),
        (12.0, 6, CAMERA6, 50000, TV6, 80),
    ],
    ids=["another protocol", "before", "after", "somebody else", "a visit to the offender", "a visit over IPv6"],
)
def test_what_the_same_hosts_do_otherwise_stays_benign(row: Row) -> None:
    assert labelled(plan((10.0, "scan-1", SCAN)), row) == ["benign"]


def test_a_flow_metered_the_wrong_way_round_is_still_found() -> None:
    schedule = plan((10.0, "scan-1", SCAN), (40.0, "guess-1", GUESS))
    rows = [(12.0, 6, CAMERA, 443, TV, 40000), (42.0, 6, CAMERA, 23, TV, 2000)]
    assert labelled(schedule, *rows) == ["scan:scan-1", "brute_force:guess-1"]


def test_of_two_attacks_the_one_with_ports_is_right_whichever_comes_first() -> None:
    rows = [(14.0, 6, TV, 40000, CAMERA, 23), (14.0, 6, TV, 40000, CAMERA, 80)]
    for first, second in (("scan-1", "guess-1"), ("guess-1", "scan-1")):
        acts = {"scan-1": SCAN, "guess-1": GUESS}
        schedule = plan((10.0, first, acts[first]), (11.0, second, acts[second]))
        assert labelled(schedule, *rows) == ["brute_force:guess-1", "scan:scan-1"]


def test_icmp_has_no_ports_to_fit() -> None:
    rows = [(12.0, 1, TV, 8, CAMERA, 0), (12.0, 1, CAMERA, 8, TV, 0)]
    assert labelled(plan((10.0, "flood-1", PING)), *rows) == ["dos:flood-1", "benign"]


def test_forged_sources_belong_to_their_flood_and_the_forgers_own_flows_do_not() -> None:
    rows = [(12.0, 6, "198.18.7.9", 2000, CAMERA, 80), (12.0, 6, TV, 40000, CAMERA, 80)]
    assert labelled(plan((10.0, "flood-1", SPOOFED)), *rows) == ["ddos:flood-1", "benign"]


def test_a_stranger_from_the_internet_is_an_offender_too() -> None:
    knock = act(AttackClass.EXPLOIT, Aim(peer=CAMERA, ports=(80,)), host="internet")
    rows = [(12.0, 6, STRANGER, 40000, CAMERA, 80), (12.0, 6, TV, 40000, CAMERA, 80)]
    assert labelled(plan((10.0, "knock-1", knock)), *rows) == ["exploit:knock-1", "benign"]


def test_false_arp_replies_lead_astray_what_began_before_and_still_lasts() -> None:
    astray = act(AttackClass.MITM, Aim(peer="203.0.113.0/24", proto=0, source=CAMERA))
    schedule = plan((50.0, "arp_spoof-1", astray))
    rows = [(at_s, 6, CAMERA, 40000, "203.0.113.10", 443) for at_s in (10.0, 11.0, 55.0, 70.0)]
    flows = replace(make_flows(*rows), duration_s=np.array([45.0, 20.0, 1.0, 1.0]))
    labels = label_flows(flows, truth_from_schedule(schedule), Timing(began_at=BEGAN_AT)).labels
    assert labels is not None
    assert labels.malicious.tolist() == [1, 0, 1, 0]


def test_measured_moments_replace_planned_ones() -> None:
    timing = Timing(began_at=BEGAN_AT, spans={0: (30.0, 35.0)})
    rows = [(12.0, 6, TV, 40000, CAMERA, 443), (32.0, 6, TV, 40000, CAMERA, 443)]
    assert labelled(plan((10.0, "scan-1", SCAN)), *rows, timing=timing) == ["benign", "scan:scan-1"]


def test_harmless_events_say_so_in_what_they_touch() -> None:
    schedule = plan(
        (10.0, "dns_outage-1", Cut(target="resolver")),
        (20.0, "dns_outage-1", Restore(target="resolver")),
        (50.0, "backup-1", BACKUP),
        (80.0, "power_cut-1", PowerOff(host="camera")),
        (84.0, "power_cut-1", PowerOn(host="camera")),
    )
    rows = [
        (12.0, 17, TV, 40000, "10.77.0.1", 53),
        (12.0, 6, TV, 40000, "203.0.113.11", 443),
        (25.0, 17, TV, 40000, "10.77.0.1", 53),
        (45.0, 17, TV, 40000, "10.77.0.1", 53),
        (55.0, 6, TV, 40000, "203.0.113.34", 443),
        (90.0, 17, CAMERA, 40000, "10.77.0.1", 123),
        (90.0, 17, TV, 40000, "10.77.0.1", 123),
    ]
    assert labelled(schedule, *rows) == [
        "benign:dns_outage",
        "benign",
        "benign:dns_outage",
        "benign",
        "benign:backup",
        "benign:power_cut",
        "benign",
    ]


def test_an_attack_during_something_harmless_is_an_attack() -> None:
    schedule = plan((10.0, "outage-1", Cut(target="camera")), (10.0, "guess-1", GUESS))
    assert labelled(schedule, (12.0, 6, TV, 40000, CAMERA, 23)) == ["brute_force:guess-1"]


def test_flows_without_time_cannot_be_labelled() -> None:
    truth = truth_from_schedule(plan())
    with pytest.raises(InputError, match="time"):
        label_flows(FlowBatch.unknown(1, is_timed=False), truth, Timing(began_at=BEGAN_AT))


def test_no_flows_are_no_trouble() -> None:
    truth = truth_from_schedule(plan((10.0, "scan-1", SCAN)))
    assert len(label_flows(FlowBatch.empty(), truth, Timing(began_at=BEGAN_AT))) == 0


def test_other_columns_are_left_as_they_are() -> None:
    flows = make_flows((12.0, 6, TV, 40000, CAMERA, 443))
    done = label_flows(flows, truth_from_schedule(plan((10.0, "scan-1", SCAN))), Timing(began_at=BEGAN_AT))
    assert replace(done, labels=None).resp_port.tolist() == [443]
