"""How long an attack goes on once its evidence is complete: from the kernel's timestamp to the first packet dropped.

In: how many attacks of which kind, beside how much traffic. Out: ``Latency``: of each attack what each stage took.
Must never: send a packet outside the namespaces that it makes; call cut what was only ordered.

The network is the lab's: attackers and a crowd on the LAN, the gateway with ``thingwarden watch`` in it on a core of
its own, the internet. Every attack packet carries its number; the far end notes which arrive. The first packet dropped
is the first that never arrived; its sender noted the instant before it was sent, so that the figure holds up to one
interval between two packets too much.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.latency_program import attack_arguments, crowd_arguments, receive_arguments
from thingwarden.bench.latency_traffic import attacker_mac
from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.key import make_key
from thingwarden.lab.prefix import LAN
from thingwarden.lab.real.daemons import start_daemon
from thingwarden.lab.real.layout import LAN_BRIDGE
from thingwarden.lab.real.network import Lab
from thingwarden.lab.timeline import Host
from thingwarden.lab.traits import Traits

STAGES: Final = ("read", "metered", "encoded", "scored", "decided", "applied")
"""As in the ``course`` of an order."""

Instants = npt.NDArray[np.float64]

ATTACK_S: Final = 1.0
"""How long an attack lasts, cut or not."""

_SENDER: Final = "senders"
_WARM_UP_S: Final = 6.0
_PAUSE_S: Final = 0.4
_READY_LIMIT_S: Final = 30.0
_POLICY: Final = """[orders]
max_devices_count = 10000
max_devices_ratio = 1.0
max_decisions_per_minute = 10000
"""
"""The measurement restricts more devices than policy lets be restricted by itself."""

_SETTINGS: Final = """[policy]
file = "{folder}/policy.toml"

[enforce]
kinds = ["nftables"]
run_folder = "{folder}"
state_folder = "{folder}/enforcers"
key = "{folder}/key"
max_devices_count = 10000
max_decisions_per_minute = 10000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is measured beside what.

    Attributes:
        kind: of attack, ``flood`` or ``scan``.
        attack_count: each by a device of its own, at most ``MOST_ATTACKERS``.
        packets_per_s: of an attack.
        attack_s: an attack lasts so long, cut or not.
        flows_per_s: of the crowd.
    """

    kind: str
    attack_count: int
    packets_per_s: float
    attack_s: float
    flows_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one attack was answered by; milliseconds.

    Attributes:
        act: the first restriction that was ordered.
        evidence_ms: from the first attack packet to the one that completed the evidence.
        stages_ms: from that packet on, by ``STAGES``.
        dropped_ms: from that packet to the first packet dropped; None where nothing is cut, as in a dry run.
    """

    act: str
    evidence_ms: float
    stages_ms: dict[str, float]
    dropped_ms: float | None

    @property
    def answered_ms(self) -> float:
        """From the packet that completed the evidence to the enforcer's answer."""
        return sum(self.stages_ms.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What one load gave.

    Attributes:
        load: what was measured.
        answers: of the attacks that were answered.
        unanswered_count: attacks that were not.
        summary: the watch's own, with what the kernel dropped.
        watch_cpu_ratio: processor time of the watch, as a share of the time that passed.
    """

    load: Load
    answers: tuple[Answer, ...]
    unanswered_count: int
    summary: dict[str, Any]
    watch_cpu_ratio: float


@dataclass(slots=True)
class _Run:
    """One load in one lab."""

    lab: Lab
    load: Load
    watch: Sequence[str]
    enforcer: Sequence[str]
    cores: tuple[int, int]
    notes: list[Path] = field(default_factory=list)

    def go(self, progress: Callable[[int], None]) -> Latency:
        """Start everybody, attack one after the other, stop, and read what was noted."""
        load, folder = self.load, self.lab.scratch
        span_s = _WARM_UP_S + load.attack_count * (load.attack_s + _PAUSE_S + 1.0) + 2.0
        said, arrived, crowd_note = folder / "watch.jsonl", folder / "arrived.npz", folder / "crowd.npz"
        settings = self._settings()
        if self.enforcer:
            argv = [*self.enforcer, "--config", str(settings)]
            self._start(argv, folder / "enforcer.log", "listens")
        argv = [*self.watch, "-i", LAN_BRIDGE, "--json", "--no-journal", "--config", str(settings)]
        watch = self._start(argv, said, "watching")
        listener = self.lab.spawn(Lab.INTERNET, self._on(0, receive_arguments(arrived)))
        crowd = self.lab.spawn(_SENDER, self._on(0, crowd_arguments(load.flows_per_s, span_s, 1, crowd_note)))
        began_s, began_cpu_s = time.monotonic() + _WARM_UP_S, 0.0
        time.sleep(_WARM_UP_S)
        began_cpu_s = _cpu_s(watch.pid)
        for attacker in range(load.attack_count):
            self._attack(attacker)
            progress(attacker + 1)
        cpu_ratio = (_cpu_s(watch.pid) - began_cpu_s) / (time.monotonic() - began_s)
        self.lab.stop(listener)
        self.lab.stop(watch)
        self.lab.stop(crowd)
        return self._latency(_records(said), np.load(arrived)["number"], cpu_ratio)

    def _settings(self) -> Path:
        folder, path = self.lab.scratch, self.lab.scratch / "settings.toml"
        make_key(folder / "key")
        (folder / "policy.toml").write_text(_POLICY, encoding="utf-8")
        path.write_text(_SETTINGS.format(folder=folder), encoding="utf-8")
        return path

    def _start(self, argv: Sequence[str], said: Path, sign: str) -> subprocess.Popen[bytes]:
        """Start it in the gateway, on the core of the watch, and wait for the sign that it is there."""
        return start_daemon(self.lab, Lab.GATEWAY, self._on(1, argv), sign, log=said, within_s=_READY_LIMIT_S)

    def _attack(self, attacker: int) -> None:
        note = self.lab.scratch / f"attack-{attacker}.npz"
        argv = attack_arguments(self.load.kind, attacker, self.load.packets_per_s, self.load.attack_s, note)
        self.lab.run(_SENDER, self._on(0, argv))
        self.notes.append(note)
        time.sleep(_PAUSE_S)

    def _on(self, which: int, argv: Sequence[str]) -> list[str]:
        return ["taskset", "-c", str(self.cores[which]), *argv]

    def _latency(self, records: list[dict[str, Any]], arrived: Any, cpu_ratio: float) -> Latency:
        answers = []
        for attacker, note in enumerate(self.notes):
            sent_s = np.load(note)["sent_s"]
            has_arrived = np.zeros(len(sent_s), dtype=np.bool_)
            has_arrived[arrived[arrived[:, 0] == attacker, 1]] = True
            order = _restriction(records, attacker_mac(attacker).hex(":"))
            if order is not None:
                answers.append(_answer(order, sent_s, has_arrived))
        return Latency(
            load=self.load,
            answers=tuple(answers),
            unanswered_count=len(self.notes) - len(answers),
            summary=next(record for record in records if record["type"] == "watch_summary"),
            watch_cpu_ratio=cpu_ratio,
        )


def measure(
    load: Load,
    *,
    cores: tuple[int, int] = (0, 1),
    watch: Sequence[str] = (sys.executable, "-m", "thingwarden", "watch"),
    enforcer: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Latency:
    """Measure one load in a lab made for it.

    Args:
        load: what is measured.
        cores: for all senders and listeners, and for the watch alone.
        watch: the command line of the watch, without interface and output; the dry run unless it says otherwise.
        enforcer: the command line of the enforcer's process, without its settings; none for a dry run.
        progress: called with how many attacks are over.

    Raises:
        ConfigError: the lab cannot be made here, or the watch does not start.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise ConfigError("latency", "this machine gives us one core", "the watch needs one of its own")
    host = Host(
        name=_SENDER,
        kind="",
        address=str(LAN[-2]),
        address6="",
        mac="02:77:00:00:00:fe",
        pace=1.0,
        traits=Traits(seed="0"),
    )
    with Lab([host]) as lab:
        return _Run(lab, load, watch, enforcer, cores).go(progress)


def _records(said: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.read_text(encoding="utf-8").splitlines() if line.startswith("{")]


@dataclass(frozen=True, slots=True)
class _Order:
    act: str
    packet_at_s: float
    stages_ms: dict[str, float]


def _restriction(records: list[dict[str, Any]], mac: str) -> _Order | None:
    """The first order that restricts a device and was carried out."""
    courses = {record["decision_id"]: record for record in records if record["type"] == "course"}
    applied = {
        record["decision_id"]
        for record in records
        if record["type"] == "receipt" and record["status"] in ("applied", "dry-run")
    }
    for record in _decisions(records, mac):
        if record["act"] != "notify" and record["decision_id"] in applied:
            course = courses[record["decision_id"]]
            return _Order(record["act"], course["packet_at_s"], {stage: course[f"{stage}_ms"] for stage in STAGES})
    return None


def _decisions(records: list[dict[str, Any]], mac: str) -> Iterator[dict[str, Any]]:
    for record in records:
        if record["type"] == "decision" and (record["target"]["device"] or {}).get("mac") == mac:
            yield record


def _answer(order: _Order, sent_s: Instants, has_arrived: npt.NDArray[np.bool_]) -> Answer:
    """What an order did to an attack."""
    lost = np.flatnonzero(~has_arrived & (sent_s > order.packet_at_s))
    return Answer(
        act=order.act,
        evidence_ms=(order.packet_at_s - float(sent_s[0])) * 1e3,
        stages_ms=order.stages_ms,
        dropped_ms=(float(sent_s[lost[0]]) - order.packet_at_s) * 1e3 if len(lost) else None,
    )


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
