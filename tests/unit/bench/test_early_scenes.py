"""Scenes: the same network at every rate, the attack as fast as told, and its packets known to the microsecond."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thingwarden.bench.early_attacks import ATTACKS
from thingwarden.bench.early_scenes import Scene, begun_by, play, stage
from thingwarden.train.weighting import require_labels

BY_NAME = {attack.name: attack for attack in ATTACKS}


def scene(name: str, rate_per_s: float, attempts: int = 0, seed: int = 0) -> Scene:
    return Scene(attack=BY_NAME[name], rate_per_s=rate_per_s, seed=seed, attempts=attempts)


def test_a_network_is_the_same_at_every_rate_and_another_for_another_seed() -> None:
    slow, fast = stage(scene("sweep-syn", 1.0)), stage(scene("sweep-syn", 1000.0))
    assert slow.infected.name == fast.infected.name and slow.begins_s == fast.begins_s
    assert [host.mac for host in slow.schedule.hosts] == [host.mac for host in fast.schedule.hosts]
    paces = [[host.pace for host in staged.schedule.hosts] for staged in (slow, fast)]
    assert paces[0] == pytest.approx(paces[1], rel=0.01)
    other = stage(scene("sweep-syn", 1.0, seed=1))
    assert [host.mac for host in other.schedule.hosts] != [host.mac for host in slow.schedule.hosts]


def test_equal_scenes_give_equal_flows() -> None:
    one, other = (play(stage(scene("ports-syn", 100.0, attempts=20))) for _ in range(2))
    assert (one.flows.started_at_s == other.flows.started_at_s).all()
    assert (one.sent_at_s == other.sent_at_s).all()


def test_the_one_who_is_attacked_never_attacks() -> None:
    for seed in range(10):
        staged = stage(scene("guess-mqtt", 1.0, seed=seed))
        assert not staged.infected.name.startswith("target-")


@pytest.mark.parametrize("name", ["flood-one-flow", "flood-one-flow-ip6"])
def test_a_flood_of_one_flow_is_one_flow(name: str) -> None:
    played = play(stage(scene(name, 1000.0, attempts=500)))
    is_attack = (require_labels(played.flows).malicious == 1) & begun_by(played.flows, played.infected)
    assert is_attack.sum() == 1
    assert played.flows.orig_packets[is_attack][0] == pytest.approx(500, rel=0.05)
    assert played.flows.started_at_s[is_attack][0] == played.sent_at_s[0], "flows and packets share a clock"
    assert (played.flows.resp_address[is_attack][:, 0] != 0).all() == name.endswith("ip6")


@pytest.mark.parametrize(("name", "rate_per_s"), [("sweep-syn", 100.0), ("flood-udp", 1000.0), ("guess-http", 5.0)])
def test_attempts_come_about_as_fast_as_told(name: str, rate_per_s: float) -> None:
    played = play(stage(scene(name, rate_per_s)))
    is_attack = (require_labels(played.flows).malicious == 1) & begun_by(played.flows, played.infected)
    started_at_s = played.flows.started_at_s[is_attack]
    median_s = float(np.median(np.diff(started_at_s[:30])))
    assert 0.4 / rate_per_s <= median_s <= 2.5 / rate_per_s
    assert (np.diff(played.sent_at_s) >= 0).all()


def test_a_busy_device_makes_five_flows_a_minute() -> None:
    attack = BY_NAME["beacon-udp-busy"]
    staged = stage(Scene(attack=attack, rate_per_s=1 / 30, seed=0, attempts=2))
    quiet = play(replace(staged, schedule=replace(staged.schedule, planned=(), duration_s=3600.0)))
    assert begun_by(quiet.flows, staged.infected).sum() / 60.0 == pytest.approx(5.0, rel=0.4)


def test_beacons_reach_their_controller() -> None:
    played = play(stage(scene("beacon-tls", 0.2, attempts=5)))
    is_attack = require_labels(played.flows).malicious == 1
    assert is_attack.sum() == 5
    assert (played.flows.resp_bytes[is_attack] > 0).all()
