"""A small attacked network for the tests of evasion, and a contestant that says what it is told to say.

In: who attacks whom and when. Out: labelled flows; ``Outspoken``.
Must never: use the code under test to make its input.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from thingwarden.bench.contestants import Assessment, Watched
from thingwarden.domain.detection import Detection, FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch, Labels
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.testing import FlowSpec, build_flows, build_incident
from thingwarden.train.folds import FoldView

VICTIM, NEIGHBOUR, CAMERA = "192.168.1.10", "192.168.1.11", "192.168.1.12"
CLOUD, CONTROLLER = "203.0.113.5", "198.51.100.9"
HABIT_BYTES, BEACON_BYTES = 500, 40

Mask = npt.NDArray[np.bool_]


def habit(at_s: float, host: str = VICTIM, peer: str = CLOUD, **changes: object) -> FlowSpec:
    """A TLS session with the vendor's cloud."""
    spec = FlowSpec(at_s=at_s, orig=host, resp=peer, resp_port=443, service="ssl", duration_s=2.0,
                    orig_bytes=HABIT_BYTES, resp_bytes=2 * HABIT_BYTES, orig_mac=mac_of(host))  # fmt: skip
    return replace(spec, **changes)  # type: ignore[arg-type]


def beacon(at_s: float, host: str = VICTIM, **changes: object) -> FlowSpec:
    """A contact with the controller."""
    spec = FlowSpec(at_s=at_s, orig=host, resp=CONTROLLER, resp_port=6667, service="irc", duration_s=0.5,
                    orig_bytes=BEACON_BYTES, resp_bytes=BEACON_BYTES, orig_mac=mac_of(host))  # fmt: skip
    return replace(spec, **changes)  # type: ignore[arg-type]


def probe(at_s: float, resp: str, host: str = VICTIM) -> FlowSpec:
    """A SYN that nobody answers."""
    return FlowSpec(at_s=at_s, orig=host, resp=resp, resp_port=23, conn_state="S0", duration_s=0.1, orig_bytes=0,
                    resp_bytes=0, orig_mac=mac_of(host))  # fmt: skip


def mac_of(host: str) -> int:
    """The link-layer address of a host of the LAN, 0 for others."""
    return 0x02_00_00_00_00_00 + int(host.rpartition(".")[2]) if host.startswith("192.168.") else 0


def label(specs: Sequence[FlowSpec], attack_class: AttackClass = AttackClass.BENIGN, detail: str = "") -> FlowBatch:
    """The flows with packets that fit their bytes, all labelled so."""
    flows = build_flows(specs)
    count, is_malicious = len(specs), attack_class is not AttackClass.BENIGN
    labels = Labels(
        malicious=np.full(count, is_malicious, dtype=np.int8),
        attack_class=np.full(count, CLASS_INDEX[attack_class], dtype=np.int8),
        ton_class=np.full(count, -1, dtype=np.int8),
        detail=np.full(count, detail.encode(), dtype="S48"),
    )
    answered = flows.conn_state != CONN_STATE_CODE["S0"]
    return replace(
        flows,
        labels=labels,
        orig_packets=np.where(answered, 5, 1),
        resp_packets=np.where(answered, 4, 0),
        orig_ip_bytes=flows.orig_bytes + np.where(answered, 200, 40),
        resp_ip_bytes=flows.resp_bytes + np.where(answered, 160, 0),
    )


def attacked_network(beacons: int = 12, probes: int = 20) -> FlowBatch:
    """Three hosts with habits over an hour; the first one beacons every minute and searches the internet at once."""
    habits = [habit(at_s, host) for host in (VICTIM, NEIGHBOUR, CAMERA) for at_s in range(0, 3600, 300)]
    habits += [habit(at_s + 30.0, VICTIM, CAMERA, resp_port=1883, service="mqtt") for at_s in range(0, 3600, 900)]
    batches = [
        label(habits),
        label([beacon(600.0 + 60.0 * number) for number in range(beacons)], AttackClass.C2, "c2:c2_irc-1"),
        label([probe(900.0 + number, f"45.0.0.{number + 1}") for number in range(probes)], AttackClass.SCAN,
              "scan:scan_horizontal-2"),
    ]  # fmt: skip
    flows = FlowBatch.concatenate(batches)
    return flows.take(np.argsort(flows.started_at_s, kind="stable"))


@dataclass
class Outspoken:
    """Calls the flows malicious that it is told to; raises one incident over the first of them.

    Attributes:
        calls: which flows.
        role, device: of the incident.
    """

    calls: Callable[[FlowBatch], Mask]
    role: Role = Role.OFFENDER
    device: Device = Device(index=1, mac=None, address=ipaddress.IPv4Address(VICTIM))  # noqa: RUF009  frozen
    name: str = "outspoken"
    watched: list[int] = field(default_factory=list)

    def fit(self, view: FoldView, seed: int) -> None:
        """Knows already."""

    def assess(self, flows: FlowBatch) -> Assessment:
        raise AssertionError("networks are watched")

    def watch(self, flows: FlowBatch) -> Watched:
        self.watched.append(len(flows))
        said = self.calls(flows)
        count = len(flows)
        verdicts = FlowVerdicts(
            malicious_probability=said.astype(np.float32),
            is_malicious=said,
            attack_class=np.zeros(count, dtype=np.int8),
            ton_class=np.zeros(count, dtype=np.int8),
            device=np.ones(count, dtype=np.int32),
            role=np.zeros(count, dtype=np.int8),
            surprise_nats=np.zeros(count, dtype=np.float32),
        )
        rows = np.flatnonzero(said)
        rows = rows[np.argsort(flows.started_at_s[rows], kind="stable")]
        return Watched(verdicts=verdicts, incidents=(self._accuse(flows, rows),) if len(rows) else ())

    def _accuse(self, flows: FlowBatch, rows: npt.NDArray[np.int64]) -> Incident:
        first, last = (datetime.fromtimestamp(flows.started_at_s[row], UTC) for row in (rows[0], rows[-1]))
        loudest = tuple(
            Detection(flow=row, started_at=first, proto="tcp", is_outbound=True,
                      peer=ipaddress.IPv4Address(CONTROLLER), port=6667, service=None, conn_state=None,
                      sent_bytes=None, received_bytes=None, probability=1.0, attack_class=AttackClass.C2)
            for row in rows[:3].tolist()
        )  # fmt: skip
        return build_incident(
            device=self.device, role=self.role, first_seen_at=first, last_seen_at=last, opened_at=first,
            detections=loudest,
        )  # fmt: skip


def calls_attacks(flows: FlowBatch) -> Mask:
    """All that is labelled malicious."""
    assert flows.labels is not None
    return np.asarray(flows.labels.malicious == 1)


def calls_port(port: int) -> Callable[[FlowBatch], Mask]:
    """All that goes to a port."""
    return lambda flows: np.asarray(flows.resp_port == port)
