"""Simulated networks as a test: against contestants that know the answers, or accuse whom they are told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab_builder import ATTACK, CHORE, build_lab
from thingwarden.bench.contestants import Assessment, Watched
from thingwarden.bench.lab_networks import (
    HABITS,
    OTHER_HOST,
    class_counts,
    counted_networks,
    is_restricted,
    measure_networks,
    pool_networks,
    pool_weeks,
    record_network,
    watch_networks,
)
from thingwarden.domain.detection import Detection, FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.taxonomy import CLASSES, AttackClass
from thingwarden.ingest.lab_corpus import read_manifest
from thingwarden.respond.playbook import load_playbook
from thingwarden.testing import build_incident
from thingwarden.train.corpus import LabCorpus, load_lab
from thingwarden.train.folds import FoldView

ACT, ODDITY = ATTACK.decode(), CHORE.decode()
HOST = Device(index=1, mac="02:77:00:00:00:00", address=IPv4Address("10.77.0.10"))


@dataclass
class Oracle:
    """Says the label; raises one incident about host 0 over the flows of ``accuses``."""

    accuses: bytes = ATTACK
    role: Role = Role.OFFENDER
    device: Device = HOST
    name: str = "oracle"
    watched: list[int] = field(default_factory=list)

    def fit(self, view: FoldView, seed: int) -> None:
        """Knows already."""

    def assess(self, flows: FlowBatch) -> Assessment:
        raise AssertionError("long batches are watched")

    def watch(self, flows: FlowBatch) -> Watched:
        assert flows.labels is not None
        self.watched.append(len(flows))
        count, said = len(flows), flows.labels.malicious == 1
        verdicts = FlowVerdicts(
            malicious_probability=said.astype(np.float32),
            is_malicious=said,
            attack_class=flows.labels.attack_class,
            ton_class=np.zeros(count, dtype=np.int8),
            device=np.ones(count, dtype=np.int32),
            role=np.zeros(count, dtype=np.int8),
            surprise_nats=np.zeros(count, dtype=np.float32),
        )
        rows = np.flatnonzero(flows.labels.detail == self.accuses)
        incidents = (self._accuse(flows, rows),) if len(rows) else ()
        return Watched(verdicts=verdicts, incidents=incidents)

    def _accuse(self, flows: FlowBatch, rows: np.ndarray) -> Incident:
        first, last = (datetime.fromtimestamp(flows.started_at_s[row], UTC) for row in (rows[0], rows[-1]))
        loudest = tuple(
            Detection(flow=row, started_at=first, proto="tcp", is_outbound=True, peer=IPv4Address("203.0.113.1"),
                      port=23, service=None, conn_state=None, sent_bytes=None, received_bytes=None, probability=1.0,
                      attack_class=AttackClass.SCAN)
            for row in rows[:3].tolist()
        )  # fmt: skip
        return build_incident(
            device=self.device, role=self.role, first_seen_at=first, last_seen_at=last, detections=loudest
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_lab(tmp_path_factory.mktemp("lab"), networks=4, counted=6)


@pytest.fixture(scope="module")
def lab(folder: Path) -> LabCorpus:
    return load_lab(folder)


def _role_in(lab: LabCorpus, number: int) -> Role:
    """What host 0 does in the network's attack."""
    flows = lab.parts[number].flows
    assert flows.labels is not None
    attack = flows.take(flows.labels.malicious == 1)
    began = (attack.orig_mac == 0x02_77_00_00_00_00).mean()
    return Role.OFFENDER if began > 0.5 else Role.TARGET


def test_an_attack_is_found_where_its_host_is_accused_and_in_its_role(lab: LabCorpus) -> None:
    for number in (0, 2):
        part, right = lab.parts[number], _role_in(lab, number)
        wrong = Role.TARGET if right is Role.OFFENDER else Role.OFFENDER
        for role, is_right in ((right, True), (wrong, False)):
            (record,) = measure_networks([part], lab, Oracle(role=role))
            act = record["acts"][ACT]
            assert act["found"] and act["found_with_role"] is is_right
            assert act["rows_said"] == act["rows"] > 0 and act["class"] != "benign"
            assert record["true"] == 1 and record["false"] == []


def test_accusing_another_host_finds_no_attack(lab: LabCorpus) -> None:
    other = Device(index=2, mac="02:77:00:00:00:01", address=IPv4Address("10.77.0.11"))
    (record,) = measure_networks([lab.parts[0]], lab, Oracle(device=other))
    assert not record["acts"][ACT]["found"]


def test_a_host_is_known_by_its_address_where_it_has_no_mac(lab: LabCorpus) -> None:
    routed = Device(index=1, mac=None, address=HOST.address)
    (record,) = measure_networks([lab.parts[0]], lab, Oracle(device=routed, role=_role_in(lab, 0)))
    assert record["acts"][ACT]["found_with_role"]


@pytest.mark.parametrize(("accuses", "cause"), [(CHORE, ODDITY), (b"", HABITS)])
def test_a_false_incident_names_its_cause_and_its_kind_of_device(lab: LabCorpus, accuses: bytes, cause: str) -> None:
    (record,) = measure_networks([lab.parts[1]], lab, Oracle(accuses=accuses))
    (false,) = record["false"]
    assert (false["cause"], false["kind"], false["role"]) == (cause, "plug", "offender")
    stranger = Device(index=9, mac="02:00:00:00:00:99", address=IPv4Address("10.77.0.99"))
    (record,) = measure_networks([lab.parts[1]], lab, Oracle(accuses=accuses, device=stranger))
    assert record["false"][0]["kind"] == OTHER_HOST


def test_networks_left_out_are_pooled_by_act(lab: LabCorpus) -> None:
    found = measure_networks(lab.parts, lab, Oracle(role=_role_in(lab, 0)))
    missed = measure_networks(lab.parts, lab, Oracle(accuses=b"nothing"))
    pooled = pool_networks(found + missed)
    assert pooled is not None
    assert pooled["networks"] == 8 and pooled["attacks"] == 4
    assert pooled["attacks_found"] == pytest.approx(0.5) and pooled["tpr"] == 1.0 and pooled["fpr"] == 0.0
    assert pooled["per_act"][ACT]["attacks"] == 4
    assert pooled["device_weeks"] == pytest.approx(8 * 0.75 / 7)
    assert pool_networks([]) is None


def test_counts_by_class_are_those_of_networks_that_hold_it(lab: LabCorpus) -> None:
    records = measure_networks(lab.parts, lab, Oracle())
    names = {attack_class.value for attack_class in CLASSES}
    assert sum(len(list(class_counts(records, name))) for name in names) == 2


def test_every_network_to_count_in_falls_to_one_fold(folder: Path) -> None:
    shares = [counted_networks(folder, fold, 3) for fold in range(3)]
    counted = [network.name for network in read_manifest(folder).networks if network.purpose == "count"]
    assert sorted(network.name for share in shares for network in share) == counted
    assert all(network.number % 3 == fold for fold, share in enumerate(shares) for network in share)


def test_weeks_go_on_where_they_stopped(folder: Path, tmp_path: Path) -> None:
    networks = counted_networks(folder, 0, 1)
    first = Oracle()
    records = watch_networks(folder, networks[:2], first, tmp_path / "kept")
    second = Oracle()
    again = watch_networks(folder, networks, second, tmp_path / "kept")
    assert (len(first.watched), len(second.watched)) == (2, 4)
    assert again[:2] == records and [record["network"] for record in again] == [network.name for network in networks]


def test_weeks_are_counted_by_kind_and_cause(folder: Path, tmp_path: Path) -> None:
    networks = counted_networks(folder, 0, 1)
    pooled = pool_weeks(watch_networks(folder, networks, Oracle(accuses=CHORE), tmp_path))
    assert pooled is not None and pool_weeks([]) is None
    weeks = 6 * 0.75 / 7
    assert pooled["false_incidents"] == 6 and pooled["device_weeks"] == pytest.approx(weeks)
    assert pooled["false_per_device_week_at_most"] > 6 / weeks
    kinds = pooled["by_kind"]
    assert {kind: row["false_incidents"] for kind, row in kinds.items()} == {"camera": 0, "plug": 6}
    assert sum(row["device_weeks"] for row in kinds.values()) == pytest.approx(weeks)
    assert kinds["plug"]["device_weeks"] == pytest.approx(weeks * 2 / 3)
    assert pooled["by_cause"][ODDITY] == {
        "networks": 6,
        "false_incidents": 6,
        "restricted": pooled["restricted"],
        "false_incidents_in_these_networks": 6,
    }


def test_a_quiet_contestant_still_gets_its_bound(folder: Path, tmp_path: Path) -> None:
    networks = counted_networks(folder, 0, 1)
    pooled = pool_weeks(watch_networks(folder, networks, Oracle(accuses=b"nothing"), tmp_path))
    assert pooled is not None and pooled["false_incidents"] == 0
    assert pooled["false_per_device_week_at_most"] == pytest.approx(2.996 / (6 * 0.75 / 7), rel=1e-3)
    assert pooled["by_cause"][ODDITY]["false_incidents"] == 0


@pytest.mark.parametrize(
    ("changes", "is_more"),
    [
        ({"role": Role.OFFENDER, "attack_class": AttackClass.C2, "confidence": 0.99, "flow_count": 50}, True),
        ({"role": Role.OFFENDER, "attack_class": AttackClass.C2, "confidence": 0.0, "flow_count": 1}, False),
    ],
)
def test_what_policy_would_order_decides_what_is_more_than_a_notification(
    changes: dict[str, Any], is_more: bool
) -> None:
    assert is_restricted(build_incident(**changes), load_playbook()) is is_more


def test_a_record_holds_counts_only(lab: LabCorpus) -> None:
    part = lab.parts[0]
    record = record_network(lab.find(part.capture.name), part.flows, Oracle().watch(part.flows))
    assert record["malicious"]["rows"] + record["benign"]["rows"] == record["flows"] == len(part.flows)
    assert record["devices_by_kind"] == {"plug": 2, "camera": 1} and record["chores"] == [ODDITY]
