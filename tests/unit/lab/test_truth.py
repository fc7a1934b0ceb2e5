"""Truth follows from the schedule alone, and survives its file byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.condition import CONDITIONS
from thingwarden.lab.timeline import Action, Aim, Cut, Host, Perform, Planned, PowerOff, PowerOn, Restore, Schedule
from thingwarden.lab.traits import Traits
from thingwarden.lab.truth import (
    OUTSIDE,
    Timing,
    event_kind,
    label_detail,
    read_timing,
    read_truth,
    truth_from_schedule,
    write_timing,
    write_truth,
)

GUESS = Perform(
    act="guess",
    host="tv",
    lasts_s=10.0,
    attack_class=AttackClass.BRUTE_FORCE,
    technique="T1110.001",
    aims=(Aim(peer="10.77.0.22", ports=(23,)), Aim(peer="2001:db8:77::16", ports=(23,))),
)


def host(name: str, number: int, **more: object) -> Host:
    return Host(
        name=name,
        kind="plug",
        address=f"10.77.0.{number}",
        address6=f"2001:db8:77::{number:x}",
        mac=f"02:77:00:00:00:{number:02x}",
        pace=1.0,
        traits=Traits(seed=name),
        **more,  # type: ignore[arg-type]
    )


def plan(*actions: tuple[float, str, Action]) -> Schedule:
    """A schedule of two devices in which that happens: moment, event, action."""
    return Schedule(
        scenario="test",
        seed=3,
        duration_s=100.0,
        starts_at_hour=10.0,
        condition=CONDITIONS["wired"],
        hosts=(host("tv", 51), host("camera", 22)),
        planned=tuple(Planned(at_s=at_s, event=event, action=action) for at_s, event, action in actions),
    )


def test_both_sides_of_an_attack_have_their_entry() -> None:
    rows = truth_from_schedule(plan((5.0, "guess-1", GUESS))).intervals
    offender, target = rows[0], rows[1]
    assert (offender.who, offender.role, offender.peer) == ("tv", "offender", "10.77.0.22")
    assert (target.who, target.role, target.addresses) == ("camera", "target", ("10.77.0.22", "2001:db8:77::16"))
    assert (offender.begins_s, offender.ends_s, offender.technique) == (5.0, 15.0, "T1110.001")
    assert len(rows) == 4


def test_the_outside_world_and_forged_packets_appear_as_what_they_are() -> None:
    flood = Perform(
        act="flood",
        host="internet",
        attack_class=AttackClass.DDOS,
        aims=(Aim(peer="10.77.0.22"), Aim(peer="10.77.0.51", source="198.18.0.0/15")),
    )
    rows = truth_from_schedule(plan((5.0, "flood-1", flood))).intervals
    assert {row.addresses for row in rows if row.role == "offender"} == {OUTSIDE, ("198.18.0.0/15",)}


def test_a_cut_touches_what_it_cuts_until_it_is_undone() -> None:
    truth = truth_from_schedule(
        plan(
            (5.0, "outage-1", Cut(target="vendor.example")),
            (6.0, "outage-2", Cut(target="camera")),
            (9.0, "outage-1", Restore(target="vendor.example")),
        )
    )
    cloud, camera = truth.harmless
    assert (cloud.begun_by, cloud.ended_by, cloud.begins_s, cloud.ends_s) == (0, 2, 5.0, 9.0)
    assert {aim.peer for aim in cloud.aims} == {"203.0.113.10", "2001:db8:100::a"}
    assert (camera.who, camera.aims, camera.ends_s) == (("camera",), (), 100.0)
    assert cloud.aftermath_s > 0


def test_power_lost_and_given_is_one_event_and_a_new_device_is_another() -> None:
    truth = truth_from_schedule(
        plan(
            (5.0, "power_cut-1", PowerOff(host="tv")),
            (8.0, "new_device-1", PowerOn(host="camera")),
            (9.0, "power_cut-1", PowerOn(host="tv", address="10.77.0.99")),
        )
    )
    assert [(row.kind, row.who, row.begins_s, row.ends_s) for row in truth.harmless] == [
        ("power_cut", ("tv",), 5.0, 9.0),
        ("new_device", ("camera",), 8.0, 8.0),
    ]
    tv = next(device for device in truth.devices if device.name == "tv")
    assert tv.addresses == ("10.77.0.51", "10.77.0.99", "2001:db8:77::33")


def test_a_harmless_act_touches_only_its_own_flows() -> None:
    backup = Perform(act="backup", host="tv", lasts_s=20.0, aims=(Aim(peer="203.0.113.34", ports=(443,)),))
    (row,) = truth_from_schedule(plan((5.0, "backup-1", backup))).harmless
    assert (row.aims, row.ends_s, row.aftermath_s) == (backup.aims, 25.0, 0.0)


def test_truth_survives_its_file_and_is_the_same_bytes(tmp_path: Path) -> None:
    schedule = plan((5.0, "guess-1", GUESS), (6.0, "outage-1", Cut(target="uplink")))
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    write_truth(truth_from_schedule(schedule), one)
    write_truth(truth_from_schedule(schedule), other)
    assert one.read_bytes() == other.read_bytes()
    assert read_truth(one) == truth_from_schedule(schedule)


def test_timing_survives_its_file(tmp_path: Path) -> None:
    timing = Timing(began_at=datetime(2026, 11, 1, 12, tzinfo=UTC), spans={0: (1.25, 2.5), 3: (4.0, 4.0)})
    write_timing(timing, tmp_path / "timing.json")
    assert read_timing(tmp_path / "timing.json") == timing


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other/1"}', '{"format": "thingwarden-lab-truth/2"}'])
def test_a_file_that_is_no_truth_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"truth\.json"):
        read_truth(tmp_path / "truth.json")


def test_a_timing_without_an_instant_is_refused_by_name(tmp_path: Path) -> None:
    text = '{"format": "thingwarden-lab-timing/1", "began_at": "2026-11-01T12:00:00"}'
    (tmp_path / "timing.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"timing\.json"):
        read_timing(tmp_path / "timing.json")


def test_labels_say_class_and_event() -> None:
    assert label_detail("ssh_guess-2", AttackClass.BRUTE_FORCE) == b"brute_force:ssh_guess-2"
    assert label_detail("dns_outage-3", AttackClass.BENIGN) == b"benign:dns_outage"
    assert event_kind("dns_outage-12") == "dns_outage"
