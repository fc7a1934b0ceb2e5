"""The measurement itself, run where the firewall is nobody's: ``unshare --net python -m ... HELD EACH``.

In: two counts. Out: the fields of ``Enforcement`` as JSON on stdout.
Must never: run in the machine's own network.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.domain.device import Device
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.response import Act, Decision, Proposal, ReceiptStatus, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.guard import Bounds
from thingwarden.enforce.key import make_key, read_key
from thingwarden.enforce.settings import ProcessSettings, encode_settings
from thingwarden.respond.policy import Ledger, NetworkView, judge_proposal
from thingwarden.respond.rules import PolicySettings

_ROOM: Final = Bounds(devices=1 << 20, peers=1 << 20, decisions_per_minute=1 << 20)
_ANSWER_WITHIN_S: Final = 10.0
_START_WITHIN_S: Final = 20.0
_REVOKED_COUNT: Final = 200
_ACTS: Final = (Act.RATE_LIMIT, Act.BLOCK_FLOW, Act.BLOCK_PEER, Act.QUARANTINE, Act.ISOLATE)


def main(held_count: int, each_count: int) -> dict[str, Any]:
    """Measure, and return the fields of ``Enforcement``."""
    if len(socket.if_nameindex()) > 1:
        raise ConfigError("the measurement", "this is the machine's own network", "thingwarden bench enforcement")
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as (process, client):
        pattern = _pattern()
        apply_us, first_us = {}, {}
        for act in _ACTS:
            spans = [_apply(client, _decision(pattern, act, number)) for number in range(each_count + 1)]
            first_us[act.value] = spans[0]
            apply_us[act.value] = _quantiles(spans[1:])
        client.release_all(datetime.now(UTC))
        before = _process_bytes(process), _kernel_bytes()
        decisions = [_decision(pattern, Act.BLOCK_FLOW, number) for number in range(held_count)]
        for decision in decisions:
            _apply(client, decision)
        after = _process_bytes(process), _kernel_bytes()
        began_s = time.perf_counter()
        count = len(client.in_force(datetime.now(UTC)))
        in_force_ms = (time.perf_counter() - began_s) * 1e3
        revoke_us = _quantiles([_revoke(client, decision) for decision in decisions[:_REVOKED_COUNT]])
        began_s = time.perf_counter()
        client.release_all(datetime.now(UTC))
        release_ms = (time.perf_counter() - began_s) * 1e3
    return {
        "apply_us": apply_us,
        "first_us": first_us,
        "held_count": count,
        "process_bytes": after[0] - before[0],
        "kernel_bytes": after[1] - before[1],
        "in_force_ms": in_force_ms,
        "revoke_us": revoke_us,
        "release_ms": release_ms,
    }


@contextmanager
def _running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], SocketEnforcer]]:
    key = folder / "key"
    make_key(key)
    settings = ProcessSettings(
        kind="nftables",
        socket=folder / "enforcer.sock",
        state=folder / "state",
        leases=folder / "leases",
        key=key,
        automatic=_ROOM,
        approved=_ROOM,
        options={},
    )
    argv = [sys.executable, "-P", "-m", "thingwarden.enforce", encode_settings(settings)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - a fixed program
        deadline_s = time.monotonic() + _START_WITHIN_S
        while not settings.socket.exists():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise ConfigError("the enforcer's process", "does not start", "see: thingwarden enforcer nftables")
            time.sleep(0.05)
        try:
            yield process, SocketEnforcer(settings.socket, read_key(key), answer_within_s=_ANSWER_WITHIN_S)
        finally:
            process.terminate()


def _pattern() -> Decision:
    """A decision of policy's, from which those that are timed differ in act, target and id."""
    now, device = datetime.now(UTC), Device(index=1, mac=None, address=ip_address("10.0.0.1"))
    incident = Incident(
        incident_id="0" * 12,
        device=device,
        role=Role.OFFENDER,
        attack_class=AttackClass.C2,
        class_counts=((AttackClass.C2, 1),),
        first_seen_at=now,
        last_seen_at=now,
        opened_at=now,
        ended_at=None,
        flow_count=1,
        confidence=1.0,
        evidence_nats=1.0,
        has_proven_origin=True,
        detections=(),
        contacts=(),
        other_contact_count=0,
        peer_count=0,
        is_count_exact=True,
        rhythm=None,
        summary="made for a measurement",
    )
    proposal = Proposal(
        incident_id=incident.incident_id,
        act=Act.NOTIFY,
        target=Target(device=device),
        ttl_s=3600.0,
        reason="made for a measurement",
        proposer="operator",
    )
    judged = judge_proposal(proposal, incident, view=NetworkView(), ledger=Ledger(), settings=PolicySettings(), now=now)
    if not isinstance(judged, Decision):
        raise ConfigError("the measurement", "; ".join(judged.reasons), "this is a fault of the measurement")
    return judged


def _decision(pattern: Decision, act: Act, number: int) -> Decision:
    halves = number >> 8 & 255, number & 255
    mac = f"02:00:00:{number >> 16 & 255:02x}:{halves[0]:02x}:{halves[1]:02x}"
    device = Device(index=1, mac=mac, address=ip_address((10 << 24) + 256 + number))
    peer = ip_address((198 << 24) + number) if act in (Act.BLOCK_FLOW, Act.BLOCK_PEER) else None
    target = Target(
        device=None if act is Act.BLOCK_PEER else device,
        peer=peer,
        proto="tcp" if act is Act.BLOCK_FLOW else None,
        port=6667 if act is Act.BLOCK_FLOW else None,
        packets_per_s=10 if act is Act.RATE_LIMIT else None,
    )
    now = datetime.now(UTC)
    identity = f"{_ACTS.index(act):02x}{number:010x}"
    ends = now + timedelta(hours=1)
    return replace(pattern, decision_id=identity, act=act, target=target, decided_at=now, expires_at=ends)


def _apply(client: SocketEnforcer, decision: Decision) -> float:
    """Microseconds until the receipt."""
    began_s = time.perf_counter()
    receipt = client.apply(decision, datetime.now(UTC))
    spent_us = (time.perf_counter() - began_s) * 1e6
    if receipt.status is not ReceiptStatus.APPLIED:
        raise ConfigError("the enforcer", receipt.detail, "nothing can be measured")
    return spent_us


def _revoke(client: SocketEnforcer, decision: Decision) -> float:
    began_s = time.perf_counter()
    client.revoke(decision, datetime.now(UTC))
    return (time.perf_counter() - began_s) * 1e6


def _quantiles(spans: list[float]) -> dict[str, float]:
    return {"p50": float(np.quantile(spans, 0.5)), "p99": float(np.quantile(spans, 0.99))}


def _process_bytes(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def _kernel_bytes() -> int:
    """Slabs that the kernel cannot give back, of the whole machine: others may move it."""
    return int(Path("/proc/meminfo").read_text("ascii").split("SUnreclaim:")[1].split()[0]) * 1024


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
    except ConfigError as error:
        sys.exit(str(error))
