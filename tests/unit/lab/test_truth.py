"""Truth follows from the schedule, survives its file, and labels flows by pair, protocol, port and moment."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.taxonomy import CLASSES, TECHNIQUES, AttackClass
from thingwarden.lab.recipe import draw_schedule, load_recipe
from thingwarden.lab.truth import Truth, label_flows, read_truth, truth_from_schedule, write_truth

SAMPLE = Path(__file__).parents[3] / "recipes" / "sample.toml"
BEGAN_AT_S = 1_800_000_000.0


def make_truth(seed: int = 3) -> Truth:
    recipe = load_recipe(SAMPLE)
    schedule = draw_schedule(recipe, seed=seed, duration_s=330)
    return truth_from_schedule(recipe, schedule, began_at_s=BEGAN_AT_S)


def make_flows(rows: list[tuple[float, int, str, int, str, int]]) -> FlowBatch:
    """Flows from (start, proto, orig, orig port, resp, resp port)."""
    starts, protos, origs, orig_ports, resps, resp_ports = zip(*rows, strict=True)

    def addresses(texts: tuple[str, ...]) -> np.ndarray:
        return np.array([words_from_address(ipaddress.ip_address(text)) for text in texts], dtype=np.uint64)

    return FlowBatch.unknown(
        len(rows),
        started_at_s=np.array(starts, dtype=np.float64),
        proto=np.array(protos, dtype=np.uint8),
        orig_address=addresses(origs),
        orig_port=np.array(orig_ports, dtype=np.uint16),
        resp_address=addresses(resps),
        resp_port=np.array(resp_ports, dtype=np.uint16),
    )


def moment_in(truth: Truth, kind: str) -> float:
    """Half a second into the first attack of that kind."""
    return next(row.started_at.timestamp() for row in truth.intervals if row.name.startswith(kind)) + 0.5


def classes_of(flows: FlowBatch) -> list[str]:
    assert flows.labels is not None
    return [CLASSES[index].value for index in flows.labels.attack_class]


def test_the_same_seed_tells_the_same_truth() -> None:
    assert make_truth(3) == make_truth(3)
    assert make_truth(3) != make_truth(4)


def test_truth_survives_its_file(tmp_path: Path) -> None:
    write_truth(make_truth(), tmp_path / "truth.json")
    assert read_truth(tmp_path / "truth.json") == make_truth()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other/1"}', '{"format": "thingwarden-lab-truth/1"}'])
def test_a_file_that_is_no_truth_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"truth\.json"):
        read_truth(tmp_path / "truth.json")


def test_entries_use_the_taxonomy_and_name_both_sides() -> None:
    truth = make_truth()
    for row in truth.intervals:
        assert row.technique in TECHNIQUES[AttackClass(row.attack_class)]
    guess = [row for row in truth.intervals if row.name.startswith("guess")]
    assert [(row.who, row.role) for row in guess] == [("10.77.0.51", "offender"), ("10.77.0.22", "target")]


def test_measured_moments_replace_planned_ones() -> None:
    recipe = load_recipe(SAMPLE)
    schedule = draw_schedule(recipe, seed=3, duration_s=330)
    name = schedule.attacks[0].name
    span = (BEGAN_AT_S + 99, BEGAN_AT_S + 101)
    truth = truth_from_schedule(recipe, schedule, began_at_s=BEGAN_AT_S, measured={name: span})
    row = next(row for row in truth.intervals if row.name == name)
    assert (row.started_at.timestamp(), row.ended_at.timestamp()) == span


def test_attack_flows_get_their_class() -> None:
    truth = make_truth()
    flows = make_flows(
        [
            (moment_in(truth, "scan"), 6, "10.77.0.51", 40000, "10.77.0.1", 443),
            (moment_in(truth, "guess"), 6, "10.77.0.51", 40001, "10.77.0.22", 23),
            (moment_in(truth, "download"), 6, "10.77.0.21", 40002, "198.51.100.77", 80),
            (moment_in(truth, "beacon"), 6, "10.77.0.21", 40003, "198.51.100.66", 6667),
            (moment_in(truth, "flood"), 6, "10.77.0.21", 2000, "203.0.113.80", 80),
        ]
    )
    assert classes_of(label_flows(flows, truth)) == ["scan", "brute_force", "download", "c2", "dos"]


def test_what_the_same_hosts_do_otherwise_stays_benign() -> None:
    truth = make_truth()
    scan_at_s, flood_at_s = moment_in(truth, "scan"), moment_in(truth, "flood")
    flows = make_flows(
        [
            (scan_at_s, 17, "10.77.0.51", 40000, "10.77.0.1", 53),
            (scan_at_s - 30, 6, "10.77.0.51", 40000, "10.77.0.1", 443),
            (scan_at_s, 6, "10.77.0.51", 40000, "203.0.113.31", 443),
            (flood_at_s, 6, "10.77.0.21", 40001, "203.0.113.80", 443),
            (flood_at_s, 6, "10.77.0.41", 40001, "203.0.113.80", 80),
            (scan_at_s, 6, "10.77.0.2", 50000, "10.77.0.51", 9),
        ]
    )
    labelled = label_flows(flows, truth)
    assert classes_of(labelled) == ["benign"] * 6
    assert labelled.labels is not None
    assert not labelled.labels.malicious.any()


def test_a_flow_metered_the_wrong_way_round_is_still_found() -> None:
    truth = make_truth()
    flows = make_flows([(moment_in(truth, "beacon"), 6, "198.51.100.66", 6667, "10.77.0.21", 40003)])
    assert classes_of(label_flows(flows, truth)) == ["c2"]


def test_mishaps_are_benign_and_say_so() -> None:
    truth = make_truth()
    reboot, outage = truth.mishaps
    flows = make_flows(
        [
            (reboot.started_at.timestamp() + 1, 17, "10.77.0.13", 40000, "10.77.0.1", 53),
            (outage.started_at.timestamp() + 1, 17, "10.77.0.31", 40000, "10.77.0.1", 53),
            (outage.started_at.timestamp() + 1, 6, "10.77.0.31", 40000, "203.0.113.11", 443),
        ]
    )
    labels = label_flows(flows, truth).labels
    assert labels is not None
    assert labels.detail.tolist() == [b"benign:reboot", b"benign:dns_outage", b"benign"]
    assert not labels.malicious.any()


def test_flows_without_time_cannot_be_labelled() -> None:
    with pytest.raises(InputError, match="time"):
        label_flows(FlowBatch.unknown(1, is_timed=False), make_truth())
