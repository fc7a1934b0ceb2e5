"""Scenes for early detection: among ordinary devices one is infected and does one thing, at a rate that is told.

In: an ``Attack``, a rate, a seed. Out: the scene played in simulated time: labelled flows, and its packets' moments.
Must never: draw a network that a model may learn from, or let a network depend on the rate at which it is attacked.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.early_attacks import (
    BUSY_FLOWS_PER_MINUTE,
    EARLY_ACTS,
    Attack,
    settings_at,
    usual_attempts,
)
from thingwarden.domain.address import mac_number
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.packet import TCP_RST
from thingwarden.lab.behaviour.attacks.breadth import draw_settings
from thingwarden.lab.behaviour.catalogue import DEVICES, live
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.draw import CorpusRecipe, draw_network
from thingwarden.lab.prefix import INTERNET6, LAN, LAN6, SPOOFED
from thingwarden.lab.simulated.capture import Meter
from thingwarden.lab.simulated.run import Simulation
from thingwarden.lab.timeline import Host, Perform, Planned, Schedule
from thingwarden.lab.traits import Traits

BEGINS_S: Final = (1200.0, 2400.0)
"""Seconds of harmless life before the first packet of the attack."""

_ENDS_AFTER_S: Final = 30.0
_FLOWS_PER_MINUTE: Final = (2.0, 15.0)
"""Of the whole network, its five to nine devices together."""
_TARGET_HOST: Final = 250
"""Beyond the numbers that drawn devices take."""
_ELSEWHERE: Final = {4: str(SPOOFED), 6: str(INTERNET6)}
_PACED_S: Final = 1800.0
_PACING_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An attack at a rate in the network of a seed; ``attempts`` 0 lets the rate decide how many."""

    attack: Attack
    rate_per_s: float
    seed: int
    attempts: int = 0

    @property
    def name(self) -> str:
        """Unique among scenes, usable as a file's name."""
        return f"{self.attack.name}.{self.rate_per_s:.6g}.{self.attempts}.seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A scene that can be played: what happens, who is infected, and when the attack is due."""

    schedule: Schedule
    infected: Host
    begins_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A scene that was played.

    Attributes:
        flows: labelled, by start.
        infected: who attacked.
        sent_at_s: float64 (p,), Unix seconds of the attack's packets that the infected device sent, ascending; resets,
            with which its kernel answers on its own, are not among them.
        began_at_s: Unix seconds of the beginning.
    """

    flows: FlowBatch
    infected: Host
    sent_at_s: npt.NDArray[np.float64]
    began_at_s: float


def stage(scene: Scene) -> Staged:
    """Draw the network of a scene, the same at every rate, and put the attack into it."""
    attack = scene.attack
    rng = random.Random(f"early:{attack.name}:{scene.seed}")
    begins_s = round(rng.uniform(*BEGINS_S), 3)
    attempts = scene.attempts or usual_attempts(attack, scene.rate_per_s)
    drawn = draw_settings(EARLY_ACTS[attack.act].settings, rng)
    settings, programs = settings_at(attack, scene.rate_per_s, attempts, drawn)
    lasts_s = round(attempts / scene.rate_per_s + 3.0, 3)
    schedule = _draw(scene, begins_s + lasts_s + _ENDS_AFTER_S)
    infected = rng.choice([host for host in schedule.hosts if not host.name.startswith("target-")])
    action = _perform(attack, infected, settings | {"targets": (_address(attack, schedule),), "lasts_s": lasts_s})
    turn_s = 1.0 / scene.rate_per_s if attack.family == "guess" else 0.0
    planned = tuple(
        Planned(at_s=round(begins_s + turn * turn_s, 3), event=f"{attack.act}-1", action=action)
        for turn in range(programs)
    )
    staged = Staged(schedule=replace(schedule, planned=planned), infected=infected, begins_s=begins_s)
    return _at_pace(staged, BUSY_FLOWS_PER_MINUTE) if attack.is_busy else staged


def play(staged: Staged) -> Played:
    """Run a scene in simulated time and meter its packets."""
    run = Simulation(staged.schedule, live, EARLY_ACTS)
    meter = Meter(run.labels, run.began_at_s)
    batches, sent_s = [], [np.zeros(0)]
    mac = mac_number(staged.infected.mac)
    for rows in run.packets():
        batches.append(meter.push(rows))
        is_sent = (rows["src_mac"] == mac) & (rows["tcp_flags"] & TCP_RST == 0)
        is_sent &= run.labels.labels(rows["label"].astype(np.int64)).malicious == 1
        sent_s.append(rows["at_s"][is_sent])
    flows = FlowBatch.concatenate([*batches, meter.finish()])
    return Played(
        flows=flows.take(np.argsort(flows.started_at_s, kind="stable")),
        infected=staged.infected,
        sent_at_s=np.round(np.concatenate(sent_s) * 1e6) / 1e6 + run.began_at_s,  # as the meter rounds them
        began_at_s=run.began_at_s,
    )


def begun_by(flows: FlowBatch, host: Host) -> npt.NDArray[np.bool_]:
    """Which flows a host began, bool (n,)."""
    return np.asarray(flows.orig_mac == mac_number(host.mac))


def _draw(scene: Scene, duration_s: float) -> Schedule:
    """A network without attacks whose devices are as busy however long it lasts, the target among them."""
    attack = scene.attack
    low, high = (duration_s / 60.0 * flows for flows in _FLOWS_PER_MINUTE)
    recipe = CorpusRecipe(
        name="early",
        devices=(5, 9),
        duration_s=(duration_s, duration_s),
        flows=(low, high),
        ip6_share=float(attack.ip_version == 6),
        quiet_share=1.0,
        oddities=(0, 0),
    )
    network = zlib.crc32(attack.name.encode()) % 100_000
    schedule = draw_network(recipe, seed=scene.seed, number=network)
    hosts = schedule.hosts
    if attack.target in DEVICES:
        hosts = (*hosts, _target(attack, scene.seed, hosts[0].pace))
    if attack.ip_version == 6:
        hosts = tuple(replace(host, address6=_address6(host)) for host in hosts)
    return replace(schedule, hosts=hosts)


def _target(attack: Attack, seed: int, pace: float) -> Host:
    """A usual device of the kind that is attacked, with the doors that such a device has open."""
    return Host(
        name=f"target-{attack.target}",
        kind=attack.target,
        address=str(LAN.network_address + _TARGET_HOST),
        address6="",
        mac=f"02:77:77:77:{seed % 256:02x}:{_TARGET_HOST:02x}",
        pace=pace,
        traits=Traits(seed=f"early:{attack.name}:{seed}:target"),
    )


def _address6(host: Host) -> str:
    return str(LAN6.network_address + int(host.address.rpartition(".")[2]))


def _address(attack: Attack, schedule: Schedule) -> str:
    if attack.target == "elsewhere":
        return _ELSEWHERE[attack.ip_version]
    target = SERVICES.get(attack.target) or next(host for host in schedule.hosts if host.name.startswith("target-"))
    return target.address if attack.ip_version == 4 else target.address6


def _perform(attack: Attack, infected: Host, settings: Mapping[str, object]) -> Perform:
    kind = EARLY_ACTS[attack.act]
    checked = kind.settings.model_validate(settings)
    return Perform(
        act=attack.act,
        host=infected.name,
        settings=checked.model_dump(exclude_unset=True),
        lasts_s=checked.lasts_s,
        attack_class=kind.attack_class,
        technique=kind.technique,
        aims=kind.aims(checked),
    )


def _at_pace(staged: Staged, flows_per_minute: float) -> Staged:
    """The scene with the infected device as busy as that, found by watching it for half an hour without the attack."""
    for _ in range(_PACING_ROUNDS):
        quiet = replace(staged, schedule=replace(staged.schedule, planned=(), duration_s=_PACED_S))
        played = play(quiet)
        seen = max(1, int(begun_by(played.flows, staged.infected).sum()))
        infected = replace(staged.infected, pace=staged.infected.pace * flows_per_minute * _PACED_S / 60.0 / seen)
        hosts = tuple(infected if host.name == infected.name else host for host in staged.schedule.hosts)
        staged = replace(staged, infected=infected, schedule=replace(staged.schedule, hosts=hosts))
    return staged
