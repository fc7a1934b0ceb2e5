"""Public test kit: builders of flows, words and scores, fakes of the ports, a clock that a test turns.

In: the few values that a test cares about. Out: complete, valid inputs of every stage.
Must never: be imported by the package itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.address import IpAddress
from thingwarden.domain.device import Device
from thingwarden.domain.flow import CONN_STATE_CODE, FlowBatch, address_from_words, words_from_address
from thingwarden.domain.incident import Contact, Incident, Role
from thingwarden.domain.response import (
    ACTS_WITHIN,
    Act,
    Capability,
    Decision,
    Proposal,
    Reach,
    Receipt,
    ReceiptStatus,
    Target,
)
from thingwarden.domain.taxonomy import CLASS_INDEX, CLASSES, TON_CLASSES, AttackClass
from thingwarden.domain.word import ROLES, UNATTRIBUTED, Scores, WordBatch
from thingwarden.respond.policy import Ledger, NetworkView, judge_proposal
from thingwarden.respond.rules import PolicySettings

START_S: Final = 1_700_000_000.0
"""Unix seconds at which the builders' traffic begins."""

_PROTO_NUMBERS: Final = {"icmp": 1, "tcp": 6, "udp": 17}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """One flow, as a test would say it; times are seconds after ``START_S``."""

    at_s: float = 0.0
    duration_s: float = 1.0
    orig: str = "192.168.1.10"
    resp: str = "203.0.113.5"
    proto: str = "tcp"
    orig_port: int = 40_000
    resp_port: int = 443
    conn_state: str = "SF"
    service: str = ""
    orig_bytes: int = 100
    resp_bytes: int = 200
    orig_mac: int = 0
    resp_mac: int = 0


def build_flows(specs: Sequence[FlowSpec]) -> FlowBatch:
    """The flows as columns, in the order given."""
    count = len(specs)
    return FlowBatch.unknown(
        count,
        started_at_s=np.array([START_S + spec.at_s for spec in specs], dtype=np.float64),
        duration_s=np.array([spec.duration_s for spec in specs], dtype=np.float64),
        proto=np.array([_PROTO_NUMBERS[spec.proto] for spec in specs], dtype=np.uint8),
        orig_address=_address_column([spec.orig for spec in specs]),
        resp_address=_address_column([spec.resp for spec in specs]),
        orig_port=np.array([spec.orig_port for spec in specs], dtype=np.uint16),
        resp_port=np.array([spec.resp_port for spec in specs], dtype=np.uint16),
        orig_bytes=np.array([spec.orig_bytes for spec in specs], dtype=np.int64),
        resp_bytes=np.array([spec.resp_bytes for spec in specs], dtype=np.int64),
        conn_state=np.array([CONN_STATE_CODE[spec.conn_state] for spec in specs], dtype=np.uint8),
        service=np.array([spec.service.encode() for spec in specs], dtype="S24"),
        orig_mac=np.array([spec.orig_mac for spec in specs], dtype=np.uint64),
        resp_mac=np.array([spec.resp_mac for spec in specs], dtype=np.uint64),
    )


def _address_column(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    halves = [words_from_address(ipaddress.ip_address(text)) for text in texts]
    return np.array(halves, dtype=np.uint64).reshape(len(texts), 2)


def build_device(index: int = 1, address: str = "192.168.1.10", mac: str | None = "02:00:00:00:00:0a") -> Device:
    """A device of the network under watch."""
    return Device(index=index, mac=mac, address=ipaddress.ip_address(address))


def build_devices(addresses: Sequence[str], has_mac: bool = True) -> list[Device]:
    """A device table: the unattributed rest, then one device per address."""
    rest = Device(index=UNATTRIBUTED, mac=None, address=None)
    macs = [f"02:00:00:00:00:{index:02x}" if has_mac else None for index in range(1, len(addresses) + 1)]
    return [rest, *(build_device(index, *pair) for index, pair in enumerate(zip(addresses, macs, strict=True), 1))]


class FlowWordEncoder:
    """An encoder whose words carry only the flow's row: two per flow and local device, in knowable order.

    Args:
        devices: the device table; flows between strangers go to the unattributed sentence.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = devices
        self._index = {device.address: device.index for device in devices if device.address is not None}

    def encode(self, flows: FlowBatch, chunk_words: int = 8192) -> Iterator[WordBatch]:
        """Yield the words of the flows, at most ``chunk_words`` at a time."""
        words = self._words(flows)
        for start in range(0, len(words), chunk_words):
            yield words.take(slice(start, start + chunk_words))

    def _words(self, flows: FlowBatch) -> WordBatch:
        rows = []
        for row in range(len(flows)):
            for device, is_orig in self._sentences(flows, row):
                rows.append((float(flows.started_at_s[row]), row, False, is_orig, device))
                rows.append((float(flows.ended_at_s[row]), row, True, is_orig, device))
        rows.sort(key=lambda item: (item[0], item[1], item[2]))
        known_at_s, flow, is_close, is_orig_column, device_column = (
            zip(*rows, strict=True) if rows else ((), (), (), (), ())
        )
        return WordBatch(
            fields=np.zeros((len(rows), 1), dtype=np.uint8),
            device=np.array(device_column, dtype=np.int32),
            flow=np.array(flow, dtype=np.int64),
            is_close=np.array(is_close, dtype=np.bool_),
            is_probe=np.zeros(len(rows), dtype=np.bool_),
            is_orig=np.array(is_orig_column, dtype=np.bool_),
            known_at_s=np.array(known_at_s, dtype=np.float64),
            starts_sentence=np.zeros(len(rows), dtype=np.bool_),
        )

    def _sentences(self, flows: FlowBatch, row: int) -> list[tuple[int, bool]]:
        found = []
        for column, is_orig in ((flows.orig_address, True), (flows.resp_address, False)):
            device = self._index.get(_address(column[row]))
            if device is not None:
                found.append((device, is_orig))
        return found or [(UNATTRIBUTED, True)]


def _address(halves: npt.NDArray[np.uint64]) -> IpAddress:
    return address_from_words(int(halves[0]), int(halves[1]))


def build_scores(
    count: int,
    probability: float | Sequence[float] | npt.NDArray[np.floating] = 0.0,
    attack_class: AttackClass | Sequence[AttackClass] = AttackClass.C2,
    role: str | Sequence[str] = "quiet",
    surprise_nats: float = 1.0,
) -> Scores:
    """Scores of ``count`` words: the malicious probability all on one class, the role head sure of one role."""
    malicious = np.broadcast_to(np.asarray(probability, dtype=np.float32), (count,))
    classes = [attack_class] * count if isinstance(attack_class, AttackClass) else list(attack_class)
    roles = [role] * count if isinstance(role, str) else list(role)
    class_probability = np.zeros((count, len(CLASSES)), dtype=np.float32)
    class_probability[np.arange(count), [CLASS_INDEX[item] for item in classes]] = malicious
    class_probability[:, 0] += 1 - malicious
    role_probability = np.full((count, len(ROLES)), 0.02, dtype=np.float32)
    role_probability[np.arange(count), [ROLES.index(item) for item in roles]] = 0.96
    ton_probability = np.zeros((count, len(TON_CLASSES)), dtype=np.float32)
    ton_probability[:, 0] = 1
    return Scores(
        class_probability=class_probability,
        ton_probability=ton_probability,
        role_probability=role_probability,
        surprise_nats=np.full(count, surprise_nats, dtype=np.float32),
    )


class ScriptedScorer:
    """A ``Scorer`` that says of each word what the script says of its flow.

    Args:
        script: by row of the flow, the probability that it is malicious, and the class; other rows are benign.
    """

    def __init__(self, script: Mapping[int, tuple[float, AttackClass]]) -> None:
        self._script = dict(script)

    def score(self, words: WordBatch) -> Scores:
        """Score words from the script; opening and closing words alike."""
        said = [self._script.get(int(row), (0.0, AttackClass.UNKNOWN)) for row in words.flow]
        return build_scores(len(words), [item[0] for item in said], [item[1] for item in said])

    def reset(self) -> None:
        """Nothing is remembered."""


def build_incident(**changes: Any) -> Incident:
    """A command-and-control incident of one device, with whatever differs."""
    at = datetime.fromtimestamp(START_S, UTC)
    values: dict[str, Any] = {
        "incident_id": "0123456789ab",
        "device": build_device(),
        "role": Role.OFFENDER,
        "attack_class": AttackClass.C2,
        "class_counts": ((AttackClass.C2, 57),),
        "first_seen_at": at,
        "last_seen_at": at + timedelta(seconds=600),
        "opened_at": at + timedelta(seconds=60),
        "ended_at": None,
        "flow_count": 57,
        "confidence": 0.98,
        "evidence_nats": 12.0,
        "has_proven_origin": True,
        "detections": (),
        "contacts": (build_contact(),),
        "other_contact_count": 0,
        "peer_count": 1,
        "is_count_exact": True,
        "rhythm": None,
        "summary": "192.168.1.10 contacts 203.0.113.5 on tcp/6667 and looks like command and control",
    }
    return Incident(**{**values, **changes})


def build_contact(peer: str = "203.0.113.5", **changes: Any) -> Contact:
    """A contact of ``build_incident``."""
    values: dict[str, Any] = {
        "proto": "tcp",
        "port": 6667,
        "flow_count": 57,
        "is_outbound": True,
        "is_proven": True,
        "attack_class": AttackClass.C2,
    }
    return Contact(peer=ipaddress.ip_address(peer), **{**values, **changes})


def build_proposal(**changes: Any) -> Proposal:
    """The wish to block the contact of ``build_incident``, with whatever differs."""
    values: dict[str, Any] = {
        "incident_id": "0123456789ab",
        "act": Act.BLOCK_FLOW,
        "target": Target(device=build_device(), peer=ipaddress.ip_address("203.0.113.5"), proto="tcp", port=6667),
        "ttl_s": 3600.0,
        "reason": "A test wants it.",
        "proposer": "playbook",
    }
    return Proposal(**{**values, **changes})


def build_decision(**changes: Any) -> Decision:
    """What policy orders of ``build_proposal``, with whatever differs; the only way past policy, for tests alone."""
    judged = judge_proposal(
        build_proposal(),
        build_incident(),
        view=NetworkView(),
        ledger=Ledger(),
        settings=PolicySettings(),
        now=datetime.fromtimestamp(START_S, UTC),
    )
    assert isinstance(judged, Decision)
    return replace(judged, **changes)


@dataclass
class ManualClock:
    """A clock that stands still until a test turns it."""

    now: datetime = field(default_factory=lambda: datetime.fromtimestamp(START_S, UTC))

    def __call__(self) -> datetime:
        """The instant, aware UTC."""
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Turn it on by ``seconds``."""
        self.now += timedelta(seconds=seconds)
        return self.now


class RecordingEnforcer:
    """An ``Enforcer`` that remembers what it was told.

    Args:
        answer: the status that its receipts carry, by default ``applied``.
    """

    name = "recording"
    capability = Capability(reach=Reach.REMOTE, acts=ACTS_WITHIN[Reach.REMOTE], ends_by_itself=True)

    def __init__(self, answer: Callable[[Decision], ReceiptStatus] = lambda _: ReceiptStatus.APPLIED) -> None:
        self._answer = answer
        self._held: dict[str, Decision] = {}
        self.applied: list[Decision] = []
        self.revoked: list[Decision] = []

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Remember the decision."""
        self.applied.append(decision)
        status = self._answer(decision)
        if status is ReceiptStatus.APPLIED:
            self._held[decision.decision_id] = decision
            self._held.pop(decision.replaces or "", None)
        return self._receipt(decision, status, now)

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Remember that the decision was undone."""
        self.revoked.append(decision)
        self._held.pop(decision.decision_id, None)
        return self._receipt(decision, ReceiptStatus.REVOKED, now)

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """What was applied, neither revoked nor over."""
        self._held = {name: item for name, item in self._held.items() if item.expires_at > now}
        return tuple(self._receipt(item, ReceiptStatus.APPLIED, now) for item in self._held.values())

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Forget everything that is held."""
        return tuple(self.revoke(item, now) for item in list(self._held.values()))

    def _receipt(self, decision: Decision, status: ReceiptStatus, now: datetime) -> Receipt:
        return Receipt(
            decision_id=decision.decision_id, enforcer=self.name, status=status, at=now, detail="recorded by a test"
        )
